package fstest

import (
	"time"

	"pgregory.net/rapid"
)

// Stories draws stories of at most n operations.
func Stories(n int) *rapid.Generator[Story] {
	return rapid.Custom(func(t *rapid.T) Story {
		least := pick(t, []int{1, n / 2, n / 4, n * 3 / 4}) // left alone, they would be short
		return Story{Setup: setups(t), Ops: rapid.SliceOfN(Ops(), least, n).Draw(t, "ops")}
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
		Open: 14, Close: 8, Write: 14, Read: 7, Resize: 3, Fsync: 3,
		Save: 14, Truncate: 4, Unlink: 7, Mkdir: 7, Rmdir: 4, Rename: 14, Symlink: 2,
		Chmod: 4, Utimes: 4, Setxattr: 4, Rmxattr: 1,
		Put: 7, Delete: 3,
		Wait: 2, Drain: 4, Remount: 2, Fresh: 1, Crash: 2, Look: 5, Break: 5,
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
	}
}

// paths are few, so that operations meet.
func paths() []string {
	return []string{
		"a", "d/a", "b", "d", "d/b", "g", "g/a", "d/e", "d/e/a", "g/b", "d/e/b", "c", "g/d", "a", "d/a", "d",
		"%thaw-file-d", "d/%thaw-data", "d/%thaw-empty", "g/%thaw-file-a",
	}
}

// keys are those of strangers: paths and what no path is called.
func keys() []string {
	return []string{"a", "d/a", "b", "d/e/a", "g/a", "d", "d/b", "d/", "g/", "d/e/b", "g", "d/a/x", "d//a", "a", "d/a"}
}

// sizes lie about what matters: nothing, a page, the largest single Put (SmallParts), the
// largest request of the kernel without read-ahead.
func sizes() []int64 {
	return []int64{5, 1, 0, 100, 4095, 4096, 9000, 33_000, 70_000, 131_073, 200_000}
}

func (op *Op) draw(t *rapid.T, arg rune) {
	switch arg {
	case 'h':
		op.H = rapid.IntRange(0, Slots-1).Draw(t, "slot")
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
	case Put, Delete:
		return pick(t, keys())
	case Break:
		return pick(t, []string{"any", "get", "put", "head", "list", "delete", "copy", "upload part", "complete", "new upload"})
	}
	return pick(t, paths())
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
	return pick(t, paths())
}
