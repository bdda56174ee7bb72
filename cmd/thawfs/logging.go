package main

import (
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/lmittmann/tint"
	"golang.org/x/sys/unix"
)

// maxLog is the size in bytes above which a mount begins a new log; the last one is kept
// beside it as FILE.1.
const maxLog = 16 << 20

// isTerminal reports whether w is one.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// newLogger writes what is at least level to w: for eyes on a terminal, else as JSON lines.
func newLogger(w io.Writer, level slog.Leveler) *slog.Logger {
	if isTerminal(w) {
		return slog.New(tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: time.TimeOnly}))
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
}

// levelOf is the level that a choice names.
func levelOf(c choice) slog.Level {
	var l slog.Level
	_ = l.UnmarshalText([]byte(c.value)) // a choice holds nothing else
	return l
}

// openLog opens the log of a mount for appending.
func openLog(path string) (*os.File, error) {
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Size() > maxLog {
		if err := os.Rename(path, path+".1"); err != nil {
			return nil, logProblem(path, err)
		}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, wrong("the log cannot be written: "+filepath.Dir(path)+" does not exist", "Choose another file with --log-file FILE.").because(err)
	}
	if err != nil {
		return nil, logProblem(path, err)
	}
	return f, nil
}

func logProblem(path string, err error) *problem {
	return wrong("the log "+path+" cannot be written: "+reason(err).Error(), "Choose another file with --log-file FILE.").because(err)
}
