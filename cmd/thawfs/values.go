package main

import (
	"fmt"
	"io/fs"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// The types below are values of flags that pflag does not know.

// text is any text; kind is what the help calls it.
type text struct {
	value *string
	kind  string
}

func (t text) Set(s string) error { *t.value = s; return nil }
func (t text) String() string {
	if t.value == nil { // pflag asks a zero value
		return ""
	}
	return *t.value
}
func (t text) Type() string { return t.kind }

// period is a time.Duration; a number alone means seconds.
type period time.Duration

func (p *period) Set(s string) error {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		*p = period(time.Duration(n) * time.Second)
		return nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return fmt.Errorf("%q is not a time: write 90s, 5m or 2h30m", s)
	}
	*p = period(d)
	return nil
}

func (p *period) String() string { return strings.Replace(time.Duration(*p).String(), "m0s", "m", 1) }
func (p *period) Type() string   { return "TIME" }

// byteSize is a number of bytes, written as 500M, 10GiB or 1.5 TB.
type byteSize int64

func (b *byteSize) Set(s string) error {
	n, err := humanize.ParseBytes(s)
	if err != nil || n > 1<<62 {
		return fmt.Errorf("%q is not a size: write 500M (million bytes), 10GiB (2^30) or a number of bytes", s)
	}
	*b = byteSize(n)
	return nil
}

func (b *byteSize) String() string {
	if *b == 0 {
		return ""
	}
	return humanize.IBytes(uint64(*b))
}
func (b *byteSize) Type() string { return "SIZE" }

// mode is a set of permission bits, written in octal.
type mode uint32

func (m *mode) Set(s string) error {
	n, err := strconv.ParseUint(s, 8, 32)
	if err != nil || n > uint64(fs.ModePerm) {
		return fmt.Errorf("%q is no mode: write octal permissions such as 644 or 0755", s)
	}
	*m = mode(n)
	return nil
}
func (m *mode) String() string { return fmt.Sprintf("%04o", uint32(*m)) }
func (m *mode) Type() string   { return "MODE" }

// owner is a user or, where group is set, a group, given by name or number.
type owner struct {
	id    uint32
	group bool
}

func (o *owner) Set(s string) error {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		kind, find := "user", func() (string, error) {
			u, err := user.Lookup(s)
			if err != nil {
				return "", err
			}
			return u.Uid, nil
		}
		if o.group {
			kind, find = "group", func() (string, error) {
				g, err := user.LookupGroup(s)
				if err != nil {
					return "", err
				}
				return g.Gid, nil
			}
		}
		id, err := find()
		if err != nil {
			return fmt.Errorf("there is no %s %q", kind, s)
		}
		if n, err = strconv.ParseUint(id, 10, 32); err != nil {
			return fmt.Errorf("%s %q has no number", kind, s)
		}
	}
	o.id = uint32(n)
	return nil
}
func (o *owner) String() string { return strconv.FormatUint(uint64(o.id), 10) }
func (o *owner) Type() string   { return "ID" }

// choice is one of a few words.
type choice struct {
	value string
	of    []string
}

func (c *choice) Set(s string) error {
	for _, v := range c.of {
		if strings.EqualFold(s, v) {
			c.value = v
			return nil
		}
	}
	return fmt.Errorf("%q is none of %s", s, strings.Join(c.of, ", "))
}
func (c *choice) String() string { return c.value }
func (c *choice) Type() string   { return "WORD" }
