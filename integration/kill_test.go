package integration

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/cache/attrindex"
	"github.com/thawfs/thawfs/integration/faultproxy"
	"github.com/thawfs/thawfs/integration/servers"
)

// A killing is a campaign against one mount: workers change files, the process is killed at
// random moments and mounted anew, and what was acknowledged is compared with what is there.
// The record of that is here, outside of the mount.
type killing struct {
	t       *testing.T
	v       *victim
	store   backend.Store
	workers []*killWorker
	killing atomic.Bool // errors are no news
	kills   []time.Time
	rnd     *rand.Rand
	calm    func() // returns when the server has done what the dead process had asked for
}

func newKilling(t *testing.T, o order, store backend.Store) *killing {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	o.Dir, o.Cache, o.Delay = t.TempDir(), t.TempDir(), 20*time.Millisecond
	for i := range 3 { // a path that is looked up when the mount is gone leads nowhere
		must(t, os.WriteFile(fmt.Sprintf("%s/w%d", o.Dir, i), nil, 0o600))
	}
	k := &killing{t: t, v: &victim{t: t, o: o}, store: store, rnd: rand.New(rand.NewPCG(seed, 0)), calm: func() {}}
	for i := range 3 {
		k.workers = append(k.workers, newKillWorker(k, i, rand.New(rand.NewPCG(seed, uint64(i+1)))))
	}
	return k
}

// round mounts, looks at what the last kill interrupted, works, and kills.
func (k *killing) round() {
	k.t.Helper()
	k.v.start()
	k.killing.Store(false)
	var wg sync.WaitGroup
	k.settle()
	if k.t.Failed() {
		k.v.kill()
		k.t.FailNow()
	}
	for _, w := range k.workers {
		wg.Go(w.work)
	}
	time.Sleep(time.Duration(k.rnd.IntN(700)) * time.Millisecond) // the moment
	k.killing.Store(true)
	k.kills = append(k.kills, time.Now())
	k.v.kill()
	wg.Wait()
	k.calm()
	if k.t.Failed() {
		k.t.FailNow()
	}
}

// settle looks at what the last kill interrupted. A rename is finished by the new process in
// the background: until then the old name is there.
func (k *killing) settle() {
	k.t.Helper()
	for _, w := range k.workers {
		if w.doubt != nil && w.doubt.verb == "rename" {
			k.v.say("drain")
			break
		}
	}
	for _, w := range k.workers {
		w.settle()
	}
}

// end drains and holds the store against the record.
func (k *killing) end() {
	k.t.Helper()
	k.v.start()
	k.killing.Store(false)
	k.settle()
	k.v.say("drain")
	k.v.kill()
	want, ops := map[string]killFile{}, 0
	for _, w := range k.workers {
		ops += w.done
		for key, f := range w.files {
			want[key] = f
		}
	}
	for e, err := range k.store.List(k.t.Context(), "", "", backend.ListOptions{}) {
		must(k.t, err)
		if attrindex.IsKey(e.Key) { // what the mount keeps there for itself
			continue
		}
		f, ok := want[e.Key]
		delete(want, e.Key)
		switch got := k.object(e.Key); {
		case ok && got == f, strings.HasSuffix(e.Key, "/") && got.data == "":
		case !ok:
			k.t.Errorf("the store has %q, %d bytes, which should not be there", e.Key, e.Size)
		default:
			k.t.Errorf("the store's %q: %s", e.Key, got.differs(f))
		}
	}
	for key := range want {
		k.t.Errorf("the store lost %q", key)
	}
	for up, err := range k.store.(backend.PartUploader).Uploads(k.t.Context(), "") {
		k.t.Errorf("an upload is left over: %v, %v", up, err)
	}
	k.t.Logf("%d kills, %d acknowledged operations, %d files in the end", len(k.kills), ops, len(k.workers[0].files)+len(k.workers[1].files)+len(k.workers[2].files))
}

func (k *killing) object(key string) killFile {
	k.t.Helper()
	obj, err := k.store.Head(k.t.Context(), key)
	must(k.t, err)
	data, err := fetch(k.t.Context(), k.store, key)
	must(k.t, err)
	return killFile{data, modeOf(obj)}
}

// sentTwice counts parts that were sent again after the store had confirmed them, but for
// those that were under way at a kill.
func (k *killing) sentTwice(seen []faultproxy.Seen) (parts, twice int) {
	first := map[string]time.Time{}
	for _, s := range seen {
		if s.Method != "PUT" || !s.Query.Has("uploadId") || s.Status != 200 {
			continue
		}
		parts++
		id := s.Query.Get("uploadId") + " " + s.Query.Get("partNumber") + " " + s.Sum
		at, again := first[id]
		if !again {
			first[id] = s.At
		} else if !k.killedAt(at) {
			twice++
		}
	}
	return parts, twice
}

// killedAt reports whether there was a kill at a time or so soon after it that the journal
// need not have known.
func (k *killing) killedAt(at time.Time) bool {
	for _, kill := range k.kills {
		if d := kill.Sub(at); d.Abs() < 2*time.Second {
			return true
		}
	}
	return false
}

// rounds is the number of kills of a campaign.
func rounds(short, long int) int {
	if testing.Short() {
		return short
	}
	return long
}

// TestKillOverS3 kills a mount of a real S3 server under load. Nothing that was acknowledged is
// lost, nothing is corrupt, and no part is sent again. The server is versitygw: MinIO goes on
// listing some objects that were deleted just after they were written as directories.
func TestKillOverS3(t *testing.T) {
	t.Parallel()
	p := faultproxy.New(t, servers.VersityGW(t))
	svc := openS3(t, servers.VersityGW(t))
	const bucket = "kill"
	must(t, svc.CreateBucket(t.Context(), bucket))
	store, err := svc.Open(t.Context(), bucket)
	must(t, err)
	k := newKilling(t, order{At: p.S3, Bucket: bucket}, store)
	k.calm = p.Calm
	for range rounds(4, 300) {
		k.round()
	}
	k.end()
	parts, twice := k.sentTwice(p.Seen())
	t.Logf("%d requests, %d parts, %d of them sent again", len(p.Seen()), parts, twice)
	if twice > 0 {
		t.Errorf("%d of %d parts were sent again", twice, parts)
	}
}

// TestKillOverLocal does the same over a store in a directory.
func TestKillOverLocal(t *testing.T) {
	t.Parallel()
	o := order{Local: t.TempDir(), Bucket: "kill"}
	svc := o.open(t)
	must(t, svc.CreateBucket(t.Context(), o.Bucket))
	store, err := svc.Open(t.Context(), o.Bucket)
	must(t, err)
	k := newKilling(t, o, store)
	for range rounds(4, 250) {
		k.round()
	}
	k.end()
}

func fetch(ctx context.Context, store backend.Store, key string) (string, error) {
	body, err := store.Get(ctx, key, "", 0, -1)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	if _, err = io.Copy(&b, body); err != nil {
		return "", err
	}
	return b.String(), body.Close()
}
