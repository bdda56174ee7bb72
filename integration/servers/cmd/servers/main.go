// Servers builds the programs that the tests run against, ahead of the tests:
//
//	go run ./integration/servers/cmd/servers install [name ...]
//
// Without names it builds and installs all of them. What is there already is left alone.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/thawfs/thawfs/integration/servers"
)

func main() {
	if len(os.Args) < 2 || os.Args[1] != "install" {
		fmt.Fprintln(os.Stderr, "usage: servers install [minio|versitygw|moto|swift|keystone|restic|rsync|... ...]")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := servers.Install(ctx, os.Stdout, os.Args[2:]...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		stop()
		os.Exit(1)
	}
}
