// Bench measures thawfs on a real mount over a real S3 server, side by side with the bare SDK
// and with the local disk:
//
//	go run ./integration/bench                     # all workloads, three rounds
//	go run ./integration/bench -quick              # small sizes, one round
//	go run ./integration/bench -latency 20ms -rate 90e6 -work 'seqread|smallread'
//
// In each round the baseline and thawfs take turns at the same bytes, so that a busy machine
// slows both: the ratio is what counts. Every byte is compared; a wrong one is a failure and
// not a fast time. Requests are counted between the program and the store (shim.go), which is
// also where a distant store is made of the near one.
//
// work_*.go hold the workloads, rows.go what is expected of them, report.go the report.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"github.com/thawfs/thawfs/integration/servers"
)

// options are the flags.
type options struct {
	Latency time.Duration `json:"latency_ns"`
	Rate    float64       `json:"bytes_a_second_and_connection"`
	Large   int64         `json:"bytes_of_large_files"`
	Small   int           `json:"small_files"`
	Names   int           `json:"names_in_listings"`
	Stream  int64         `json:"bytes_streamed_both_ways"`
	Rounds  int           `json:"rounds"`
	quick   bool
	work    string
	json    string
	dir     string
	flags   string
	profile string
	cap     int64
}

func parse() options {
	o := options{}
	large := flag.Int64("large", 1024, "MiB of the large file")
	stream := flag.Int64("stream", 10, "GiB streamed both ways to watch the memory")
	capacity := flag.Int64("cap", 6, "GiB that the store may take of the memory")
	flag.DurationVar(&o.Latency, "latency", 0, "of a distant store, for each request (20ms)")
	flag.Float64Var(&o.Rate, "rate", 0, "bytes a second of each connection to it (90e6)")
	flag.IntVar(&o.Small, "small", 1000, "small files")
	flag.IntVar(&o.Names, "names", 10_000, "names in long listings")
	flag.IntVar(&o.Rounds, "rounds", 3, "how often everything is measured")
	flag.BoolVar(&o.quick, "quick", false, "256 MiB, 200 files, 1000 names, 1 GiB streamed, one round")
	flag.StringVar(&o.work, "work", ".", "pattern of the workloads to run")
	flag.StringVar(&o.json, "json", "", "also write everything to this file")
	flag.StringVar(&o.dir, "dir", "", "where to mount and cache; a directory of its own is made there")
	flag.StringVar(&o.flags, "flags", "", "more flags of the mount, separated by spaces")
	flag.StringVar(&o.profile, "profile", "", "write a processor profile of each mount to this directory")
	flag.Parse()
	o.Large, o.Stream, o.cap = *large<<20, *stream<<30, *capacity<<30
	if o.quick {
		o.Large, o.Small, o.Names, o.Stream, o.Rounds = 256<<20, 200, 1000, 1<<30, 1
	}
	return o
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, parse())
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	pattern, err := regexp.Compile(o.work)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp(o.dir, "thawfs-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	exe, err := build(ctx, work)
	if err != nil {
		return err
	}
	data := filepath.Join(work, "store")
	unmount, err := tmpfs(data, o.cap)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unmount()) }()
	server, err := servers.Run("minio", data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	b, err := newBench(ctx, o, server, exe, work)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	for round := range o.Rounds {
		for _, w := range workloads {
			if !pattern.MatchString(w.name) {
				continue
			}
			begin := time.Now()
			if err := b.round(w, round); err != nil {
				return errors.Join(fmt.Errorf("%s: %w", w.name, err), b.tellLog())
			}
			fmt.Fprintf(os.Stderr, "round %d of %d: %s took %s\n", round+1, o.Rounds, w.name, time.Since(begin).Round(time.Millisecond))
		}
	}
	for _, r := range b.rows {
		r.finish(o.Latency > 0)
	}
	err = printTable(os.Stdout, b.rows)
	if o.json != "" {
		err = errors.Join(err, writeJSON(o.json, o, b.rows))
	}
	return err
}
