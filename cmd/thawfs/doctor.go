package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/signal"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
)

func doctorCommand() *cobra.Command {
	o := newOptions()
	d := &doctor{}
	cmd := &cobra.Command{
		Use:   "doctor [flags] [SOURCE]",
		Short: "Find out what would keep a mount from working",
		Long: `Looks at this machine: FUSE, permissions, the cache, the configuration. With
SOURCE also at the store: whether it is reached, knows the credentials, shows
the bucket and agrees with the clock. With --probe it writes, copies and deletes
small objects named .thawfs-probe-* in the bucket, to see what the server can
do. Each trouble is told with its remedy. All flags of thawfs mount are taken.

Exit code 0: a mount would work; 1: it would not.`,
		Example: `  thawfs doctor
  thawfs doctor photos:
  thawfs doctor --probe --endpoint http://localhost:9000 s3://test`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d.out = cmd.OutOrStdout()
			ctx, stop := signal.NotifyContext(cmd.Context(), unix.SIGINT, unix.SIGTERM)
			defer stop()
			return d.run(ctx, o, cmd.Flags(), first(args))
		},
	}
	f := cmd.Flags()
	o.mountFlags(f)
	f.VisitAll(func(flag *pflag.Flag) {
		flag.Hidden = !slices.Contains([]string{"endpoint", "region", "profile", "anonymous", "cache-dir", "allow-other", "config"}, flag.Name)
	})
	f.BoolVar(&d.probe, "probe", false, "write to the bucket to see what the server can do")
	f.BoolVar(&d.json, "json", false, "as JSON")
	return cmd
}

// doctor is one `thawfs doctor`.
type doctor struct {
	probe, json bool
	out         io.Writer
	found       []finding
}

// finding is what a look at one thing told.
type finding struct {
	What   string  `json:"what"`
	State  verdict `json:"state"`
	Detail string  `json:"detail,omitempty"`
	Remedy string  `json:"remedy,omitempty"`
}

type verdict string

const (
	isGood   verdict = "ok"
	isSlower verdict = "note"  // it works, but could be better
	isWrong  verdict = "wrong" // a mount would fail
)

func (d *doctor) say(f finding) {
	d.found = append(d.found, f)
	if d.json {
		return
	}
	detail := ""
	if f.Detail != "" {
		detail = ": " + f.Detail
	}
	fmt.Fprintf(d.out, "%-5s  %s%s\n", f.State, f.What, detail)
	for line := range strings.Lines(f.Remedy) {
		fmt.Fprintf(d.out, "       %s\n", strings.TrimRight(line, "\n"))
	}
}

// judge tells of an error or that there is none.
func (d *doctor) judge(what, detail string, err error) bool {
	if err == nil {
		d.say(finding{what, isGood, detail, ""})
		return true
	}
	p := asProblem(err)
	d.say(finding{what, isWrong, strings.TrimSuffix(p.What, "."), p.Do})
	return false
}

// run looks at everything, however much is wrong.
func (d *doctor) run(ctx context.Context, o *options, flags *pflag.FlagSet, arg string) error {
	j := &job{options: *o}
	configured := arg
	if arg == "" {
		configured = "s3://" // the options of no remote
	}
	s, err := o.configure(flags, configured)
	j.options, j.source = *o, s
	if err == nil {
		err = o.check()
	}
	fine := d.judge("configuration", d.configText(o), err)
	d.machine(j)
	if arg != "" && fine {
		d.store(ctx, j)
	}
	if d.json {
		if err := json.NewEncoder(d.out).Encode(d.found); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(d.found, func(f finding) bool { return f.State == isWrong }) {
		return exitCode(exitFailed)
	}
	return nil
}

func (d *doctor) configText(o *options) string {
	c, err := loadConfig(o.config)
	if err != nil || len(c.files) == 0 {
		return "no file, defaults"
	}
	var paths []string
	for _, f := range c.files {
		paths = append(paths, f.path)
	}
	return fmt.Sprintf("%s, %s", strings.Join(paths, ", "), count(len(c.names()), "remote", "remotes"))
}
