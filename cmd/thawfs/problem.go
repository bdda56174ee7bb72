package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// Exit codes. mount(8) has its own for helpers: see helper.go.
const (
	exitFailed = 1 // it did not work
	exitUsage  = 2 // the command line is wrong
	exitLeft   = 3 // unmounted, but changes are left in the journal
)

// A problem is an error as a person meets it: what happened to what, and what to do.
type problem struct {
	What  string `json:"what"` // one sentence without a full stop
	Do    string `json:"do"`   // whole sentences or commands; may be several lines, may be empty
	Code  int    `json:"code"` // exit code
	cause error  // for errors.Is; its text is part of What where it helps
}

func (p *problem) Error() string { return p.What }
func (p *problem) Unwrap() error { return p.cause }

// wrong makes the problem of something that failed.
func wrong(what, do string) *problem { return &problem{What: what, Do: do, Code: exitFailed} }

// usage makes the problem of a command line that cannot be understood.
func usage(what, do string) *problem { return &problem{What: what, Do: do, Code: exitUsage} }

// because adds the error that p explains.
func (p *problem) because(err error) *problem {
	p.cause = err
	return p
}

// asProblem finds the problem in err, or makes one of its text.
func asProblem(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	return wrong(err.Error(), "").because(err)
}

// report writes err as a person should read it and returns the exit code.
func report(w io.Writer, err error) int {
	p := asProblem(err)
	fmt.Fprintf(w, "thawfs: %s.\n", strings.TrimSuffix(p.What, "."))
	if p.Do != "" {
		fmt.Fprintln(w, p.Do)
	}
	return p.Code
}
