package main

import (
	"fmt"
	"os"
	"runtime/pprof"
)

// startProfile writes where the processor's time goes to path, until stop is called; without a
// path it does nothing.
func startProfile(path string) (stop func() error, err error) {
	if path == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(path)
	if err == nil {
		err = pprof.StartCPUProfile(f)
	}
	if err != nil {
		return nil, wrong(fmt.Sprintf("no profile can be written to %s: %v", path, err), "").because(err)
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}
