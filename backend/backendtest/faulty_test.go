package backendtest

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thawfs/thawfs/backend"
)

func newFaulty(t *testing.T) *Faulty {
	svc := NewFaultyService(newLocal(t))
	if err := svc.CreateBucket(t.Context(), "bucket"); err != nil {
		t.Fatal(err)
	}
	if _, err := svc.Open(t.Context(), "bucket"); err != nil {
		t.Fatal(err)
	}
	return svc.Bucket("bucket")
}

func TestFaultyKeepsTheContract(t *testing.T) {
	Run(t, func(t *testing.T) backend.Service { return NewFaultyService(newLocal(t)) })
}

func TestFaultFailsTheCallsItIsFor(t *testing.T) {
	f := newFaulty(t)
	f.Inject(Fault{Op: OpPut, Key: "k", Skip: 1, Times: 2, Err: backend.ErrPermission})
	put := func(key string) error {
		_, err := f.Put(t.Context(), key, body([]byte("x")), backend.PutOptions{})
		return err
	}
	for i, want := range []error{nil, backend.ErrPermission, backend.ErrPermission, nil} {
		if err := put("other"); err != nil {
			t.Errorf("Put of another key = %v, want success", err)
		}
		if _, err := f.Head(t.Context(), "other"); err != nil {
			t.Errorf("Head = %v, want success", err)
		}
		err := put("k")
		if !errors.Is(err, want) {
			t.Errorf("Put number %d = %v, want %v", i, err, want)
		}
		var e *backend.Error
		if want != nil && (!errors.As(err, &e) || e.Key != "k" || e.Op != "put") {
			t.Errorf("Put number %d = %#v, want a *backend.Error", i, err)
		}
	}
	if puts, all := f.Count(OpPut), f.Count(""); puts != 8 || all != 12 {
		t.Errorf("counted %d puts of %d calls, want 8 of 12", puts, all)
	}
}

func TestLateFaultHidesWhatWasDone(t *testing.T) {
	f := newFaulty(t)
	f.Inject(Fault{Op: OpPut, Late: true})
	if _, err := f.Put(t.Context(), "k", body([]byte("x")), backend.PutOptions{}); !errors.Is(err, backend.ErrUnavailable) {
		t.Errorf("Put = %v, want ErrUnavailable", err)
	}
	if _, err := f.Head(t.Context(), "k"); err != nil {
		t.Errorf("Head after a lost answer = %v, want success", err)
	}
}

func TestCutBreaksBodiesAndListings(t *testing.T) {
	f := newFaulty(t)
	for _, key := range []string{"a", "b", "c"} {
		if _, err := f.Put(t.Context(), key, body([]byte("thawed")), backend.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		cut  int64
		want string
	}{{2, "th"}, {5, "thawe"}, {-1, ""}} {
		f.ResetCounts()
		f.Inject(Fault{Op: OpGet, Cut: tt.cut})
		r, err := f.Get(t.Context(), "a", "", 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if string(got) != tt.want || !errors.Is(err, backend.ErrUnavailable) || f.BytesRead() != int64(len(got)) {
			t.Errorf("cut at %d: read %q, %v, counted %d bytes", tt.cut, got, err, f.BytesRead())
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	f.Inject(Fault{Op: OpList, Cut: 2})
	var got []string
	for e, err := range f.List(t.Context(), "", "", backend.ListOptions{}) {
		if err != nil {
			got = append(got, "broken")
			continue
		}
		got = append(got, e.Key)
	}
	if s := strings.Join(got, " "); s != "a b broken" {
		t.Errorf("a listing cut at 2 yields %q", s)
	}
}

func TestDelayAndHoldObeyTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFaulty(t)
		begin := time.Now()
		f.Inject(Fault{Op: OpHead, Delay: time.Hour})
		if _, err := f.Head(t.Context(), "k"); !errors.Is(err, backend.ErrNotExist) || time.Since(begin) != time.Hour {
			t.Errorf("delayed Head = %v after %v, want ErrNotExist after an hour", err, time.Since(begin))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		f.Inject(Fault{Op: OpHead, Hold: make(chan struct{})})
		if _, err := f.Head(ctx, "k"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("held Head = %v, want context.DeadlineExceeded", err)
		}
	})
}

func TestPeakCountsOpenBodies(t *testing.T) {
	f := newFaulty(t)
	if _, err := f.Put(t.Context(), "k", body([]byte("x")), backend.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	var open []io.Closer
	for range 3 {
		r, err := f.Get(t.Context(), "k", "", 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, r)
	}
	for _, r := range open {
		_ = r.Close()
	}
	if _, err := f.Get(t.Context(), "absent", "", 0, -1); err == nil {
		t.Error("Get of an absent key succeeded")
	}
	if n := f.Peak(OpGet); n != 3 {
		t.Errorf("Peak = %d, want 3", n)
	}
}

func TestPlainHidesPowers(t *testing.T) {
	if _, ok := Plain(newFaulty(t)).(backend.Copier); ok {
		t.Error("a plain store is a Copier")
	}
}
