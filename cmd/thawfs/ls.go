package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
)

func lsCommand() *cobra.Command {
	l := &ls{}
	cmd := &cobra.Command{
		Use:   "ls [flags] [PATH...]",
		Short: "List files and whether they can be read",
		Long: `Lists what lies in directories of a mount, from one listing of the store: no
file is opened or asked for. The first column is the state:

  ONL  online: readable           ARC  archived: has to be restored first
  AVL  a restored copy is there   RES  a restore is on its way
  NEW  not in the store yet       ERR  archived, and the last restore failed
  -    a directory                UNK  only opening it can tell

With -l size, storage class, time, and until when a copy stays or by when it is
due. With -R all files below. With --json a line of JSON for each.`,
		Example: `  thawfs ls -l /mnt/photos/2019
  thawfs ls -R --json /mnt/photos | jq -r 'select(.state=="archived").path'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{"."}
			}
			out := bufio.NewWriter(cmd.OutOrStdout())
			l.out, l.stderr, l.terminal = out, cmd.ErrOrStderr(), isTerminal(cmd.OutOrStdout())
			err := l.run(cmd.Context(), args)
			if flushErr := out.Flush(); err == nil {
				err = flushErr
			}
			return err
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.BoolVarP(&l.long, "long", "l", false, "with size, class, time, until or due")
	f.BoolVarP(&l.recursive, "recursive", "R", false, "all files below")
	f.BoolVar(&l.json, "json", false, "a line of JSON for each")
	return cmd
}

// ls is one `thawfs ls`.
type ls struct {
	long, recursive, json bool

	out      io.Writer
	stderr   io.Writer
	terminal bool

	header string // of the directory that is listed, until it is written
	wrote  bool   // something stands before the next header
}

// run lists each path; what cannot be found does not stop it.
func (l *ls) run(ctx context.Context, paths []string) error {
	failed := false
	for _, path := range paths {
		l.header = ""
		if len(paths) > 1 && !l.json {
			l.header = path + ":\n"
		}
		if err := l.list(ctx, path); err != nil {
			failed = true
			report(l.stderr, err)
		}
	}
	if failed {
		return exitCode(exitFailed)
	}
	return nil
}

func (l *ls) list(ctx context.Context, path string) error {
	mounts, err := locate(ctx, []string{path})
	if err != nil {
		return err
	}
	m := mounts[0]
	q := url.Values{"path": {m.spots[0].rel}}
	if l.recursive {
		q.Set("recursive", "1")
	}
	err = readStream(ctx, m.c, http.MethodGet, "/v1/ls?"+q.Encode(), nil, func(e entry) error { return l.show(path, e) })
	if err == nil {
		err = l.begin()
	}
	if p, ok := err.(*problem); ok {
		return wrong(path+": "+p.What, p.Do).because(p)
	}
	return err
}

// show writes an entry of path.
func (l *ls) show(path string, e entry) error {
	switch {
	case l.json:
		e.Path = filepath.Join(path, e.Path)
		return json.NewEncoder(l.out).Encode(e)
	case e.Path == ".":
		e.Path, l.header = path, ""
	}
	if err := l.begin(); err != nil {
		return err
	}
	l.wrote = true
	_, err := fmt.Fprintln(l.out, l.line(e, time.Now()))
	return err
}

// begin writes the name of a directory above its entries.
func (l *ls) begin() error {
	if l.header == "" {
		return nil
	}
	if l.wrote {
		l.header = "\n" + l.header
	}
	_, err := io.WriteString(l.out, l.header)
	l.header, l.wrote = "", true
	return err
}

// line is what a person reads of e.
func (l *ls) line(e entry, now time.Time) string {
	name := e.Path
	if l.terminal {
		name = visible(name)
	}
	if e.Dir {
		name += "/"
	}
	if !l.long {
		return fmt.Sprintf("%-3s  %s", e.State.short(), name)
	}
	size, class, at := "-", "-", "-"
	if !e.Dir {
		size = humanize.IBytes(uint64(max(e.Size, 0)))
	}
	if e.Class != "" {
		class = e.Class
	}
	if !e.Modified.IsZero() {
		at = e.Modified.Local().Format("2006-01-02 15:04")
	}
	return fmt.Sprintf("%-3s  %8s  %-12s  %-16s  %-22s  %s", e.State.short(), size, class, at, e.when(now), name)
}

// when is until when e is readable, or by when it will be.
func (e entry) when(now time.Time) string {
	switch {
	case e.State == isAvailable && !e.Until.IsZero():
		return "until " + e.Until.Local().Format("2006-01-02 15:04")
	case e.State == isRestoring && !e.ETA.IsZero():
		return "due " + due(e.ETA, now)
	}
	return "-"
}

// due is a time in the near future, as exact as it matters.
func due(at, now time.Time) string {
	switch in := at.Sub(now); {
	case in < time.Second:
		return "now"
	case in < 2*time.Minute:
		return fmt.Sprintf("in %d s", int(in.Round(time.Second).Seconds()))
	case in < 20*time.Hour:
		return "by " + at.Local().Format("15:04")
	}
	return "by " + at.Local().Format("2006-01-02 15:04")
}

// visible shows a name on a terminal, which control characters could play tricks with.
func visible(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(name)
	}
	return name
}
