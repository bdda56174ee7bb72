package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb" // registers itself
	"github.com/goreleaser/nfpm/v2/files"
	_ "github.com/goreleaser/nfpm/v2/rpm"
)

// packages makes the deb and the rpm of what is in the stage.
func (j *job) packages() error {
	contents, err := j.contents()
	if err != nil {
		return err
	}
	for _, format := range []string{"deb", "rpm"} {
		info := nfpm.WithDefaults(&nfpm.Info{
			Name: "thawfs", Arch: j.built.arch, Platform: "linux", Version: j.built.version, Release: "1",
			Section: "utils", Priority: "optional", Maintainer: "The thawfs project <thawfs@example.org>",
			Description: "Object storage as a directory\n" +
				"Mounts S3, what speaks its protocol, OpenStack Swift and S3 Glacier vaults as a\n" +
				"directory. Archived objects are stub files; opening one starts its retrieval.",
			Homepage: "https://github.com/thawfs/thawfs", License: "Apache-2.0", MTime: j.when,
			Overridables: nfpm.Overridables{
				Recommends: []string{"fuse3", "ca-certificates"}, Contents: contents,
				RPM: nfpm.RPM{Summary: "Object storage as a directory", BuildHost: "localhost", Group: "System/Filesystems"},
				Deb: nfpm.Deb{Compression: "gzip"},
			},
		})
		info.Umask = 0o022
		if err := j.pack(format, info); err != nil {
			return err
		}
	}
	return nil
}

func (j *job) pack(format string, info *nfpm.Info) error {
	if err := nfpm.PrepareForPackager(info, format); err != nil {
		return err
	}
	p, err := nfpm.Get(format)
	if err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(j.out, p.ConventionalFileName(info)))
	if err != nil {
		return err
	}
	return errors.Join(p.Package(info, f), f.Close())
}

// contents are the files of the stage and the link by which mount(8) finds the program.
func (j *job) contents() (files.Contents, error) {
	var all files.Contents
	err := filepath.WalkDir(j.stage, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(j.stage, path)
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		all = append(all, &files.Content{
			Source: path, Destination: "/" + rel,
			FileInfo: &files.ContentFileInfo{Owner: "root", Group: "root", Mode: info.Mode().Perm(), MTime: j.when},
		})
		return nil
	})
	return append(all, &files.Content{
		Source: "../bin/thawfs", Destination: "/usr/sbin/mount.thawfs", Type: files.TypeSymlink,
		FileInfo: &files.ContentFileInfo{Owner: "root", Group: "root", MTime: j.when},
	}), err
}
