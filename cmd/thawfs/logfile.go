package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync"

	"github.com/coreos/go-systemd/v22/journal"
	"golang.org/x/sys/unix"
)

// toJournal is the --log-file that stands for systemd's journal.
const toJournal = "journal"

// A logFile is the log of a mount. SIGHUP has it opened anew, for logrotate(8).
type logFile struct {
	path string

	mu     sync.Mutex
	f      *os.File // guarded by mu
	stderr bool     // guarded by mu: crashes go there too
}

// Write implements io.Writer.
func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.f.Write(p)
}

// reopen goes on in the file that has the name now. If that fails it goes on in the old one.
func (l *logFile) reopen() error {
	f, err := openLog(l.path)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.f.Close() // nothing is buffered
	l.f = f
	if l.stderr {
		return toStderr(f)
	}
	return nil
}

// takeStderr sends what the process writes to its standard error to the log.
func (l *logFile) takeStderr() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stderr = true
	return toStderr(l.f)
}

func toStderr(f *os.File) error {
	if err := unix.Dup3(int(f.Fd()), unix.Stderr, 0); err != nil {
		return fmt.Errorf("send errors to the log: %w", err)
	}
	return nil
}

func (l *logFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.f.Close()
}

// reopenOnHangup does so on SIGHUP until the returned function is called.
func (l *logFile) reopenOnHangup(log *slog.Logger) (stop func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, unix.SIGHUP)
	var wg sync.WaitGroup
	wg.Go(func() {
		for range hangups {
			if err := l.reopen(); err != nil {
				log.Error("log not reopened", slog.Any("err", err))
				continue
			}
			log.Info("log reopened")
		}
	})
	return func() {
		signal.Stop(hangups)
		close(hangups)
		wg.Wait()
	}
}

// openLogger logs to the terminal in the foreground unless a file is named, and to the journal if
// that is named or stands behind the terminal. The file is nil unless there is one.
func (j *job) openLogger(dir string) (*slog.Logger, *logFile, error) {
	j.levels = new(slog.LevelVar)
	j.levels.Set(levelOf(j.logLevel))
	path := j.logFile
	if path == toJournal && !journal.Enabled() {
		return nil, nil, wrong("the journal of systemd does not answer", "Choose a file with --log-file FILE.")
	}
	journaled, err := journal.StderrIsJournalStream()
	switch {
	case path == toJournal, path == "" && j.foreground && err == nil && journaled:
		return slog.New(&journalHandler{level: j.levels, send: journal.Send}), nil, nil
	case path == "" && j.foreground:
		return newLogger(j.stderr, j.levels), nil, nil
	case path == "":
		path = filepath.Join(dir, "thawfs.log")
	}
	path, err = filepath.Abs(path)
	if err != nil {
		return nil, nil, logProblem(j.logFile, err)
	}
	f, err := openLog(path)
	if err != nil {
		return nil, nil, err
	}
	l := &logFile{path: path, f: f}
	return newLogger(l, j.levels), l, nil
}

var _ io.WriteCloser = (*logFile)(nil)

// leaveTerminal lets go of what the parent's terminal and directory are: later crashes go
// to the log, or nowhere.
func leaveTerminal(log *logFile) error {
	if log != nil {
		return errors.Join(log.takeStderr(), os.Chdir("/"))
	}
	nowhere, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(toStderr(nowhere), nowhere.Close(), os.Chdir("/"))
}
