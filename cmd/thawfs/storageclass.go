package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/thawfs/thawfs/backend"
)

// classOptions choose the storage class of what is written: the first rule that matches the
// key, else the class for everything, else what the bucket does by itself.
type classOptions struct {
	class className
	rules classRules
}

func (o *classOptions) register(f *pflag.FlagSet) {
	f.Var(&o.class, "storage-class", "of what is written")
	f.Var(&o.rules, "storage-class-rule", "by key: '*.raw=GLACIER', first match")
}

// choose is fs.Options.Class.
func (o classOptions) choose(ref backend.Ref) string {
	for _, r := range o.rules {
		if r.match.MatchString(ref.Key) {
			return string(r.class)
		}
	}
	return string(o.class)
}

// check finds classes that a store of the scheme does not have. Services that speak S3 may
// have classes of their own, so only the local store knows all of its.
func (o classOptions) check(scheme string) error {
	used := []className{o.class}
	for _, r := range o.rules {
		used = append(used, r.class)
	}
	if scheme == "glacier" && slices.ContainsFunc(used, func(c className) bool { return c != "" }) {
		return usage("vaults have no storage classes", "Leave --storage-class out.")
	}
	if scheme != "local" {
		return nil
	}
	for _, c := range used {
		if c != "" && !slices.Contains(knownClasses(), string(c)) {
			return usage("the local store has no storage class "+string(c), "It has "+strings.Join(knownClasses(), ", ")+".")
		}
	}
	return nil
}

// knownClasses are those of S3 that an object can be written to (StorageClass in the API
// reference of PutObject).
func knownClasses() []string {
	return []string{
		"STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE",
		"REDUCED_REDUNDANCY", "EXPRESS_ONEZONE",
	}
}

// className is a storage class. A name that differs from one of S3 by a letter or two is
// taken for a mistake: it would only be noticed when the first upload is refused.
type className string

func (c *className) Set(s string) error {
	name := strings.ToUpper(strings.ReplaceAll(s, "-", "_"))
	odd := func(r rune) bool { return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') }
	if name == "" || strings.ContainsFunc(name, odd) {
		return fmt.Errorf("%q is no storage class: write GLACIER, DEEP_ARCHIVE or another of the store's own words", s)
	}
	if near, ok := similar(name, knownClasses()); ok && near != name && distance(name, near) <= 2 {
		return fmt.Errorf("%q is no storage class: did you mean %s?", s, near)
	}
	*c = className(name)
	return nil
}
func (c *className) String() string { return string(*c) }
func (c *className) Type() string   { return "CLASS" }

// classRule gives keys a class.
type classRule struct {
	glob  string
	match *regexp.Regexp
	class className
}

// parseClassRule reads GLOB=CLASS; the last = parts them.
func parseClassRule(s string) (classRule, error) {
	i := strings.LastIndexByte(s, '=')
	if i <= 0 {
		return classRule{}, fmt.Errorf("%q is no rule: write GLOB=CLASS, such as '*.tar=GLACIER'", s)
	}
	r := classRule{glob: s[:i]}
	if err := r.class.Set(s[i+1:]); err != nil {
		return r, err
	}
	var err error
	r.match, err = compileGlob(r.glob)
	return r, err
}

// classRules collects the rules of all flags.
type classRules []classRule

func (c *classRules) Set(s string) error {
	r, err := parseClassRule(s)
	if err == nil {
		*c = append(*c, r)
	}
	return err
}

func (c *classRules) String() string {
	var all []string
	for _, r := range *c {
		all = append(all, r.glob+"="+string(r.class))
	}
	return strings.Join(all, ",")
}
func (c *classRules) Type() string { return "RULE" }
