package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/thawfs/thawfs/integration/servers"
)

// A bench is one run over one server.
type bench struct {
	ctx    context.Context // of the run
	o      options
	server *servers.Server
	shim   *shim
	raw    *raw // through the shim, as thawfs
	near   *raw // past the shim: prepares and verifies
	exe    string
	work   string // directory of this run
	noise  *noise
	seed   uint64
	buf    []byte
	rows   []*row
	m      *mounted // nil between mounts
	now    string   // workload that is measured
	mounts int      // so far
}

func newBench(ctx context.Context, o options, server *servers.Server, exe, work string) (*bench, error) {
	s, err := newShim(strings.TrimPrefix(server.Endpoint, "http://"), o.Latency, o.Rate)
	if err != nil {
		return nil, err
	}
	b := &bench{ctx: ctx, o: o, server: server, shim: s, exe: exe, work: work, noise: newNoise(), buf: make([]byte, 1<<20), rows: newRows()}
	b.raw = newRaw(server.S3, s.endpoint(), o.Latency > 0)
	b.near = newRaw(server.S3, server.Endpoint, false)
	_, err = b.near.c.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: aws.String(bucket)})
	return b, err
}

func (b *bench) close() error {
	b.shim.close()
	if b.m != nil {
		return b.m.kill()
	}
	return nil
}

// tellLog adds what the program had to say to the report of a failure.
func (b *bench) tellLog() error {
	data, err := os.ReadFile(filepath.Join(b.work, "thawfs.log"))
	if err != nil {
		return nil // it did not get that far
	}
	return fmt.Errorf("the log ends with:\n%s", data[max(0, len(data)-4000):])
}

// A workload is measured once a round.
type workload struct {
	name string
	run  func(b *bench) error
}

// round runs a workload and leaves the store empty. What MinIO overwrites or deletes it keeps
// in a trash for a while, which would fill the memory.
func (b *bench) round(w workload, n int) error {
	b.now, b.mounts = w.name, 0
	err := w.run(b)
	if b.m != nil {
		err = errors.Join(err, b.unmount())
	}
	if err != nil {
		return err
	}
	keys, err := b.near.list(b.ctx, "")
	if err != nil {
		return err
	}
	if err := b.near.remove(b.ctx, keys); err != nil {
		return err
	}
	return b.purge()
}

func (b *bench) purge() error {
	trash, err := filepath.Glob(filepath.Join(b.work, "store", "*", "data", ".minio.sys", "tmp", ".trash", "*"))
	if err != nil {
		return err
	}
	for _, path := range trash {
		err = errors.Join(err, os.RemoveAll(path))
	}
	return err
}

// mount mounts the bucket with an empty cache, anew if it is mounted.
func (b *bench) mount(flags ...string) error {
	if b.m != nil {
		if err := b.unmount(); err != nil {
			return err
		}
	}
	flags = append(flags, strings.Fields(b.o.flags)...)
	if b.o.profile != "" {
		b.mounts++
		flags = append(flags, "--cpuprofile", filepath.Join(b.o.profile, fmt.Sprintf("%s-%d.pprof", b.now, b.mounts)))
	}
	m, err := mountAt(b.exe, b.work, b.shim.endpoint(), b.server.S3, flags)
	if err != nil {
		return err
	}
	b.m = m
	return nil
}

func (b *bench) unmount() error {
	m := b.m
	b.m = nil
	return m.unmount()
}

// content is new content of size bytes.
func (b *bench) content(size int64) content {
	b.seed++
	return content{b.noise, b.seed, size}
}

// A file is a key and what it holds.
type file struct {
	key string
	content
}

// files are n of them, of size bytes each, in directories of perDir below prefix; all in
// prefix itself if perDir is 0.
func (b *bench) files(prefix string, n, perDir int, size int64) []file {
	all := make([]file, n)
	for i := range all {
		dir := prefix
		if perDir > 0 {
			dir = fmt.Sprintf("%sd%04d/", prefix, i/perDir)
		}
		all[i] = file{fmt.Sprintf("%sf%05d", dir, i), b.content(size)}
	}
	return all
}

func (b *bench) row(name string) *row {
	for _, r := range b.rows {
		if r.Name == name {
			return r
		}
	}
	panic("no row named " + name)
}

// value is what a row shows for an amount of work that took d: its rate, or the time itself.
func (r *row) value(amount float64, d time.Duration) float64 {
	if r.lower {
		return d.Seconds() * r.times
	}
	return amount / r.times / d.Seconds()
}

// base measures the baseline of a row.
func (b *bench) base(name string, amount float64, do func() error) error {
	begin := time.Now()
	err := do()
	r := b.row(name)
	r.Base = append(r.Base, r.value(amount, time.Since(begin)))
	if err != nil {
		return fmt.Errorf("baseline: %w", err)
	}
	return nil
}

// ours measures thawfs: the time, and what the daemon needed for it. bytes, if not 0, are what
// was moved.
func (b *bench) ours(name string, amount float64, bytes int64, do func() error) error {
	b.m.resetPeak()
	cpu, requests, begin := b.m.cpu(), b.shim.snapshot(), time.Now()
	err := do()
	took := time.Since(begin)
	r, used := b.row(name), (b.m.cpu() - cpu).Seconds()
	r.Ours = append(r.Ours, r.value(amount, took))
	r.CPU = append(r.CPU, used)
	if bytes > 0 {
		r.CPUGiB = append(r.CPUGiB, used/(float64(bytes)/(1<<30)))
	}
	r.Peak = max(r.Peak, b.m.memory("VmHWM"))
	r.Requests = difference(requests, b.shim.snapshot())
	return err
}
