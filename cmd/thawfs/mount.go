package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
)

func mountCommand(args []string) *cobra.Command {
	o := newOptions()
	cmd := &cobra.Command{
		Use:   "mount [flags] SOURCE MOUNTPOINT",
		Short: "Mount a bucket, or all buckets of an account",
		Long: `Shows SOURCE as the directory MOUNTPOINT, in the background once it serves.
SOURCE is s3:// (all), s3://BUCKET/PREFIX, swift:// and glacier:// alike, or
local:DIR, local:DIR#BUCKET. Credentials are as of AWS's or OpenStack's tools.`,
		Example: `  thawfs mount s3://photos /mnt/photos
  thawfs mount --endpoint http://localhost:9000 s3:// ~/objects
  thawfs mount --anonymous --region us-west-2 s3://some-open-data /mnt/data`,
		Args:              exactly("SOURCE", "MOUNTPOINT"),
		ValidArgsFunction: completeMount,
		RunE: func(cmd *cobra.Command, positional []string) error {
			j, err := newJob(o, cmd.Flags(), positional, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			return j.do(cmd.Context(), args, cmd.OutOrStdout())
		},
	}
	o.mountFlags(cmd.Flags())
	return cmd
}

// newJob understands SOURCE and MOUNTPOINT. flags are those of o.
func newJob(o *options, flags *pflag.FlagSet, positional []string, stderr io.Writer) (*job, error) {
	s, err := o.configure(flags, positional[0])
	if err != nil {
		return nil, err
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	if err := o.classes.check(s.scheme); err != nil {
		return nil, err
	}
	if err := o.checkSwift(s); err != nil {
		return nil, err
	}
	if _, err := o.recall.recall(); err != nil {
		return nil, err
	}
	path, err := mountPath(positional[1])
	if err != nil {
		return nil, err
	}
	return &job{options: *o, source: s, mountpoint: path, stderr: stderr}, nil
}

// do mounts, in this process or in a new one that goes on in the background. args are those
// of this process.
func (j *job) do(ctx context.Context, args []string, stdout io.Writer) error {
	if to := findParent(); to != nil {
		_, err := j.serve(to)
		if err != nil {
			_ = to.tell(message{Problem: asProblem(err)}) // the parent is dead, or has heard of it
			return exitCode(asProblem(err).Code)
		}
		return nil
	}
	if j.foreground {
		left, err := j.serve(nil)
		if err == nil && left.Files > 0 {
			fmt.Fprintln(j.stderr, leftBehind(left, j.source.String()))
			err = exitCode(exitLeft)
		}
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, unix.SIGINT, unix.SIGTERM)
	defer stop()
	m, err := spawn(ctx, args)
	if err != nil {
		return err
	}
	if !j.helper { // mount(8) is silent
		fmt.Fprintln(stdout, welcome(m, args))
	}
	return nil
}

// welcome is what a user reads when a mount serves.
func welcome(m message, args []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Mounted %s on %s. Unmount with: %s umount %s. Log: %s",
		m.Ready.Source, m.Ready.Mountpoint, self(args), shellQuote(m.Ready.Mountpoint), m.Ready.Log)
	if m.Created {
		b.WriteString("\nThe store is new: mkdir in the mount makes its first bucket.")
	}
	if m.Note != "" {
		b.WriteString("\n" + m.Note)
	}
	if m.Pending.Files > 0 {
		fmt.Fprintf(&b, "\nSending %s that the last mount left.", m.Pending)
	}
	return b.String()
}

// leftBehind says what stays in the journal.
func leftBehind(p pending, source string) string {
	s := fmt.Sprintf("Left in the journal: %s. The next mount of %s with the same flags sends them.", p, source)
	if p.Failed > 0 {
		s += fmt.Sprintf(" %s refused by the store: the log says why.", count(p.Failed, "was", "were"))
	}
	return s
}

// String is as in "12 files (3.4 GiB)".
func (p pending) String() string {
	return fmt.Sprintf("%s (%s)", count(p.Files, "file", "files"), humanize.IBytes(uint64(max(p.Bytes, 0))))
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%s %s", humanize.Comma(int64(n)), many)
}

// self is how the user can call this program again.
func self(args []string) string {
	if strings.Contains(args[0], "/go-build") { // go run: it will be deleted
		return "go run ./cmd/thawfs"
	}
	if isHelper(args) {
		return "thawfs"
	}
	return shellQuote(args[0])
}

// completeMount completes the schemes of SOURCE; then directories.
func completeMount(_ *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 && !strings.Contains(word, ":") {
		words := []string{"s3://\tS3 and compatible stores", "swift://\tOpenStack Swift", "glacier://\tS3 Glacier vaults", "local:\ta store in a directory"}
		if c, err := loadConfig(""); err == nil { // else mount will say why
			for _, name := range c.names() {
				words = append(words, name+":\tof the configuration")
			}
		}
		return words, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
	}
	if len(args) == 1 {
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// interactive reports whether a person reads w.
func interactive(w io.Writer) bool { return isTerminal(w) && os.Getenv("TERM") != "dumb" }
