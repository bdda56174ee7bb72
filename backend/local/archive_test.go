package local_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/local"
)

func state(t *testing.T, st backend.Store, key string) backend.State {
	t.Helper()
	obj, err := st.Head(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return obj.State
}

func TestRestoreTakesItsTimeAndLapses(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		_, st := open(t, dir, local.Options{RestoreTime: 5 * time.Hour, NoSync: true})
		if _, err := st.Put(t.Context(), "k", reader("cold"), backend.PutOptions{Attrs: backend.Attrs{Class: "DEEP_ARCHIVE"}}); err != nil {
			t.Fatal(err)
		}
		is := func(want backend.State) {
			t.Helper()
			if got := state(t, st, "k"); got != want {
				t.Fatalf("state = %v, want %v", got, want)
			}
			content, err := get(st, "k")
			if want.Readable() && content != "cold" || !want.Readable() && !errors.Is(err, backend.ErrArchived) {
				t.Fatalf("Get in state %v = %q, %v", want, content, err)
			}
		}
		restore := func(keep time.Duration) {
			t.Helper()
			if err := st.(backend.Restorer).Restore(t.Context(), "k", backend.RestoreOptions{Keep: keep}); err != nil {
				t.Fatal(err)
			}
		}
		is(backend.Archived)
		restore(48 * time.Hour)
		is(backend.Restoring)
		time.Sleep(5*time.Hour - time.Second)
		is(backend.Restoring)
		restore(48 * time.Hour) // changes nothing
		time.Sleep(time.Second)
		is(backend.Restored)
		time.Sleep(47 * time.Hour)
		is(backend.Restored)
		restore(3 * time.Hour) // from now
		time.Sleep(2 * time.Hour)
		is(backend.Restored)
		time.Sleep(time.Hour)
		is(backend.Archived)
		restore(0)
		time.Sleep(5 * time.Hour)
		is(backend.Restored)
		obj, err := st.Head(t.Context(), "k")
		if left := time.Until(obj.Until); err != nil || left != 24*time.Hour {
			t.Errorf("without Keep the copy stays %v, %v, want a day", left, err)
		}
	})
}

func TestRestoreSurvivesTheProcess(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		_, st := open(t, dir, local.Options{RestoreTime: time.Hour, NoSync: true})
		if _, err := st.Put(t.Context(), "k", reader("cold"), backend.PutOptions{Attrs: backend.Attrs{Class: "GLACIER"}}); err != nil {
			t.Fatal(err)
		}
		if err := st.(backend.Restorer).Restore(t.Context(), "k", backend.RestoreOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Minute)
		_, st = open(t, dir, local.Options{NoSync: true})
		if got := state(t, st, "k"); got != backend.Restoring {
			t.Errorf("state after half the time = %v, want restoring", got)
		}
		time.Sleep(30 * time.Minute)
		if got := state(t, st, "k"); got != backend.Restored {
			t.Errorf("state after the time = %v, want restored", got)
		}
	})
}

func TestRestoreTimeIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		after := func(o local.Options, want time.Duration) {
			t.Helper()
			o.NoSync = true
			_, st := open(t, dir, o)
			if _, err := st.Put(t.Context(), "k", reader("cold"), backend.PutOptions{Attrs: backend.Attrs{Class: "GLACIER"}}); err != nil {
				t.Fatal(err)
			}
			if err := st.(backend.Restorer).Restore(t.Context(), "k", backend.RestoreOptions{}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(want - time.Millisecond)
			if got := state(t, st, "k"); got != backend.Restoring {
				t.Errorf("state just before %v = %v, want restoring", want, got)
			}
			time.Sleep(time.Millisecond)
			if got := state(t, st, "k"); got != backend.Restored {
				t.Errorf("state after %v = %v, want restored", want, got)
			}
		}
		after(local.Options{}, 15*time.Second)
		after(local.Options{RestoreTime: 3 * time.Hour}, 3*time.Hour)
		after(local.Options{}, 3*time.Hour)
		after(local.Options{RestoreTime: time.Second}, time.Second)
	})
}

func TestBucketClassIsTheDefaultAndRemembered(t *testing.T) {
	dir := t.TempDir()
	s, st := open(t, dir, local.Options{NoSync: true})
	for _, tt := range []struct{ bucket, asked, want string }{
		{"", "", "STANDARD"},
		{"GLACIER", "", "GLACIER"},
		{"GLACIER", "STANDARD", "STANDARD"},
		{"DEEP_ARCHIVE", "", "DEEP_ARCHIVE"},
		{"", "", "STANDARD"},
		{"", "GLACIER_IR", "GLACIER_IR"},
	} {
		if err := s.SetBucketClass("bucket", tt.bucket); err != nil {
			t.Fatal(err)
		}
		_, again := open(t, dir, local.Options{NoSync: true})
		for _, st := range []backend.Store{st, again} {
			obj, err := st.Put(t.Context(), "k", reader("x"), backend.PutOptions{Attrs: backend.Attrs{Class: tt.asked}})
			if err != nil || obj.Class != tt.want {
				t.Errorf("class %q in a bucket of %q = %q, %v, want %q", tt.asked, tt.bucket, obj.Class, err, tt.want)
			}
		}
	}
	if err := s.SetBucketClass("bucket", "FRIDGE"); !errors.Is(err, backend.ErrInvalid) {
		t.Errorf("SetBucketClass to an unknown class = %v, want ErrInvalid", err)
	}
	if err := s.SetBucketClass("absent", "GLACIER"); !errors.Is(err, backend.ErrNotExist) {
		t.Errorf("SetBucketClass of an absent bucket = %v, want ErrNotExist", err)
	}
}
