package fstest

import (
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// What keys are seen as, as SEMANTICS.md has it. Keys with data are written key=data.
func TestKeysAreSeenAs(t *testing.T) {
	for _, tt := range []struct{ keys, want string }{
		{"", ""},
		{"a b/c", "a b/ b/c"},
		{"a/", "a/"},
		{"a a/b", "%thaw-file-a a/ a/b"},
		{"a a/", "%thaw-file-a a/"},
		{"a/=x", "a/ a/%thaw-data"},
		{"a//b /c", "%thaw-empty/ %thaw-empty/c a/ a/%thaw-empty/ a/%thaw-empty/b"},
		{"a//", "a/ a/%thaw-empty/"},
		{". ../x", "%thaw-dot %thaw-dotdot/ %thaw-dotdot/x"},
		{"a-b a/b a", "%thaw-file-a a-b a/ a/b"},
	} {
		var got []string
		tree(viewOf(tt.keys)).each("", func(path string, n *node) {
			if n.dir {
				path += "/"
			}
			got = append(got, path)
		})
		slices.Sort(got)
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%q is seen as %q, want %q", tt.keys, got, tt.want)
		}
	}
}

func viewOf(keys string) map[string]*file {
	view := map[string]*file{}
	for _, key := range strings.Fields(keys) {
		key, data, _ := strings.Cut(key, "=")
		view[key] = &file{key: key, now: state{data: data}}
	}
	return view
}

// Calls of users in turn, what each returns, and the keys after all of them.
func TestUsersGetWhatLinuxSays(t *testing.T) {
	for _, tt := range []struct {
		name, keys, calls string
		want              []syscall.Errno
		after             string
	}{
		{"a directory outlives its files", "d/a", "unlink d/a", []syscall.Errno{0}, "d/"},
		{"rmdir keeps the directory above", "d/e/", "rmdir d/e\nrmdir d/e", []syscall.Errno{0, syscall.ENOENT}, "d/"},
		{"rmdir of a directory with data", "d/=x", "rmdir d", []syscall.Errno{syscall.ENOTEMPTY}, "d/"},
		{"files in the way", "a", "mkdir a 0755\nsave a/b 1 x\nrmdir a", []syscall.Errno{syscall.EEXIST, syscall.ENOTDIR, syscall.ENOTDIR}, "a"},
		{"rename over", "a b d/ e/ f/x", "rename a b\nrename b d\nrename d b\nrename d e\nrename e f\nrename f f/y", []syscall.Errno{
			0, syscall.EISDIR, syscall.ENOTDIR, 0, syscall.ENOTEMPTY, syscall.EINVAL,
		}, "b e/ f/x"},
		{"a renamed directory takes all along", "d/a d/e/b", "rename d g", []syscall.Errno{0}, "g/a g/e/b"},
		{"the hidden comes out", "a a/", "rmdir a\nrename a b", []syscall.Errno{0, 0}, "b"},
		{"links are followed", "", "symlink l b\nsave l 5 x\nmkdir l 0755\nunlink l", []syscall.Errno{0, 0, syscall.EEXIST, 0}, "b"},
		{"links in a circle", "", "symlink a a\nsave a 5 x\nopen 0 a/b r", []syscall.Errno{0, syscall.ELOOP, syscall.ELOOP}, "a"},
		{"names that are taken by escapes", "", "save %thaw-x 5 x\nsave %thaw-empty 5 x\nmkdir %thaw-empty 0755\nsave %thaw-dot 1 x", []syscall.Errno{syscall.EINVAL, syscall.EINVAL, 0, 0}, ". /"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := NewModel(0)
			m.view = viewOf(tt.keys)
			s, err := ParseStory(tt.calls)
			if err != nil {
				t.Fatal(err)
			}
			for i, op := range s.Ops {
				if got := m.Apply(op); got != tt.want[i] {
					t.Errorf("%s: %s, want %s", op, name(got), name(tt.want[i]))
				}
			}
			if got := strings.Join(slices.Sorted(maps.Keys(m.view)), " "); got != tt.after {
				t.Errorf("the keys are %q, want %q", got, tt.after)
			}
		})
	}
}

// What was not closed is there or not after a crash; what was, is.
func TestStatesThatACrashMayLeave(t *testing.T) {
	m := NewModel(0)
	s, err := ParseStory("save a 3 x\nopen 0 a rw\nwrite 0 3 3 y\nopen 1 b w+create\nsave c 1 z\nopen 2 t w+create\nrename t c")
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range s.Ops {
		if errno := m.Apply(op); errno != 0 {
			t.Fatalf("%s: %v", op, errno)
		}
	}
	for key, want := range map[string]struct {
		states  int
		mayMiss bool
	}{"a": {2, false}, "b": {1, true}, "c": {2, false}} {
		if f := m.view[key]; len(f.possible()) != want.states || f.mayMiss() != want.mayMiss {
			t.Errorf("%q: %d states, may be missing: %v; want %+v", key, len(f.possible()), f.mayMiss(), want)
		}
	}
	m.Apply(Op{Verb: Close, H: 0})
	if f := m.view["a"]; !f.certain() {
		t.Error("what was closed is not certain")
	}
}

func TestContents(t *testing.T) {
	whole := pattern('x', 0, 1000)
	if got := pattern('x', 333, 100); got != whole[333:433] {
		t.Errorf("a piece of a pattern is %q, want %q", got, whole[333:433])
	}
	for _, tt := range []struct{ got, want string }{
		{overwrite("abc", 1, "X"), "aXc"},
		{overwrite("abc", 5, "X"), "abc\x00\x00X"},
		{overwrite("abc", 5, ""), "abc"},
		{resize("abc", 2), "ab"},
		{resize("abc", 4), "abc\x00"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}
