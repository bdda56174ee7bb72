package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/thawfs/thawfs/fs/recall"
)

// recallOptions say what becomes of archived files that somebody opens.
type recallOptions struct {
	policy  choice
	wait    time.Duration
	days    dayCount
	objects objectLimit
	bytes   byteLimit
	prices  string // file of a price table; empty: the one that is built in
}

func newRecallOptions() recallOptions {
	return recallOptions{policy: choice{"open", []string{"open", "explicit"}}, days: 3, objects: 1000, bytes: 100 << 30}
}

func (o *recallOptions) register(f *pflag.FlagSet) {
	f.Var(&o.policy, "recall", "restore by open, or explicit")
	f.Var((*period)(&o.wait), "recall-wait", "opens wait for the archive")
	f.Var(&o.days, "recall-days", "restored copies stay")
	f.Var(&o.objects, "recall-budget-objects", "restores a day")
	f.Var(&o.bytes, "recall-budget-bytes", "and their sizes")
	f.Var(text{&o.prices, "FILE"}, "recall-prices", "what restores cost, as JSON")
}

// recall translates the flags.
func (o *recallOptions) recall() (recall.Options, error) {
	to := recall.Options{Wait: o.wait, Days: int(o.days), DayObjects: int(o.objects), DayBytes: int64(o.bytes)}
	if o.policy.value == "explicit" {
		to.Policy = recall.ExplicitOnly
	}
	if o.prices != "" {
		var err error
		if to.Prices, err = recall.LoadPrices(o.prices); err != nil {
			return to, wrong("restores cannot be estimated: "+err.Error(),
				"A table to begin with: thawfs restore --print-prices").because(err)
		}
	}
	return to, nil
}

// dayCount is how many days a copy stays.
type dayCount int

// maxDays is a hundred years.
const maxDays = 36500

func (d *dayCount) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > maxDays {
		return fmt.Errorf("%q is no number of days: write 1 or more", s)
	}
	*d = dayCount(n)
	return nil
}

func (d *dayCount) String() string {
	if *d == 0 {
		return ""
	}
	return strconv.Itoa(int(*d))
}
func (d *dayCount) Type() string { return "DAYS" }

const (
	unlimited   = -1
	noLimit     = "unlimited"
	zeroAllowed = "0 would let nothing come back: write --recall explicit, or a limit"
)

// objectLimit is a number of objects, unlimited if negative.
type objectLimit int

func (l *objectLimit) Set(s string) error {
	n, err := strconv.Atoi(strings.ReplaceAll(s, ",", ""))
	switch {
	case strings.EqualFold(s, noLimit):
		n = unlimited
	case err != nil || n < 0:
		return fmt.Errorf("%q is no number of objects: write 5000 or unlimited", s)
	case n == 0:
		return errors.New(zeroAllowed)
	}
	*l = objectLimit(n)
	return nil
}

func (l *objectLimit) String() string {
	if *l < 0 {
		return noLimit
	}
	return strconv.Itoa(int(*l))
}
func (l *objectLimit) Type() string { return "N" }

// byteLimit is a byteSize, unlimited if negative.
type byteLimit int64

func (l *byteLimit) Set(s string) error {
	if strings.EqualFold(s, noLimit) {
		*l = unlimited
		return nil
	}
	var size byteSize
	if err := size.Set(s); err != nil {
		return err
	}
	if size == 0 {
		return errors.New(zeroAllowed)
	}
	*l = byteLimit(size)
	return nil
}

func (l *byteLimit) String() string {
	if *l < 0 {
		return noLimit
	}
	return (*byteSize)(l).String()
}
func (l *byteLimit) Type() string { return "SIZE" }
