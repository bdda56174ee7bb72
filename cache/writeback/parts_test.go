package writeback

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/minio/crc64nvme"
	"pgregory.net/rapid"

	"github.com/thawfs/thawfs/backend"
)

// text is n bytes that differ from place to place and by seed.
func text(seed byte, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = 'a' + (seed+byte(i/26)+byte(i))%26
	}
	return string(b)
}

func TestLayoutCoversEveryByteOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lim := backend.PartLimits{
			MinSize: rapid.Int64Range(0, 20).Draw(t, "min"), MaxSize: rapid.Int64Range(20, 1000).Draw(t, "max"),
			MaxParts: rapid.IntRange(1, 50).Draw(t, "parts"), MaxObject: 20000,
		}
		wish := rapid.Int64Range(1, 60).Draw(t, "wish")
		size := rapid.Int64Range(1, 20000).Draw(t, "size")
		l := growingParts(wish, lim)
		if rapid.Bool().Draw(t, "equal") {
			l = equalParts(size, wish, lim)
		}
		if l.capacity() < size {
			return
		}
		var next int64
		n := l.parts(size)
		for number := 1; number <= n; number++ {
			off, length := l.span(number, size)
			if off != next || length <= 0 || length > lim.MaxSize || (number < n && length < lim.MinSize) {
				t.Fatalf("part %d of %d: [%d, +%d), want it at %d", number, n, off, length, next)
			}
			next += length
		}
		if next != size {
			t.Fatalf("parts cover %d of %d bytes", next, size)
		}
		whole := l.whole(size)
		if off, length := l.span(whole+1, 1<<40); length > 0 && off+length <= size {
			t.Fatalf("whole(%d) = %d, but the next part is whole too", size, whole)
		}
	})
}

func TestTheLargestObjectOfAWSIsReachable(t *testing.T) {
	lim := backend.PartLimits{MinSize: 5 << 20, MaxSize: 5 << 30, MaxParts: 10000, MaxObject: 5 << 40}
	if l := growingParts(16<<20, lim); l.capacity() < lim.MaxObject || l[0].Size != 16<<20 {
		t.Errorf("growing parts reach %d bytes, want %d: %v", l.capacity(), lim.MaxObject, l)
	}
	if l := equalParts(lim.MaxObject, 16<<20, lim); l.capacity() < lim.MaxObject || l.parts(lim.MaxObject) > lim.MaxParts {
		t.Errorf("equal parts reach %d bytes, want %d: %v", l.capacity(), lim.MaxObject, l)
	}
}

func TestJoinedChecksumIsThatOfTheWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c crcJoiner
		var whole []byte
		var sum uint64
		for _, piece := range rapid.SliceOf(rapid.SliceOf(rapid.Byte())).Draw(t, "pieces") {
			whole = append(whole, piece...)
			sum = c.join(sum, crc64nvme.Checksum(piece), int64(len(piece)))
		}
		if want := crc64nvme.Checksum(whole); sum != want {
			t.Fatalf("joined %x, want %x", sum, want)
		}
	})
}

func TestLargeFilesGoInParts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newShelf()
		w := open(t, s)
		w.Start()
		data := text(1, 64*5+10)
		w.save("big", data)
		w.drain()
		w.holds(map[string]string{"big": data})
		if s.count("part") != 6 || s.count("put") != 0 || s.count("copy") != 0 || s.orphans() != 0 {
			t.Errorf("requests %v, %d uploads left", s.counts, s.orphans())
		}
		if w.handed[ref("big")] != data {
			t.Errorf("not handed over")
		}
		w.close()
	})
}

func TestConfirmedPartsAreNotSentAgain(t *testing.T) {
	for _, crash := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			s := newShelf()
			dir := t.TempDir()
			w := openIn(t, dir, s)
			w.Start()
			data := text(2, 64*8)
			var sent atomic.Int64
			s.setFail(func(op, _ string, done bool) error {
				if op == "part" && !done && sent.Add(1) > 5 {
					return backend.ErrUnavailable
				}
				return nil
			})
			w.save("big", data)
			time.Sleep(3 * time.Second)
			if crash {
				w.crash()
				w = openIn(t, dir, s)
				w.Start()
			}
			s.setFail(nil)
			before := s.count("part")
			w.drain()
			w.holds(map[string]string{"big": data})
			if n := s.count("part") - before; n != 3 {
				t.Errorf("crash %v: %d parts sent to finish, want 3", crash, n)
			}
			if s.count("newupload") != 1 || s.orphans() != 0 {
				t.Errorf("crash %v: %v, %d uploads left", crash, s.counts, s.orphans())
			}
			w.close()
		})
	}
}

func TestPartsGoUpWhileTheFileIsWritten(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newShelf()
		w := open(t, s)
		w.Start()
		f, err := w.OpenFile(ref("big"), OpenOptions{Attrs: attrsOf("0")})
		w.ok(err)
		data := []byte(text(3, 64*10))
		for off := 0; off < len(data); off += 64 {
			_, err := f.WriteAt(data[off:off+64], int64(off))
			w.ok(err)
			time.Sleep(time.Second)
		}
		early := s.count("part")
		if early < 5 {
			t.Errorf("%d parts went early", early)
		}
		copy(data[70:], "REWRITTEN")
		_, err = f.WriteAt([]byte("REWRITTEN"), 70)
		w.ok(err)
		w.ok(f.Commit(attrsOf("1")))
		w.ok(f.Sync(t.Context()))
		w.ok(f.Close())
		w.drain()
		w.holds(map[string]string{"big": string(data)})
		if n := s.count("part"); n != 10+1 {
			t.Errorf("%d parts sent, want the ten and the one that was rewritten", n)
		}
		if o, _ := s.Head(t.Context(), "big"); o.Meta["mtime"] != "1" || s.count("copy") != 1 {
			t.Errorf("attributes %v after %d copies", o.Meta, s.count("copy"))
		}
		synctest.Wait()
		if w.handed[ref("big")] != string(data) || s.orphans() != 0 {
			t.Errorf("handed over %.20q, %d uploads left", w.handed[ref("big")], s.orphans())
		}
		w.close()
	})
}

func TestUnwantedUploadsAreAborted(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(w *queueTest, f *File)
		want map[string]string
	}{
		{"delete", func(w *queueTest, f *File) { w.ok(w.Delete(ref("big"), backend.Object{})) }, nil},
		{"shrink", func(w *queueTest, f *File) {
			w.ok(f.Truncate(w.t.Context(), 10))
			w.ok(f.Commit(attrsOf("1")))
		}, map[string]string{"big": text(3, 10)}},
		{"rename", func(w *queueTest, f *File) {
			w.ok(f.Commit(attrsOf("1")))
			w.ok(w.Rename(w.t.Context(), ref("big"), ref("new"), backend.Object{}))
		}, map[string]string{"new": text(3, 64*6)}},
	} {
		for _, lost := range []bool{false, true} {
			t.Run(tt.name, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					s := newShelf()
					w := open(t, s)
					w.Start()
					if lost { // the answer to the beginning of the upload
						once := true
						s.setFail(oneByOne(func(op, _ string, done bool) error {
							if op == "newupload" && done && once {
								once = false
								return backend.ErrUnavailable
							}
							return nil
						}))
					}
					f, err := w.OpenFile(ref("big"), OpenOptions{Attrs: attrsOf("0")})
					w.ok(err)
					for off := range 6 {
						_, err := f.WriteAt([]byte(text(3, 64*6)[off*64:off*64+64]), int64(off*64))
						w.ok(err)
						time.Sleep(time.Second)
					}
					if s.count("newupload") == 0 {
						t.Fatal("nothing went early")
					}
					tt.do(w, f)
					w.ok(f.Close())
					w.drain()
					w.holds(tt.want)
					if s.orphans() != 0 {
						t.Errorf("%d uploads left", s.orphans())
					}
					w.close()
				})
			})
		}
	}
}

func (w *queueTest) edit(base backend.Object) *File {
	w.t.Helper()
	f, err := w.OpenFile(ref(base.Key), OpenOptions{Base: base, ReadBase: w.storeReader("b", base)})
	w.ok(err)
	return f
}

func TestOnlyChangedRangesAreStagedAndSent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newShelf()
		w := open(t, s)
		w.Start()
		data := []byte(text(4, 64*8+5))
		base := s.plant("big", string(data), map[string]string{"mtime": "0"})
		f := w.edit(base)
		if _, ok := f.Fd(); ok {
			t.Errorf("a sparse file has a descriptor for the kernel")
		}
		copy(data[100:], "edited")
		_, err := f.WriteAt([]byte("edited"), 100)
		w.ok(err)
		got := make([]byte, len(data)+10)
		n, err := f.ReadAt(t.Context(), got, 0)
		if err != nil || string(got[:n]) != string(data) {
			t.Fatalf("ReadAt = %d, %v: %q", n, err, got[:n])
		}
		w.ok(f.Commit(attrsOf("1")))
		w.ok(f.Sync(t.Context()))
		w.holds(map[string]string{"big": string(data)})
		if s.count("copypart") != 7 && s.count("copypart") != 8 || s.count("part") > 2 {
			t.Errorf("requests %v", s.counts)
		}
		// On with the same file: its base is what has just been stored.
		copy(data[300:], "again")
		_, err = f.WriteAt([]byte("again"), 300)
		w.ok(err)
		data = data[:400]
		w.ok(f.Truncate(t.Context(), 400))
		w.ok(f.Truncate(t.Context(), 500))
		data = append(data, make([]byte, 100)...)
		w.ok(f.Commit(attrsOf("2")))
		w.ok(f.Close())
		w.drain()
		w.holds(map[string]string{"big": string(data)})
		w.close()
	})
}

func TestSparseFileSurvivesACrashAndARename(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newShelf()
		dir := t.TempDir()
		w := openIn(t, dir, s)
		data := []byte(text(4, 64*4))
		f := w.edit(s.plant("big", string(data), nil))
		copy(data[100:], "edited")
		_, err := f.WriteAt([]byte("edited"), 100)
		w.ok(err)
		w.ok(f.Commit(attrsOf("1")))
		w.crash()
		w = openIn(t, dir, s)
		w.ok(w.Rename(t.Context(), ref("big"), ref("new"), backend.Object{}))
		w.Start()
		w.drain()
		w.holds(map[string]string{"new": string(data)})
		w.close()
	})
}

func TestPartsOfAnExpiredUploadAreSentAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newShelf()
		w := open(t, s)
		w.Start()
		fails := 6
		s.setFail(func(op, _ string, done bool) error {
			if op == "complete" && !done {
				if fails--; fails == 3 {
					s.mu.Lock()
					clear(s.uploads)
					s.mu.Unlock()
				}
				if fails > 3 {
					return backend.ErrUnavailable
				}
			}
			return nil
		})
		data := text(5, 64*3)
		w.save("big", data)
		w.drain()
		w.holds(map[string]string{"big": data})
		w.close()
	})
}

func TestLostCompleteIsNoConflict(t *testing.T) {
	for _, newer := range []string{"", text(9, 300)} {
		bubble(t, func(t *testing.T) {
			s := newShelf()
			w := open(t, s)
			w.Start()
			once := true
			s.setFail(func(op, _ string, done bool) error {
				if op == "complete" && done && once {
					once = false
					return backend.ErrUnavailable
				}
				return nil
			})
			data := text(5, 64*3)
			w.save("big", data)
			time.Sleep(550 * time.Millisecond)
			if newer != "" {
				data = newer
				w.save("big", data)
			}
			w.drain()
			w.holds(map[string]string{"big": data})
			if s.orphans() != 0 {
				t.Errorf("%d uploads left", s.orphans())
			}
			w.close()
		})
	}
}

func TestConflictOfAPartlyStagedFileKeepsAllOfIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newShelf()
		w := open(t, s)
		w.Start()
		data := text(4, 64*4)
		base := s.plant("d.big", data, nil)
		keep := strings.Clone(data)
		f, err := w.OpenFile(ref("d.big"), OpenOptions{Base: base, ReadBase: stringReader(keep)})
		w.ok(err)
		_, err = f.WriteAt([]byte("mine"), 10)
		w.ok(err)
		s.plant("d.big", "theirs", nil)
		w.ok(f.Commit(attrsOf("1")))
		if err := f.Sync(t.Context()); !errors.Is(err, backend.ErrChanged) {
			t.Errorf("Sync = %v", err)
		}
		w.drain()
		r, _ := f.Ref()
		w.holds(map[string]string{"d.big": "theirs", r.Key: data[:10] + "mine" + data[14:]})
		w.ok(f.Close())
		w.close()
	})
}

// TestSparseFileBeingChangedAtACrash changes a pending file after its last Commit. What the
// next process finds is all of that, not some of it mixed with what was committed.
func TestSparseFileBeingChangedAtACrash(t *testing.T) {
	data := text(4, 300)
	for _, tt := range []struct {
		name   string
		change func(w *queueTest, f *File)
		want   string
	}{
		{"truncated", func(w *queueTest, f *File) { w.ok(f.Truncate(w.t.Context(), 0)) }, ""},
		{"cut and grown", func(w *queueTest, f *File) {
			w.ok(f.Truncate(w.t.Context(), 3))
			w.ok(f.Truncate(w.t.Context(), 6))
		}, "abc\x00\x00\x00"},
		{"rewritten", func(w *queueTest, f *File) {
			w.ok(f.Truncate(w.t.Context(), 0))
			_, err := f.WriteAt([]byte("other"), 0)
			w.ok(err)
		}, "other"},
		{"written elsewhere", func(w *queueTest, f *File) {
			_, err := f.WriteAt([]byte("more"), 300)
			w.ok(err)
		}, data + "more"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				dir := t.TempDir()
				s := newShelf()
				w := openIn(t, dir, s)
				f := w.edit(s.plant("k", data, nil))
				_, err := f.WriteAt([]byte("abc"), 0)
				w.ok(err)
				w.ok(f.Commit(attrsOf("1")))
				tt.change(w, f)
				w.crash()
				w = openIn(t, dir, s)
				w.Start()
				w.drain()
				want := tt.want
				if len(want) >= len(data) {
					want = "abc" + want[3:]
				}
				w.holds(map[string]string{"k": want})
				w.close()
			})
		})
	}
}
