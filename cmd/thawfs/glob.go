package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// compileGlob makes a matcher of keys from a pattern: * and ? match within a path element,
// ** also across, [a-z] and [!a-z] one character, \ takes a character as it is. A pattern
// without a / is one for the last element, in whatever directory.
func compileGlob(glob string) (*regexp.Regexp, error) {
	var re strings.Builder
	re.WriteString(`(?s)\A`)
	if !strings.Contains(glob, "/") {
		re.WriteString(`(?:.*/)?`)
	}
	for rest := glob; rest != ""; {
		part, n, err := globPart(rest, len(rest) == len(glob) || glob[len(glob)-len(rest)-1] == '/')
		if err != nil {
			return nil, fmt.Errorf("%q is no pattern: %v", glob, err)
		}
		re.WriteString(part)
		rest = rest[n:]
	}
	compiled, err := regexp.Compile(re.String() + `\z`)
	if err != nil {
		return nil, fmt.Errorf("%q is no pattern", glob)
	}
	return compiled, nil
}

// globPart translates what glob begins with, n bytes. begins is set at the beginning of a
// path element.
func globPart(glob string, begins bool) (re string, n int, err error) {
	switch {
	case begins && strings.HasPrefix(glob, "**/"):
		return `(?:.*/)?`, 3, nil
	case strings.HasPrefix(glob, "**"):
		return `.*`, 2, nil
	case glob[0] == '*':
		return `[^/]*`, 1, nil
	case glob[0] == '?':
		return `[^/]`, 1, nil
	case glob[0] == '[':
		return globClass(glob)
	case glob[0] == '\\' && len(glob) == 1:
		return "", 0, errors.New(`a \ stands at its end`)
	case glob[0] == '\\':
		return regexp.QuoteMeta(glob[1:2]), 2, nil
	}
	return regexp.QuoteMeta(glob[:1]), 1, nil
}

// globClass translates [...].
func globClass(glob string) (re string, n int, err error) {
	end := strings.IndexByte(glob[1:], ']')
	if end < 1 {
		return "", 0, errors.New("a [ lacks its ]")
	}
	in, not := glob[1:1+end], ""
	if in[0] == '!' || in[0] == '^' {
		in, not = in[1:], "^/"
	}
	if in == "" {
		return "", 0, fmt.Errorf("[%s] matches nothing", glob[1:1+end])
	}
	return "[" + not + strings.NewReplacer(`\`, `\\`, `[`, `\[`, `^`, `\^`).Replace(in) + "]", end + 2, nil
}
