package attrindex

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/backendtest"
	"github.com/thawfs/thawfs/backend/local"
)

// A desk is a local store and Books that work on it.
type desk struct {
	t      *testing.T
	faulty *backendtest.Faulty
	store  backend.Store // behind the backs of the Books
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	s, err := local.New(t.TempDir(), local.Options{NoSync: true})
	must(t, err)
	must(t, s.CreateBucket(t.Context(), "buk"))
	store, err := s.Open(t.Context(), "buk")
	must(t, err)
	return &desk{t: t, faulty: backendtest.NewFaulty(store), store: store}
}

func (k *desk) book(change ...func(*Options)) *Book {
	k.t.Helper()
	o := Options{Open: func(context.Context, string) (backend.Store, error) { return k.faulty, nil }}
	for _, fn := range change {
		fn(&o)
	}
	b, err := New(o)
	must(k.t, err)
	return b
}

var dirD = backend.Ref{Bucket: "buk", Key: "d/"}

// put stores a file.
func (k *desk) put(name, content string) backend.Object {
	k.t.Helper()
	body := io.NewSectionReader(strings.NewReader(content), 0, int64(len(content)))
	obj, err := k.store.Put(k.t.Context(), "d/"+name, body, backend.PutOptions{Attrs: backend.Attrs{Meta: map[string]string{"mode": "33188", "of": name + content}}})
	must(k.t, err)
	return obj
}

// files stores n files and tells b of them.
func (k *desk) files(b *Book, prefix string, n int) {
	k.t.Helper()
	for i := range n {
		obj := k.put(fmt.Sprintf("%s%02d", prefix, i), "x")
		b.Stored(backend.Ref{Bucket: "buk", Key: obj.Key}, obj)
	}
}

// lacks returns the files of the directory whose attributes a new mount would have to ask for.
func (k *desk) lacks() (names []string) {
	k.t.Helper()
	b := k.book(func(o *Options) { o.ReadOnly = true })
	defer b.Close(k.t.Context())
	x := b.Load(k.t.Context(), k.store, dirD, "")
	for e, err := range k.store.List(k.t.Context(), "d/", "", backend.ListOptions{}) {
		must(k.t, err)
		if IsKey(e.Key) {
			continue
		}
		head, err := k.store.Head(k.t.Context(), e.Key)
		must(k.t, err)
		attrs, ok := b.Find(x, e.Key[2:], e.Object)
		if !ok {
			names = append(names, e.Key[2:])
		} else if attrs.Meta["of"] != head.Meta["of"] {
			k.t.Errorf("%s: the index says %v, the store %v", e.Key, attrs.Meta, head.Meta)
		}
	}
	return names
}

func (k *desk) want(names ...string) {
	k.t.Helper()
	if got := k.lacks(); fmt.Sprint(got) != fmt.Sprint(names) {
		k.t.Errorf("not in the index: %v, want %v", got, names)
	}
}

func TestOneRequestForManyFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newDesk(t)
		b := k.book()
		defer b.Close(t.Context())
		k.files(b, "f", 20)
		time.Sleep(time.Minute)
		k.want()
		if got := k.faulty.Count(backendtest.OpPut); got != 1 {
			t.Errorf("%d PUTs, want 1", got)
		}
		k.files(b, "g", 2)
		time.Sleep(time.Minute)
		k.want()
		if got := k.faulty.Count(backendtest.OpPut); got != 2 {
			t.Errorf("%d PUTs, want 2", got)
		}
		time.Sleep(time.Hour)
		if got := k.faulty.Count(backendtest.OpPut); got != 2 {
			t.Errorf("%d PUTs after nothing happened, want 2", got)
		}
	})
}

func TestFewFilesNeedNoIndex(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newDesk(t)
		b := k.book()
		defer b.Close(t.Context())
		k.files(b, "f", 5)
		time.Sleep(time.Hour)
		if got := k.faulty.Count(backendtest.OpPut); got != 0 {
			t.Errorf("%d PUTs for 5 files, want none", got)
		}
		k.files(b, "g", 5)
		time.Sleep(time.Minute)
		k.want()
	})
}

// A file that is changed twice within a second, with a Close in between, must not leave what it
// was in between.
func TestAnIndexNamesNoYoungVersions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newDesk(t)
		b := k.book()
		k.files(b, "f", 20)
		time.Sleep(2 * time.Second)
		k.files(b, "young", 3)
		stored := time.Now()
		b.Close(t.Context())
		k.want()
		if got := k.faulty.Count(backendtest.OpPut); got != 1 || time.Since(stored) < time.Second {
			t.Errorf("%d PUTs, %v behind the last file", got, time.Since(stored))
		}
		hurried, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		b = k.book()
		k.files(b, "late", 100)
		b.Close(hurried)
		if got := len(k.lacks()); got != 100 {
			t.Errorf("%d files are not in the index, want the 100 that are too young", got)
		}
	})
}

func TestTwoMountsMerge(t *testing.T) {
	for _, conditions := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			k := newDesk(t)
			if !conditions {
				k.faulty.Inject(backendtest.Fault{Op: backendtest.OpPut, Times: 1, Err: backend.ErrUnsupported})
			}
			a, b := k.book(), k.book()
			k.files(a, "a", 10)
			time.Sleep(time.Minute)
			k.files(b, "b", 10)
			time.Sleep(time.Minute)
			if !conditions {
				k.faulty.Inject(backendtest.Fault{Op: backendtest.OpPut, Times: 2, Err: backend.ErrUnsupported})
			}
			k.files(a, "c", 10) // a's index is not the newest any more
			time.Sleep(time.Minute)
			a.Close(t.Context())
			b.Close(t.Context())
			k.want()
		})
	}
}

func TestBothAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newDesk(t)
		a, b := k.book(), k.book()
		k.files(a, "a", 10)
		k.files(b, "b", 10)
		time.Sleep(5 * time.Minute)
		a.Close(t.Context())
		b.Close(t.Context())
		k.want()
	})
}

func TestADamagedIndexIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newDesk(t)
		k.put(Name, "something else")
		b := k.book()
		k.files(b, "f", 3)
		k.want("f00", "f01", "f02")
		time.Sleep(time.Minute)
		b.Close(t.Context())
		k.want()
	})
}

func TestForeignChangesDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newDesk(t)
		b := k.book()
		k.files(b, "f", 10)
		time.Sleep(time.Minute)
		b.Close(t.Context())
		k.put("f03", "foreign")
		must(t, k.store.Delete(t.Context(), "d/f04"))
		k.put("new", "foreign")
		k.want("f03", "new")
	})
}

func TestAFailingStoreIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newDesk(t)
		b := k.book()
		k.faulty.Inject(backendtest.Fault{Op: backendtest.OpPut, Times: 3})
		k.files(b, "f", 10)
		time.Sleep(10 * time.Second)
		if len(k.lacks()) == 0 {
			t.Error("the index was written by a store that failed")
		}
		time.Sleep(10 * time.Minute)
		b.Close(t.Context())
		k.want()
	})
}

func TestWhoMayNotWriteStopsTrying(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newDesk(t)
		b := k.book()
		defer b.Close(t.Context())
		k.faulty.Inject(backendtest.Fault{Op: backendtest.OpPut, Times: -1, Err: backend.ErrPermission})
		k.files(b, "f", 10)
		time.Sleep(time.Hour)
		k.files(b, "g", 10)
		time.Sleep(time.Hour)
		if got := k.faulty.Count(backendtest.OpPut); got != 1 {
			t.Errorf("%d PUTs, want 1", got)
		}
	})
}

// What waits for a directory that is removed must not bring it back.
func TestDiscard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newDesk(t)
		b := k.book()
		defer b.Close(t.Context())
		hold := make(chan struct{})
		k.faulty.Inject(backendtest.Fault{Op: backendtest.OpPut, Hold: hold})
		k.files(b, "f", 10)
		time.Sleep(4 * time.Second) // the PUT is under way
		k.files(b, "g", 10)
		b.Discard(backend.Ref{Bucket: "buk"})
		close(hold)
		time.Sleep(time.Hour)
		if _, err := k.store.Head(t.Context(), Key("d/")); !errors.Is(err, backend.ErrNotExist) {
			t.Errorf("there is an index: %v", err)
		}
	})
}

// Two mounts: one removes the directory while the other's index waits.
func TestADirectoryThatIsGoneStaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newDesk(t)
		b := k.book()
		defer b.Close(t.Context())
		k.files(b, "f", 10)
		for i := range 10 {
			must(t, k.store.Delete(t.Context(), fmt.Sprintf("d/f%02d", i)))
		}
		time.Sleep(time.Hour)
		if _, err := k.store.Head(t.Context(), Key("d/")); !errors.Is(err, backend.ErrNotExist) {
			t.Errorf("there is an index: %v", err)
		}
	})
}

func TestWhatOthersRemovedDoesNotPileUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newDesk(t)
		b := k.book()
		for round := range 4 {
			for i := range 600 {
				obj := someObject(round*1000 + i)
				b.Stored(backend.Ref{Bucket: "buk", Key: obj.Key}, obj)
			}
			k.files(b, "f", 1)
			time.Sleep(time.Hour)
		}
		b.Close(t.Context())
		x := b.Load(t.Context(), k.store, dirD, "")
		if got := x.Len(); got > 1300 {
			t.Errorf("the index has %d entries, of which 1 is there", got)
		}
		k.want()
	})
}

func TestIndexesAreRememberedByVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newDesk(t)
		b := k.book()
		k.files(b, "f", 10)
		time.Sleep(time.Minute)
		b.Close(t.Context())
		b = k.book(func(o *Options) { o.ReadOnly = true })
		defer b.Close(t.Context())
		head, err := k.store.Head(t.Context(), Key("d/"))
		must(t, err)
		k.faulty.ResetCounts()
		for range 3 {
			if x := b.Load(t.Context(), k.faulty, dirD, head.ETag); x.Len() != 10 {
				t.Errorf("%d entries, want 10", x.Len())
			}
		}
		if got := k.faulty.Count(""); got != 1 {
			t.Errorf("%d requests, want 1", got)
		}
		if x := b.Load(t.Context(), k.faulty, backend.Ref{Bucket: "buk", Key: "none/"}, ""); x.Len() != 0 {
			t.Errorf("an index that is not there has %d entries", x.Len())
		}
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A vault archives all that it is given.
func TestAStoreOfArchivesGetsNoIndex(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newDesk(t)
		b := k.book(func(o *Options) {
			o.Open = func(context.Context, string) (backend.Store, error) { return vault{k.faulty}, nil }
		})
		defer b.Close(t.Context())
		for range 2 {
			k.files(b, "f", 10)
			time.Sleep(time.Hour)
		}
		if got := k.faulty.Count(backendtest.OpPut); got != 1 {
			t.Errorf("%d PUTs, want one to find out", got)
		}
		if _, err := k.store.Head(t.Context(), Key("d/")); !errors.Is(err, backend.ErrNotExist) {
			t.Errorf("it is still there: %v", err)
		}
	})
}

type vault struct{ backend.Store }

func (v vault) Put(ctx context.Context, key string, body *io.SectionReader, opts backend.PutOptions) (backend.Object, error) {
	obj, err := v.Store.Put(ctx, key, body, opts)
	obj.State = backend.Archived
	return obj, err
}
