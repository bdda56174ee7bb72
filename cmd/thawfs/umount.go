package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/moby/sys/mountinfo"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func umountCommand() *cobra.Command {
	o := newOptions()
	cmd := &cobra.Command{
		Use:     "umount [flags] MOUNTPOINT",
		Aliases: []string{"unmount"},
		Short:   "Send what is pending and unmount",
		Long: `Sends what was written and is not in the store yet, unmounts, and returns when
the mount's process has ended. Ctrl-C says how much is left and goes on; another
one leaves it in the journal on this machine, from where the next mount of the
same source sends it. A mount whose process is dead is cleared away.

Exit code 3: it is unmounted, but not everything was sent.`,
		Example: `  thawfs umount /mnt/photos
  thawfs umount --leave /mnt/photos    do not wait for uploads`,
		Args:              exactly("MOUNTPOINT"),
		ValidArgsFunction: completeUmount,
		RunE: func(cmd *cobra.Command, args []string) error {
			return umount(cmd.Context(), args[0], o.leave, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().BoolVar(&o.leave, "leave", false, "leave what is pending in the journal")
	return cmd
}

// umount ends the mount on path by whatever still works.
func umount(ctx context.Context, path string, leave bool, stdout, stderr io.Writer) error {
	path, err := mountPath(path)
	if err != nil {
		return err
	}
	c, who, err := findDaemon(ctx, path)
	if err != nil {
		return err
	}
	if c != nil {
		u := &unmounting{c: c, about: who, stdout: stdout, stderr: stderr}
		return u.run(ctx, leave)
	}
	on, err := findMount(path)
	if err != nil {
		return err
	}
	switch {
	case on == nil:
		return notMounted(path)
	case on.FSType != fsType:
		return wrong(fmt.Sprintf("%s is not a mount of thawfs but of %s (%s)", path, on.FSType, on.Source), "Unmount it with: umount "+shellQuote(path))
	}
	wasDead := dead(path)
	if err := kernelUnmount(path, wasDead); err != nil {
		return busy(path, err)
	}
	if wasDead {
		fmt.Fprintf(stdout, "The process of the mount was dead. Cleared away. What it had not sent is in the journal: the next mount of %s sends it.\n", on.Source)
	}
	return nil
}

// notMounted says what is there instead.
func notMounted(path string) error {
	if on := enclosing(path); on != nil && on.FSType == fsType {
		return wrong(path+" lies in a mount", "Unmount all of it with: thawfs umount "+shellQuote(on.Mountpoint))
	}
	return wrong("nothing is mounted on "+path, "")
}

// unmounting is one `thawfs umount` with a living daemon.
type unmounting struct {
	c              *client
	about          about
	stdout, stderr io.Writer
}

// run drains, unmounts and waits for the end of the daemon.
func (u *unmounting) run(ctx context.Context, leave bool) error {
	end, err := unix.PidfdOpen(u.about.PID, 0) // before it can end: the number may be used again
	if err != nil {
		end = -1 // of another namespace, or it has ended just now
	} else {
		defer func() { _ = unix.Close(end) }() // only watched
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, unix.SIGINT)
	defer signal.Stop(signals)
	line := newProgress(u.stderr)
	defer line.clear()

	if !leave {
		leave, err = u.drain(ctx, signals, line)
		if err != nil {
			return err
		}
	}
	left, err := u.unmount(ctx, leave, signals, line)
	if p, ok := errors.AsType[*problem](err); ok {
		return busy(u.about.Mountpoint, p)
	}
	if err != nil {
		return u.died(err)
	}
	line.clear()
	waitPid(end)
	if left.Files > 0 {
		fmt.Fprintf(u.stdout, "Unmounted %s. %s\n", u.about.Mountpoint, leftBehind(left, u.about.Source))
		return exitCode(exitLeft)
	}
	return nil
}

// drain waits until everything is sent, or the user wants to leave the rest. What the store
// refuses does not keep the mount up: it is said at the end.
func (u *unmounting) drain(ctx context.Context, signals <-chan os.Signal, line *progress) (leave bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sent := make(chan error, 1)
	go func() {
		_, err := u.c.drain(ctx)
		sent <- err
	}()
	leave, err = u.watch(ctx, signals, line, sent)
	if leave {
		cancel()
		<-sent
	}
	if _, ok := errors.AsType[*problem](err); err != nil && !ok {
		return leave, u.died(err)
	}
	return leave, nil
}

// died explains that the daemon no longer answers.
func (u *unmounting) died(err error) *problem {
	return wrong(fmt.Sprintf("the process of the mount (pid %d) has died", u.about.PID),
		"Clear the mount away with: thawfs umount "+shellQuote(u.about.Mountpoint)+
			"\nWhat was not sent is in the journal: the next mount of "+u.about.Source+" sends it.").because(err)
}

// unmount asks the daemon to end and returns what is left.
func (u *unmounting) unmount(ctx context.Context, leave bool, signals <-chan os.Signal, line *progress) (pending, error) {
	type result struct {
		left pending
		err  error
	}
	results, done := make(chan result, 1), make(chan error, 1)
	go func() {
		left, err := u.c.unmount(ctx, leave)
		results <- result{left, err}
		done <- err
	}()
	if leaveNow, _ := u.watch(ctx, signals, line, done); leaveNow {
		left, err := u.c.unmount(ctx, true) // joins the first request and ends its wait
		return left, err
	}
	r := <-results
	return r.left, r.err
}

// watch shows progress until done. The first Ctrl-C says what is left, the second ends it
// with leave.
func (u *unmounting) watch(ctx context.Context, signals <-chan os.Signal, line *progress, done <-chan error) (leave bool, err error) {
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	warned := false
	for {
		select {
		case err := <-done:
			return false, err
		case <-signals:
			if warned {
				return true, nil
			}
			warned = true
			p, err := u.c.pending(ctx)
			if err != nil {
				continue // it is just ending
			}
			line.clear()
			fmt.Fprintf(u.stderr, "%s not sent yet. Ctrl-C again leaves them in the journal: the next mount of %s sends them.\n", p, u.about.Source)
		case <-tick.C:
			if p, err := u.c.pending(ctx); err == nil && p.Files > 0 {
				line.show(p)
			}
		}
	}
}

// waitPid waits for the end of the process behind a pidfd.
func waitPid(fd int) {
	if fd < 0 {
		return
	}
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(closeLimit.Milliseconds()))
		if !errors.Is(err, unix.EINTR) || n > 0 {
			return
		}
	}
}

// completeUmount offers the mounts of thawfs.
func completeUmount(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ours, err := mountinfo.GetMounts(mountinfo.FSTypeFilter(fsType))
	if err != nil {
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
	var words []string
	for _, on := range ours {
		words = append(words, on.Mountpoint+"\t"+on.Source)
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}
