package main

import (
	"bytes"
	"context"
	"runtime"
	"strings"
	"testing"
)

// runHere runs a command in this process.
func runHere(args ...string) outcome {
	var stdout, stderr bytes.Buffer
	code := run(context.Background(), append([]string{"thawfs"}, args...), &stdout, &stderr)
	return outcome{code, stdout.String(), stderr.String()}
}

func TestCommandLinesThatAreWrong(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{"moutn s3:// /mnt", "thawfs: there is no command \"moutn\".\nDid you mean thawfs mount?"},
		{"frobnicate", "thawfs: there is no command \"frobnicate\".\nSee: thawfs --help"},
		{"mount", "thawfs: SOURCE is missing: thawfs mount [flags] SOURCE MOUNTPOINT.\nSee: thawfs mount --help"},
		{"mount s3://", "thawfs: MOUNTPOINT is missing: thawfs mount [flags] SOURCE MOUNTPOINT.\nSee: thawfs mount --help"},
		{"mount s3:// /mnt /mnt2", "thawfs: \"/mnt2\" is one argument too many: thawfs mount [flags] SOURCE MOUNTPOINT.\nSee: thawfs mount --help"},
		{"umount", "thawfs: MOUNTPOINT is missing: thawfs umount [flags] MOUNTPOINT.\nSee: thawfs umount --help"},
		{"mount --colour s3:// /mnt", "thawfs: unknown flag: --colour.\nSee: thawfs mount --help"},
		{
			"mount --cache-size big s3:// /mnt",
			"thawfs: --cache-size: \"big\" is not a size: write 500M (million bytes), 10GiB (2^30) or a number of bytes.\nSee: thawfs mount --help",
		},
		{"mount --cache-size 1k s3:// /mnt", "thawfs: --cache-size is too small to work with.\nGive it at least 16 MiB."},
		{"mount --memory 0 s3:// /mnt", "thawfs: --memory is too small to work with.\nGive it at least 16 MiB."},
		{"mount --ttl soon s3:// /mnt", "thawfs: --ttl: \"soon\" is not a time: write 90s, 5m or 2h30m.\nSee: thawfs mount --help"},
		{"mount -o rp s3:// /mnt", "thawfs: option \"rp\" is not known; see thawfs mount --help."},
		{"mount -o allow-othr s3:// /mnt", "thawfs: option \"allow-othr\" is not known: did you mean \"allow_other\"?."},
		{"mount --endpoint localhost:9000 s3:// /mnt", "thawfs: the endpoint \"localhost:9000\" is not a URL.\nWrite it as http://HOST:PORT or https://HOST."},
		{
			"mount --endpoint https://key:secret@host s3:// /mnt",
			"thawfs: credentials do not belong into the endpoint.\nPut them into the environment or into a profile of ~/.aws/credentials and use --profile.",
		},
		{"mount --anonymous --profile p s3:// /mnt", "thawfs: --anonymous and --profile contradict each other.\nLeave one of them out."},
	} {
		t.Run(tt.line, func(t *testing.T) {
			runHere(strings.Fields(tt.line)...).want(t, exitUsage, tt.want)
		})
	}
}

// TestHelpFitsAScreen keeps every command's help within 50 lines of 80 columns, with examples.
func TestHelpFitsAScreen(t *testing.T) {
	root := newRoot([]string{"thawfs"})
	names := []string{""}
	for _, c := range root.Commands() {
		names = append(names, c.Name())
		for _, sub := range c.Commands() {
			names = append(names, c.Name()+" "+sub.Name())
		}
	}
	for _, name := range names {
		t.Run("thawfs "+name, func(t *testing.T) {
			o := runHere(append(strings.Fields(name), "--help")...)
			if o.code != 0 || o.stderr != "" {
				t.Fatalf("exit %d: %s", o.code, o.stderr)
			}
			lines := strings.Split(strings.TrimSuffix(o.stdout, "\n"), "\n")
			if len(lines) > 50 {
				t.Errorf("%d lines, want at most 50", len(lines))
			}
			for _, l := range lines {
				if len(l) > 80 {
					t.Errorf("%d columns, want at most 80: %s", len(l), l)
				}
			}
			if !strings.Contains(o.stdout, "Examples:\n  thawfs") {
				t.Errorf("no examples:\n%s", o.stdout)
			}
		})
	}
}

func TestVersionNamesWhatMatters(t *testing.T) {
	o := runHere("version")
	for _, want := range []string{"thawfs ", runtime.Version(), "Linux " + kernel()} {
		if !strings.Contains(o.stdout, want) {
			t.Errorf("thawfs version = %q, want it to hold %q", o.stdout, want)
		}
	}
}

func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if o := runHere("completion", shell); o.code != 0 || !strings.Contains(o.stdout, "thawfs") {
			t.Errorf("completion %s: exit %d, %d bytes", shell, o.code, len(o.stdout))
		}
	}
	if o := runHere("__complete", "mount", "s"); !strings.Contains(o.stdout, "s3://") {
		t.Errorf("completion of SOURCE: %q, want s3://", o.stdout)
	}
}
