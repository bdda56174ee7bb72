package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// tarball packs the same files for everybody else: they lie in a directory of their own, to be
// copied below /usr or /usr/local.
func (j *job) tarball() error {
	name := "thawfs-" + j.built.version + "-linux-" + j.built.arch
	f, err := os.Create(filepath.Join(j.out, name+".tar.gz"))
	if err != nil {
		return err
	}
	z, err := gzip.NewWriterLevel(f, gzip.BestCompression)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	t := tar.NewWriter(z)
	return errors.Join(j.tarFiles(t, name), t.Close(), z.Close(), f.Close())
}

func (j *job) tarFiles(t *tar.Writer, name string) error {
	contents, err := j.contents()
	if err != nil {
		return err
	}
	for _, c := range contents { // in the order of a walk: always the same
		h := &tar.Header{Name: name + strings.TrimPrefix(c.Destination, "/usr"), ModTime: j.when, Format: tar.FormatPAX}
		if c.Type != "" {
			h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, c.Source, 0o777
			if err := t.WriteHeader(h); err != nil {
				return err
			}
			continue
		}
		if err := j.tarFile(t, h, c.Source, int64(c.FileInfo.Mode)); err != nil {
			return err
		}
	}
	return nil
}

func (j *job) tarFile(t *tar.Writer, h *tar.Header, path string, mode int64) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return err
	}
	h.Typeflag, h.Size, h.Mode = tar.TypeReg, info.Size(), mode
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(t, f)
	return err
}
