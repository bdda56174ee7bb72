package main

import (
	"strings"

	"github.com/spf13/pflag"
)

// configure finds out what SOURCE means: a remote's name and what is in it, as in photos:2024,
// or a source itself. What the command line has left open comes from the configuration.
func (o *options) configure(flags *pflag.FlagSet, arg string) (source, error) {
	c, err := loadConfig(o.config)
	if err != nil {
		return source{}, err
	}
	name, rest, found := strings.Cut(arg, ":")
	remote, known := c.remote(name)
	if !found || !known {
		s, err := parseSource(arg)
		if err != nil {
			return s, noRemote(c, arg, err)
		}
		return s, c.apply(flags, nil)
	}
	s, err := parseSource(remote[keySource].(string))
	if err != nil {
		return s, err
	}
	if err := s.descend(rest); err != nil {
		return s, err
	}
	if flags.Changed("profile") || flags.Changed("anonymous") {
		return s, c.apply(flags, remote) // the command line has other credentials
	}
	o.accessKey, _ = remote[keyAccess].(string)
	o.secretKey, _ = remote[keySecret].(string)
	o.sessionToken, _ = remote[keyToken].(string)
	return s, c.apply(flags, remote)
}

// noRemote says of a source that cannot be read which remote may be meant.
func noRemote(c *config, arg string, err error) error {
	name, rest, found := strings.Cut(arg, ":")
	if !found || rest != "" && strings.HasPrefix(rest, "/") {
		return err
	}
	p := asProblem(err)
	near, ok := similar(name, c.names())
	switch {
	case ok:
		return usage("there is no remote "+quote(name), "Did you mean "+near+":"+rest+"?")
	case len(c.names()) > 0:
		return usage("there is no remote "+quote(name), "The configuration has "+strings.Join(c.names(), ", ")+".\n"+p.Do)
	}
	return err
}

// descend goes to a bucket or prefix below s.
func (s *source) descend(path string) error {
	path = strings.Trim(path, "/")
	switch {
	case path == "":
	case s.bucket == "":
		return s.within(path, path)
	default:
		s.prefix += path + "/"
	}
	return nil
}
