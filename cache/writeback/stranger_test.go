package writeback

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/thawfs/thawfs/backend"
)

// TestNobodyOverwritesWhatHeHasNotSeen has us and a stranger write the same few keys. In the end
// everything is in the store, under whatever name, that nobody has replaced knowingly: we
// replace what we saw when we opened the file, or what was ours and not sent; the stranger
// replaces what is there.
func TestNobodyOverwritesWhatHeHasNotSeen(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		steps := rapid.SliceOfN(rapid.IntRange(0, 9), 1, 40).Draw(rt, "steps")
		large := rapid.Bool().Draw(rt, "large")
		var failure string
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 0))
			s := newShelf()
			w := open(t, s, quiet)
			w.Start()
			must := map[string]bool{}
			for n, step := range steps {
				key := fmt.Sprint("k", rnd.IntN(2), ".txt")
				synctest.Wait()
				there, exists := s.content(key)
				data := fmt.Sprintf("%d by us", n)
				if large {
					data += text(byte(n), 200)
				}
				switch {
				case step < 3:
					data := fmt.Sprintf("%d by a stranger", n)
					if exists {
						delete(must, there)
					}
					s.plant(key, data, map[string]string{"mtime": data})
					must[data] = true
				case step < 7:
					p, pending := w.Find(ref(key))
					var base backend.Object
					if pending && p.File != nil {
						buf := make([]byte, p.Object.Size)
						k, err := p.File.ReadAt(t.Context(), buf, 0)
						if err != nil {
							t.Fatal(err)
						}
						delete(must, string(buf[:k]))
					} else if exists {
						base = s.all()[key].Object
						delete(must, there)
					}
					w.over(withKey(base, key), data)
					must[data] = true
				case step < 9:
					time.Sleep(time.Duration(rnd.IntN(1500)) * time.Millisecond)
				default:
					fail, rnd := rnd.IntN(2) == 0, rand.New(rand.NewPCG(rnd.Uint64(), 0))
					s.setFail(oneByOne(func(string, string, bool) error {
						if fail && rnd.IntN(4) == 0 {
							return backend.ErrUnavailable
						}
						return nil
					}))
				}
			}
			s.setFail(nil)
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			if err := w.Drain(ctx); err != nil {
				failure = err.Error() + w.dump()
			}
			cancel()
			for _, h := range s.all() {
				delete(must, string(h.data))
			}
			for data := range must {
				failure += fmt.Sprintf("%.20q is lost; ", data)
			}
			if failure != "" {
				for key, h := range s.all() {
					failure += fmt.Sprintf("\n%s = %.20q", key, h.data)
				}
			}
			w.close()
		})
		if failure != "" {
			rt.Fatal(failure)
		}
	})
}

// TestAFileClosedWhileItsAttributesMeetAStranger looks at what is shown of a file whose bytes
// are in the store, when a stranger replaces it before its new attributes arrive.
func TestAFileClosedWhileItsAttributesMeetAStranger(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newShelf()
		w := open(t, s)
		w.Start()
		f := w.write("k", "ours")
		w.ok(f.Sync(t.Context()))
		w.ok(w.SetAttrs(ref("k"), backend.Object{}, attrsOf("new")))
		s.plant("k", "theirs", nil)
		s.setDelay(time.Minute)
		time.Sleep(30 * time.Second) // the copy is under way
		w.ok(f.Close())
		time.Sleep(10 * time.Minute)
		if p, ok := w.Find(ref("k")); ok {
			t.Errorf("after the last close our version is still shown: %+v", p)
		}
		w.holds(map[string]string{"k": "theirs"})
		if n := len(w.files); n > 0 {
			t.Errorf("%d staged files are left", n)
		}
		w.close()
	})
}

// TestAChangedFileWhoseBaseIsGone changes a few bytes of an object that a stranger then
// replaces or deletes: the rest of ours is nowhere any more.
func TestAChangedFileWhoseBaseIsGone(t *testing.T) {
	for _, tt := range []struct {
		name   string
		strike func(s *shelf)
		want   map[string]string
	}{
		{"replaced", func(s *shelf) { s.plant("k", "theirs", nil) }, map[string]string{"k": "theirs"}},
		{"deleted", func(s *shelf) { s.drop("k") }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newShelf()
				w := open(t, s, quiet)
				w.Start()
				f := w.edit(s.plant("k", text(3, 500), nil))
				_, err := f.WriteAt([]byte("edited"), 100)
				w.ok(err)
				w.ok(f.Commit(attrsOf("1")))
				tt.strike(s)
				if n, err := f.ReadAt(t.Context(), make([]byte, 500), 0); err == nil {
					t.Errorf("ReadAt = %d, nil: a mixture", n)
				}
				if err := f.Sync(t.Context()); !errors.Is(err, backend.ErrChanged) {
					t.Errorf("Sync = %v, want ErrChanged", err)
				}
				w.holds(tt.want)
				if p, ok := w.Find(ref("k")); ok {
					t.Errorf("the name is still ours: %+v", p)
				}
				w.ok(f.Close())
				w.crash()
				w = openIn(t, w.dir, s)
				w.Start()
				w.drain()
				w.holds(tt.want)
				w.close()
				var d strandedFile
				about, err := os.ReadFile(filepath.Join(w.lostDir(), "0000000000000001.json"))
				w.ok(errors.Join(err, json.Unmarshal(about, &d)))
				data, err := os.ReadFile(filepath.Join(w.lostDir(), "0000000000000001"))
				w.ok(err)
				if d.Key != "k" || d.Size != 500 || len(d.Ranges) != 1 || d.Ranges[0] != [2]int64{100, 106} || string(data[100:106]) != "edited" {
					t.Errorf("kept %s and %d bytes", about, len(data))
				}
			})
		})
	}
}

// TestAnUploadThatIsGivenUpDoesNotComeBack deletes or renames a file while its upload is under way.
// The store carries out what it was sent, however soon the client leaves.
func TestAnUploadThatIsGivenUpDoesNotComeBack(t *testing.T) {
	for _, rename := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			s := newShelf()
			s.stubborn = true
			w := open(t, s)
			w.Start()
			s.setDelay(10 * time.Second)
			w.save("k", "data")
			time.Sleep(5 * time.Second) // under way
			want := map[string]string(nil)
			if rename {
				w.ok(w.Rename(t.Context(), ref("k"), ref("to"), backend.Object{}))
				want = map[string]string{"to": "data"}
			} else {
				w.ok(w.Delete(ref("k"), backend.Object{}))
			}
			w.drain()
			time.Sleep(time.Minute)
			w.holds(want)
			w.close()
		})
	}
}

func withKey(o backend.Object, key string) backend.Object {
	o.Key = key
	return o
}
