package fstest

import (
	"time"

	"pgregory.net/rapid"
)

// Stories draws stories of at most n operations.
func Stories(n int) *rapid.Generator[Story] {
	return rapid.Custom(func(t *rapid.T) Story {
		least := pick(t, []int{1, n / 2, n / 4, n * 3 / 4}) // left alone, they would be short
		s := Story{Setup: setups(t), Ops: prelude(t)}
		s.Ops = append(s.Ops, rapid.SliceOfN(Ops(), least, n).Draw(t, "ops")...)
		return s
	})
}

// ColdStories draws stories in which much is archived.
func ColdStories(n int) *rapid.Generator[Story] {
	w := weights()
	w[Archive], w[Thaw], w[Lapse], w[Read], w[Rename], w[Open] = 26, 9, 5, 12, 20, 22
	verbs := weighted(w)
	ops := rapid.Custom(func(t *rapid.T) Op { return drawOp(t, verbs) })
	return rapid.Custom(func(t *rapid.T) Story {
		least := pick(t, []int{1, n / 2, n / 4, n * 3 / 4})
		s := Story{Setup: setups(t), Ops: prelude(t)}
		if pick(t, []bool{true, false}) {
			s.Ops = append(s.Ops, parsed("put a 9000 c ann\nput d/a 33000 c \"\"\nput g/a 5 c \"\"\narchive a\narchive d/a\narchive g/a")...)
		}
		s.Ops = append(s.Ops, rapid.SliceOfN(ops, least, n).Draw(t, "ops")...)
		return s
	})
}

func setups(t *rapid.T) Setup {
	return Setup{
		LongTTL:     rapid.Bool().Draw(t, "long ttl"),
		Delay:       pick(t, []time.Duration{time.Hour, time.Millisecond, 20 * time.Millisecond}),
		Passthrough: rapid.Bool().Draw(t, "passthrough"),
		SmallParts:  rapid.Bool().Draw(t, "small parts"),
		Look:        rapid.Bool().Draw(t, "look"),
	}
}

// Ops draws operations.
func Ops() *rapid.Generator[Op] {
	verbs := weighted(weights())
	return rapid.Custom(func(t *rapid.T) Op {
		return drawOp(t, verbs)
	})
}

func drawOp(t *rapid.T, verbs []Verb) Op {
	op := Op{Verb: pick(t, verbs)}
	for _, arg := range forms[op.Verb] {
		op.draw(t, arg)
	}
	return op
}

// pick draws one of list, each as often as any other: rapid itself prefers the first by far.
// Shrinking leads to the first.
func pick[T any](t *rapid.T, list []T) T {
	const bits = 8
	n := 0
	for range bits {
		n *= 2
		if rapid.Bool().Draw(t, "bit") {
			n++
		}
	}
	return list[n*len(list)>>bits]
}

// weights say how often each operation is drawn.
func weights() map[Verb]int {
	return map[Verb]int{
		Open: 18, Close: 8, Write: 16, Read: 6, Resize: 3, Fsync: 3,
		Save: 22, Truncate: 4, Unlink: 8, Mkdir: 8, Rmdir: 4, Rename: 16, Symlink: 2,
		Chmod: 5, Utimes: 5, Setxattr: 5, Rmxattr: 1,
		Put: 12, Delete: 4,
		Wait: 2, Drain: 6, Remount: 3, Fresh: 2, Crash: 5, Look: 4, Break: 5,
	}
}

// weighted lists verbs as often as their weight, in an order that is always the same.
func weighted(weights map[Verb]int) []Verb {
	var list []Verb
	for _, v := range verbs() {
		for range weights[v] {
			list = append(list, v)
		}
	}
	return list
}

// verbs are all of them, the simplest first: shrinking prefers those.
func verbs() []Verb {
	return []Verb{
		Save, Look, Mkdir, Unlink, Rename, Drain, Open, Write, Close, Read, Fsync, Resize, Truncate,
		Rmdir, Symlink, Chmod, Utimes, Setxattr, Rmxattr, Put, Delete, Wait, Remount, Fresh, Crash, Break, Mount,
		Archive, Thaw, Lapse,
	}
}

// files, dirs and odd are where operations happen: few names, so that they meet, most where
// they make sense, so that much comes to pass.
func files() []string { return []string{"a", "d/a", "a", "b", "d/a", "d/b", "g/a", "d/e/a", "c"} }

func dirs() []string { return []string{"d", "g", "d/e", "d", "g/d"} }

func odd() []string {
	return []string{
		"d/e/b", "g/b", "%thaw-file-d", "d/%thaw-data", "d/%thaw-empty", "g/%thaw-file-a", "a/x", "%thaw-dot", "d/%thaw-empty/a",
	}
}

// keys are those of strangers: what no path is called, among others.
func keys() []string { return []string{"d", "d/", "g/", "d/a/x", "d//a", "g", "d/e/b", "a/x", "."} }

// somewhere draws a path, nearly always one of usual.
func somewhere(t *rapid.T, usual []string) string {
	switch n := pick(t, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}); {
	case n < 12:
		return pick(t, usual)
	case n < 15:
		return pick(t, append(files(), dirs()...))
	}
	return pick(t, odd())
}

// sizes lie about what matters: nothing, a page, the largest single Put (SmallParts), the
// largest request of the kernel without read-ahead.
func sizes() []int64 {
	return []int64{5, 1, 0, 100, 4095, 4096, 9000, 33_000, 70_000, 131_073, 200_000}
}

func (op *Op) draw(t *rapid.T, arg rune) {
	switch arg {
	case 'h':
		op.H = pick(t, []int{0, 0, 1, 0, 1, 2, 3})
	case 'p':
		op.Path = op.drawPath(t)
	case 't':
		op.To = op.drawTo(t)
	case 'o':
		op.Off = pick(t, sizes())
		if op.Verb == Utimes {
			op.Off = 1_000_000_000_000_000_000 + op.Off*1_000_003
		}
	case 'n':
		op.N = pick(t, sizes())
		switch op.Verb {
		case Setxattr:
			op.N %= 101
		case Break:
			op.N = 1 + op.N%3
		}
	case 'c':
		op.Fill = byte(rapid.IntRange('a', 'z').Draw(t, "fill"))
	case 'm':
		op.Mode = pick(t, []uint32{0o755, 0o700, 0o775})
	case 'f':
		op.Flags = pick(t, []string{
			"rw+create", "r", "rw", "w", "w+create+trunc", "rw+append", "w+create+append", "rw+create+excl", "rw+trunc", "r",
		})
	}
}

func (op *Op) drawPath(t *rapid.T) string {
	switch op.Verb {
	case Archive, Thaw, Lapse:
		return pick(t, files())
	case Put, Delete:
		if pick(t, []bool{false, false, false, true}) {
			return pick(t, keys())
		}
		return pick(t, files())
	case Break:
		return pick(t, []string{"any", "get", "put", "head", "list", "delete", "copy", "upload part", "complete", "new upload"})
	case Mkdir, Rmdir:
		return somewhere(t, dirs())
	case Rename, Chmod, Utimes:
		return somewhere(t, append(files(), dirs()...))
	}
	return somewhere(t, files())
}

func (op *Op) drawTo(t *rapid.T) string {
	switch op.Verb {
	case Symlink:
		return pick(t, []string{"a", "nowhere", "e", "b"})
	case Setxattr, Rmxattr:
		return pick(t, []string{"user.x", "user.y z"})
	case Put:
		return pick(t, []string{"", "ann"})
	case Break:
		return pick(t, FaultKinds())
	}
	return somewhere(t, append(files(), dirs()...))
}

// prelude is what a story begins with, so that there are directories.
func prelude(t *rapid.T) []Op {
	text := pick(t, []string{"", "mkdir d 0755\nmkdir g 0700\nmkdir d/e 0755", "mkdir d 0755", "put d/a 5000 o \"\"\nput d/e/a 33000 o ann\nput g/a 5 o \"\""})
	return parsed(text)
}

func parsed(text string) []Op {
	s, err := ParseStory(text)
	if err != nil {
		panic(err) // the texts are above
	}
	return s.Ops
}
