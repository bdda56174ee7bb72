// Command package makes the packages of thawfs from a binary: a deb, an rpm and a tarball, a list
// of what is in the binary (SBOM, CycloneDX), and the licences of it. `make package` calls it.
//
//	package -binary thawfs -root ../.. -out dist
//
// The same source and the same Go make the same bytes: every time in the packages is that of
// SOURCE_DATE_EPOCH.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "package:", err)
		os.Exit(1)
	}
}

// job is one run.
type job struct {
	binary string // of thawfs, static
	root   string // of the repository
	out    string // directory for the results, made anew
	stage  string // the files as they will lie below /
	when   time.Time
	built  *binary
}

func run() error {
	j := job{}
	flag.StringVar(&j.binary, "binary", "thawfs", "the program to pack")
	flag.StringVar(&j.root, "root", ".", "the repository")
	flag.StringVar(&j.out, "out", "dist", "directory for the packages, made anew")
	flag.Parse()
	seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		return errors.New("SOURCE_DATE_EPOCH is not set to the time of the commit, in seconds")
	}
	j.when = time.Unix(seconds, 0).UTC()
	if j.built, err = readBinary(j.binary); err != nil {
		return err
	}
	if err := os.RemoveAll(j.out); err != nil {
		return err
	}
	j.stage = filepath.Join(j.out, "stage")
	for _, step := range []func() error{j.fill, j.licences, j.sbom, j.packages, j.tarball} {
		if err := step(); err != nil {
			return err
		}
	}
	return os.RemoveAll(j.stage)
}
