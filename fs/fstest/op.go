package fstest

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Verb is what an operation does.
type Verb string

// The operations. Their arguments are those of the fields of Op that forms lists.
const (
	// Of users. H is a slot for an open file; an operation on an empty one does nothing.
	Open     Verb = "open"     // whatever was open in H is closed before
	Close    Verb = "close"    //
	Write    Verb = "write"    // N bytes of Fill at Off; at the end if H was opened to append
	Read     Verb = "read"     // and compare
	Resize   Verb = "resize"   // ftruncate to Off
	Fsync    Verb = "fsync"    //
	Save     Verb = "save"     // open, write and close a whole file of N bytes
	Truncate Verb = "truncate" // by name, to Off
	Unlink   Verb = "unlink"
	Mkdir    Verb = "mkdir"
	Rmdir    Verb = "rmdir"
	Rename   Verb = "rename"
	Symlink  Verb = "symlink" // To is the target
	Chmod    Verb = "chmod"
	Utimes   Verb = "utimes"   // Off is the time in nanoseconds
	Setxattr Verb = "setxattr" // To is the name, N bytes of Fill the value
	Rmxattr  Verb = "rmxattr"

	// Of strangers. Path is a key.
	Put    Verb = "put"    // To becomes foreign metadata unless it is empty
	Delete Verb = "delete" //
	// And of files that are archived; see cold.
	Archive Verb = "archive" // into another class, in place
	Thaw    Verb = "thaw"    // the store makes a copy to read
	Lapse   Verb = "lapse"   // which ends

	// Of the machine.
	Wait    Verb = "wait"    // until the mount must have seen what strangers did
	Drain   Verb = "drain"   // and compare the store
	Remount Verb = "remount" // with the same cache; what is open is closed before
	Fresh   Verb = "fresh"   // drain, then mount with an empty cache
	Crash   Verb = "crash"
	Look    Verb = "look"  // compare the whole tree
	Break   Verb = "fault" // Path is Fault.Op, N Times, To Kind; ends with the next step
	Mount   Verb = "mount" // Pair only: what follows happens on mount H
)

// forms are the arguments of each verb, in the order in which they are written: h is H, p
// Path, t To, o Off, n N, c Fill, m Mode, f Flags.
var forms = map[Verb]string{
	Open: "hpf", Close: "h", Write: "honc", Read: "hon", Resize: "ho", Fsync: "h",
	Save: "pnc", Truncate: "po", Unlink: "p", Mkdir: "pm", Rmdir: "p", Rename: "pt",
	Symlink: "pt", Chmod: "pm", Utimes: "po", Setxattr: "ptnc", Rmxattr: "pt",
	Put: "pnct", Delete: "p", Archive: "p", Thaw: "p", Lapse: "p",
	Wait: "", Drain: "", Remount: "", Fresh: "", Crash: "", Look: "", Break: "pnt", Mount: "h",
}

// An Op is one operation of a story.
type Op struct {
	Verb     Verb
	H        int // slot of an open file, below Slots
	Path, To string
	Off, N   int64 // bytes
	Fill     byte  // what is written: pattern
	Mode     uint32
	Flags    string // of Open: r, w or rw, then any of +create +excl +trunc +append
}

// Slots is how many files a story can have open.
const Slots = 4

// A Story is what happens to one Target.
type Story struct {
	Setup
	Ops []Op
}

func (s Story) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "setup longttl=%v delay=%v passthrough=%v smallparts=%v look=%v\n", s.LongTTL, s.Delay, s.Passthrough, s.SmallParts, s.Look)
	for _, op := range s.Ops {
		b.WriteString(op.String() + "\n")
	}
	return b.String()
}

func (op Op) String() string {
	words := []string{string(op.Verb)}
	for _, arg := range forms[op.Verb] {
		words = append(words, op.word(arg))
	}
	return strings.Join(words, " ")
}

func (op Op) word(arg rune) string {
	switch arg {
	case 'h':
		return strconv.Itoa(op.H)
	case 'p':
		return quote(op.Path)
	case 't':
		return quote(op.To)
	case 'o':
		return strconv.FormatInt(op.Off, 10)
	case 'n':
		return strconv.FormatInt(op.N, 10)
	case 'c':
		return string(rune(op.Fill))
	case 'm':
		return fmt.Sprintf("%04o", op.Mode)
	}
	return op.Flags
}

// quote leaves plain words as they are.
func quote(s string) string {
	if s == "" || strings.ContainsAny(s, " \"\\\n") || strconv.Quote(s) != `"`+s+`"` {
		return strconv.Quote(s)
	}
	return s
}

// ParseStory reads what Story.String writes. Empty lines and those that begin with # are left
// out; missing settings are zero.
func ParseStory(text string) (Story, error) {
	var s Story
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		words, err := split(line)
		if err == nil && words[0] == "setup" {
			err = s.set(words[1:])
		} else if err == nil {
			var op Op
			op, err = parseOp(words)
			s.Ops = append(s.Ops, op)
		}
		if err != nil {
			return s, fmt.Errorf("line %d, %q: %w", i+1, line, err)
		}
	}
	return s, nil
}

func (s *Story) set(words []string) (err error) {
	for _, word := range words {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "longttl":
			s.LongTTL, err = strconv.ParseBool(value)
		case "delay":
			s.Delay, err = time.ParseDuration(value)
		case "passthrough":
			s.Passthrough, err = strconv.ParseBool(value)
		case "smallparts":
			s.SmallParts, err = strconv.ParseBool(value)
		case "look":
			s.Look, err = strconv.ParseBool(value)
		default:
			err = fmt.Errorf("no setting is called %q", name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// split cuts a line at blanks outside of quotes.
func split(line string) ([]string, error) {
	var words []string
	for line = strings.TrimLeft(line, " "); line != ""; line = strings.TrimLeft(line, " ") {
		if line[0] != '"' {
			word, rest, _ := strings.Cut(line, " ")
			words, line = append(words, word), rest
			continue
		}
		quoted, err := strconv.QuotedPrefix(line)
		if err != nil {
			return nil, err
		}
		word, err := strconv.Unquote(quoted)
		if err != nil {
			return nil, err
		}
		words, line = append(words, word), line[len(quoted):]
	}
	return words, nil
}

func parseOp(words []string) (Op, error) {
	op := Op{Verb: Verb(words[0])}
	form, ok := forms[op.Verb]
	if !ok {
		return op, fmt.Errorf("no operation is called %q", words[0])
	}
	if len(words)-1 != len(form) {
		return op, fmt.Errorf("%s has %d arguments, want %d", op.Verb, len(words)-1, len(form))
	}
	for i, arg := range form {
		if err := op.parse(arg, words[i+1]); err != nil {
			return op, err
		}
	}
	return op, nil
}

func (op *Op) parse(arg rune, word string) (err error) {
	switch arg {
	case 'h':
		op.H, err = strconv.Atoi(word)
		if op.H < 0 || op.H >= Slots {
			return fmt.Errorf("slot %d of %d", op.H, Slots)
		}
	case 'p':
		op.Path = word
	case 't':
		op.To = word
	case 'o':
		op.Off, err = strconv.ParseInt(word, 10, 64)
	case 'n':
		op.N, err = strconv.ParseInt(word, 10, 64)
	case 'c':
		if len(word) != 1 {
			return fmt.Errorf("fill %q is not one byte", word)
		}
		op.Fill = word[0]
	case 'm':
		var mode uint64
		mode, err = strconv.ParseUint(word, 8, 12)
		op.Mode = uint32(mode)
	case 'f':
		op.Flags = word
		_, err = openFlags(word)
	}
	return err
}
