package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// source is what a mount shows, as SOURCE on the command line names it:
//
//	s3://                  all buckets of the account
//	s3://BUCKET/PREFIX     one bucket, or what is below a prefix of it
//	swift://               all containers of the account
//	swift://CONTAINER/PREFIX
//	glacier://             all vaults of the account, in its region
//	glacier://VAULT/PREFIX one vault, or what is below a prefix of it
//	local:DIR              all buckets of the store in a local directory
//	local:DIR#BUCKET/PREFIX
type source struct {
	scheme string // s3, swift, glacier or local
	dir    string // local: absolute
	bucket string // empty: all of them
	prefix string // empty or ends in "/"
}

const knownSources = "Known sources are s3://, s3://BUCKET, s3://BUCKET/PREFIX, swift:// and glacier:// alike, local:DIR and local:DIR#BUCKET."

// String is the canonical spelling: equal sources are spelled equally.
func (s source) String() string {
	in := s.bucket
	if s.prefix != "" {
		in += "/" + strings.TrimSuffix(s.prefix, "/")
	}
	switch {
	case s.scheme != "local":
		return s.scheme + "://" + in
	case in == "":
		return "local:" + s.dir
	default:
		return "local:" + s.dir + "#" + in
	}
}

// whole is the source that shows all buckets of the same store.
func (s source) whole() source { return source{scheme: s.scheme, dir: s.dir} }

// parseSource reads SOURCE. A relative DIR is looked up from the working directory.
func parseSource(arg string) (source, error) {
	scheme, rest, found := strings.Cut(arg, ":")
	switch {
	case !utf8.ValidString(arg) || strings.ContainsRune(arg, 0):
		return source{}, usage(fmt.Sprintf("the source %q is not valid UTF-8", arg), knownSources)
	case !found && arg != "":
		return source{}, usage(fmt.Sprintf("the source %q has no scheme", arg), maybe(guess(arg))+knownSources)
	case strings.EqualFold(scheme, "s3"):
		return parseRemote("s3", rest, arg)
	case strings.EqualFold(scheme, swiftScheme):
		return parseRemote(swiftScheme, rest, arg)
	case strings.EqualFold(scheme, "glacier"):
		return parseRemote("glacier", rest, arg)
	case strings.EqualFold(scheme, "local"):
		return parseLocal(rest)
	case scheme == "http" || scheme == "https":
		return source{}, usage("a source is not a URL of the web",
			"Name the bucket as s3://BUCKET and the server with --endpoint "+scheme+"://HOST.")
	}
	return source{}, usage(fmt.Sprintf("the source %q is of a kind that thawfs does not know", redact(arg)), knownSources)
}

// guess is what the user may have meant by a source without a scheme.
func guess(arg string) string {
	if strings.ContainsAny(arg[:1], "/.~") {
		return "local:" + arg
	}
	return "s3://" + arg
}

func maybe(s string) string { return "Did you mean " + s + "? " }

func parseRemote(scheme, rest, arg string) (source, error) {
	in, ok := strings.CutPrefix(rest, "//")
	switch {
	case !ok:
		return source{}, usage(fmt.Sprintf("the source %q lacks the two slashes", arg),
			"Did you mean "+scheme+"://"+strings.TrimLeft(rest, "/")+"?")
	case strings.Contains(in, "@"):
		return source{}, usage("credentials do not belong into the source: everybody can see it in the list of mounts",
			whereCredentials(scheme))
	}
	s := source{scheme: scheme}
	err := s.within(in, arg)
	return s, err
}

func whereCredentials(scheme string) string {
	if scheme == swiftScheme {
		return "Put them into the environment or into clouds.yaml and use --os-cloud."
	}
	return "Put them into the environment or into a profile of ~/.aws/credentials and use --profile."
}

func parseLocal(rest string) (source, error) {
	arg := "local:" + rest
	s := source{scheme: "local"}
	dir, in := rest, ""
	// The last #: a DIR with a # in its name is written with one more behind it.
	if i := strings.LastIndexByte(rest, '#'); i >= 0 {
		dir, in = rest[:i], rest[i+1:]
	}
	if dir == "" {
		return source{}, usage(fmt.Sprintf("the source %q names no directory", arg),
			"Write local:DIR; the directory is created if it does not exist.")
	}
	if rest, ok := strings.CutPrefix(dir, "~/"); ok { // the shell leaves it alone behind a colon
		if home, err := os.UserHomeDir(); err == nil {
			dir = filepath.Join(home, rest)
		}
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return source{}, wrong("the working directory cannot be found", "Write the directory behind local: as an absolute path.").because(err)
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil { // it need not exist yet
		abs = real
	}
	s.dir = abs
	err = s.within(in, arg)
	return s, err
}

// within reads BUCKET/PREFIX.
func (s *source) within(in, arg string) error {
	s.bucket, s.prefix, _ = strings.Cut(in, "/")
	if s.bucket == "" && s.prefix != "" {
		return usage(fmt.Sprintf("the source %q has a prefix but no bucket", arg), knownSources)
	}
	if s.prefix != "" && !strings.HasSuffix(s.prefix, "/") {
		s.prefix += "/"
	}
	return nil
}

// redact hides what could be a password in a URL.
func redact(arg string) string {
	scheme, rest, ok := strings.Cut(arg, "://")
	at := strings.LastIndexByte(rest, '@')
	if !ok || at < 0 {
		return arg
	}
	return scheme + "://***" + rest[at:]
}
