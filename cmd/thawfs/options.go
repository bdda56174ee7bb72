package main

import (
	"net/url"
	"os"
	"time"

	"github.com/spf13/pflag"
)

// options are the flags of all commands. -o NAME=VALUE sets the same ones (mountopts.go).
type options struct {
	// Where the objects are.
	endpoint, region, profile string
	anonymous                 bool
	openstack                 openstackOptions
	// Of a remote in a configuration file; there are no flags for them.
	accessKey, secretKey, sessionToken string
	config                             string // file instead of the usual ones

	// What this machine keeps of them.
	cacheDir                     string // root of all caches; see cacheDir in cache.go
	cacheSize, spoolSize, memory byteSize
	ttl                          time.Duration

	// Who may do what.
	readOnly, allowOther, syncClose bool
	noAttrIndex, askAll             bool
	uid, gid                        owner
	fileMode, dirMode               mode

	// What becomes of archived files, and of what is written.
	recall  recallOptions
	classes classOptions

	// How it runs.
	foreground   bool
	logFile      string
	logLevel     choice
	drainTimeout time.Duration
	pageAddr     string // of the status page; empty: none
	cpuProfile   string // file; for who works on thawfs, not in the help

	// umount
	leave bool
}

func newOptions() *options {
	return &options{
		cacheSize:    10 << 30,
		memory:       defaultMemory(),
		ttl:          30 * time.Second,
		uid:          owner{id: uint32(os.Geteuid())},
		gid:          owner{id: uint32(os.Getegid()), group: true},
		fileMode:     0o644,
		dirMode:      0o755,
		recall:       newRecallOptions(),
		logLevel:     choice{"info", []string{"debug", "info", "warn", "error"}},
		drainTimeout: time.Minute,
	}
}

// mountFlags registers the flags of `thawfs mount`.
func (o *options) mountFlags(f *pflag.FlagSet) {
	f.SortFlags = false
	f.Var(text{&o.endpoint, "URL"}, "endpoint", "where the S3 server is, if not AWS")
	f.Var(text{&o.region, "NAME"}, "region", "region of the buckets")
	f.Var(text{&o.profile, "NAME"}, "profile", "profile of ~/.aws/config")
	f.BoolVar(&o.anonymous, "anonymous", false, "send unsigned requests, for public buckets")
	o.openstack.register(f)
	f.Var(text{&o.cacheDir, "DIR"}, "cache-dir", "caches and pending uploads (~/.cache/thawfs)")
	f.Var(&o.cacheSize, "cache-size", "disk space for what was read")
	f.Var(&o.spoolSize, "spool-size", "disk space for pending uploads (half of free)")
	f.Var(&o.memory, "memory", "buffers of all readers")
	f.Var((*period)(&o.ttl), "ttl", "how long answers hold")
	f.BoolVarP(&o.readOnly, "read-only", "r", false, "refuse every change")
	f.BoolVar(&o.syncClose, "sync", false, "close() waits until the store has the file")
	f.BoolVar(&o.askAll, "ask-all", false, "ask every file for its attributes")
	f.BoolVar(&o.noAttrIndex, "no-attr-index", false, "keep no .thawfs-attrs in directories")
	f.BoolVar(&o.allowOther, "allow-other", false, "let other users in")
	f.Var(&o.uid, "uid", "owner of files that name none")
	f.Var(&o.gid, "gid", "their group")
	f.Var(&o.fileMode, "file-mode", "of files that carry none")
	f.Var(&o.dirMode, "dir-mode", "of directories that carry none")
	o.recall.register(f)
	o.classes.register(f)
	f.Var(text{&o.config, "FILE"}, "config", "instead of the files of user and system")
	f.BoolVarP(&o.foreground, "foreground", "f", false, "stay here, log to the terminal")
	f.Var(text{&o.logFile, "FILE"}, "log-file", "or journal (thawfs.log in the cache)")
	f.Var(&o.logLevel, "log-level", "debug, info, warn or error")
	f.Var(text{&o.pageAddr, "ADDR"}, "status-address", "serve a status page, as on 127.0.0.1:9140")
	f.Var((*period)(&o.drainTimeout), "drain-timeout", "SIGTERM sends this long")
	f.StringVar(&o.cpuProfile, "cpuprofile", "", "write where the time goes to this file")
	if err := f.MarkHidden("cpuprofile"); err != nil {
		panic(err) // it is there
	}
	f.VarP(&mountOptions{flags: f}, "options", "o", "these as mount(8) has them: ro,uid=5,ttl=1m")
}

// check finds what is wrong with the options themselves.
func (o *options) check() error {
	if o.endpoint != "" {
		u, err := url.Parse(o.endpoint)
		switch {
		case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
			return usage("the endpoint "+quote(redact(o.endpoint))+" is not a URL", "Write it as http://HOST:PORT or https://HOST.")
		case u.User != nil:
			return usage("credentials do not belong into the endpoint",
				"Put them into the environment or into a profile of ~/.aws/credentials and use --profile.")
		}
	}
	if o.pageAddr != "" {
		if p := checkPageAddress(o.pageAddr); p != nil {
			return p
		}
	}
	if o.anonymous && o.profile != "" {
		return usage("--anonymous and --profile contradict each other", "Leave one of them out.")
	}
	for _, size := range []struct {
		flag string
		is   byteSize
		min  byteSize
	}{{"cache-size", o.cacheSize, leastSize}, {"spool-size", o.spoolSize, leastSize}, {"memory", o.memory, leastSize}} {
		if size.is < size.min && (size.is != 0 || size.flag != "spool-size") {
			return usage("--"+size.flag+" is too small to work with", "Give it at least "+size.min.String()+".")
		}
	}
	return nil
}
