package writeback

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/backendtest"
	"github.com/thawfs/thawfs/backend/local"
)

const killEnv = "WRITEBACK_KILL_TEST" // DIR ROUND WB: the test binary is a process to be killed

func TestMain(m *testing.M) {
	if args := os.Getenv(killEnv); args != "" {
		var dir, wb string
		var round int
		if _, err := fmt.Sscan(args, &dir, &round, &wb); err != nil {
			panic(err)
		}
		killedProcess(dir, round, wb)
	}
	os.Exit(m.Run())
}

// killStore is the store, which survives: a directory.
func killStore(dir string) backend.Store {
	svc, err := local.New(filepath.Join(dir, "store"), local.Options{NoSync: true, Parts: backend.PartLimits{MinSize: 1 << 10}})
	if err != nil {
		panic(err)
	}
	_ = svc.CreateBucket(context.Background(), "bucket") // it may be there
	store, err := svc.Open(context.Background(), "bucket")
	if err != nil {
		panic(err)
	}
	return store
}

// killQueue opens the queue in the directory wb. One that is to lose power syncs.
func killQueue(wb string, volatile bool, store backend.Store, log io.Writer) *Queue {
	t := testTuning()
	t.volatile = volatile
	t.crcMax, t.buffered, t.wholeMax, t.partSize, t.poll, t.inline = 8<<10, 8<<10, 32<<10, 16<<10, time.Millisecond, 100
	q, err := newQueue(Options{
		Dir: wb, Delay: 10 * time.Millisecond,
		Log:  slog.New(slog.NewTextHandler(log, nil)),
		Open: func(context.Context, string) (backend.Store, error) { return store, nil },
	}, t)
	if err != nil {
		panic(err)
	}
	return q
}

// killedProcess works until it is killed. What it was told to do is logged before, and again
// when it is acknowledged.
func killedProcess(dir string, round int, wb string) {
	faulty := backendtest.NewFaulty(killStore(dir))
	q := killQueue(wb, strings.HasPrefix(wb, dir), faulty, io.Discard)
	acks, err := os.OpenFile(filepath.Join(dir, "acks"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		panic(err)
	}
	q.Start()
	fmt.Println("ready")
	var wg sync.WaitGroup
	for i := range 4 {
		w := &killWorker{q: q, store: faulty, dir: dir, name: fmt.Sprintf("r%dw%d/", round, i), acks: acks, model: map[string]killFile{}, rnd: rand.New(rand.NewPCG(uint64(round), uint64(i)))}
		wg.Go(w.work)
	}
	monitor := &killWorker{q: q, acks: acks}
	wg.Go(monitor.watchSyncs)
	for {
		time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond)
		faulty.Inject(backendtest.Fault{Late: rand.IntN(2) == 0})
	}
}

type killFile struct{ Data, Attr string }

// killOp is what a worker does, and enough to do it to a model.
type killOp struct {
	Worker  string
	ID      int
	Op      string
	Key, To string
	Data    string `json:",omitempty"` // seed and size say all
	Seed    byte
	N       int
	Attr    string
	Acked   bool
	Seq     uint64 // of the journal's last line
	sync    bool
}

func (o killOp) text() string { return text(o.Seed, o.N) }

// apply does o to a model.
func (o killOp) apply(m map[string]killFile) {
	switch o.Op {
	case "write", "put":
		m[o.Key] = killFile{o.text(), o.Attr}
	case "append":
		m[o.Key] = killFile{m[o.Key].Data + o.text(), o.Attr}
	case "patch":
		old := m[o.Key].Data
		m[o.Key] = killFile{"PATCH" + old[5:], o.Attr}
	case "attrs":
		m[o.Key] = killFile{m[o.Key].Data, o.Attr}
	case "delete":
		delete(m, o.Key)
	case "rename":
		m[o.To] = m[o.Key]
		delete(m, o.Key)
	case "tree":
		for key, f := range maps.Clone(m) {
			if rest, ok := strings.CutPrefix(key, o.Key); ok {
				delete(m, key)
				m[o.To+rest] = f
			}
		}
	}
}

type killWorker struct {
	q     *Queue
	store backend.Store
	dir   string
	name  string
	acks  *os.File
	model map[string]killFile
	rnd   *rand.Rand
	id    int
}

func (w *killWorker) work() {
	for {
		o := w.choose()
		w.log(o)
		w.do(o)
		o.apply(w.model)
		o.Acked = true
		w.log(o)
	}
}

// watchSyncs tells how far the group commit has come.
func (w *killWorker) watchSyncs() {
	for last := uint64(0); ; time.Sleep(20 * time.Millisecond) {
		w.q.syncing <- struct{}{}
		synced := w.q.synced
		<-w.q.syncing
		if synced > last {
			last = synced
			w.tell(killOp{Op: "synced", Seq: synced})
		}
	}
}

func (w *killWorker) log(o killOp) {
	o.Seq = w.q.j.last()
	w.tell(o)
}

func (w *killWorker) tell(o killOp) {
	line, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	if _, err := w.acks.Write(append(line, '\n')); err != nil {
		panic(err)
	}
}

func (w *killWorker) choose() killOp {
	w.id++
	key := func() string { return fmt.Sprintf("%sd%d/k%d", w.name, w.rnd.IntN(2), w.rnd.IntN(5)) }
	o := killOp{Worker: w.name, ID: w.id, Op: "write", Key: key(), Seed: byte(w.rnd.Int()), N: w.rnd.IntN(2000), Attr: fmt.Sprint(w.id), sync: w.rnd.IntN(8) == 0}
	if w.rnd.IntN(5) == 0 {
		o.N = 30<<10 + w.rnd.IntN(200<<10)
	}
	if len(w.model) == 0 {
		return o
	}
	keys := slices.Sorted(maps.Keys(w.model))
	some := keys[w.rnd.IntN(len(keys))]
	switch n := w.rnd.IntN(20); {
	case n < 6:
	case n < 8:
		o.Op, o.N = "put", w.rnd.IntN(300)
	case n < 11:
		o.Op, o.Key = "append", some
	case n < 13:
		if len(w.model[some].Data) > 5 {
			o.Op, o.Key = "patch", some
		}
	case n < 15:
		o.Op, o.Key = "attrs", some
	case n < 17:
		o.Op, o.Key = "delete", some
	case n < 19:
		if to := key(); to != some {
			o.Op, o.Key, o.To = "rename", some, to
		}
	default:
		from, to := w.name+"d0/", w.name+"d1/"
		if w.rnd.IntN(2) == 0 {
			from, to = to, from
		}
		for _, k := range keys {
			if strings.HasPrefix(k, to) {
				return o
			}
		}
		o.Op, o.Key, o.To = "tree", from, to
	}
	return o
}

// head is what a file system would know of key, from the queue or the store.
func (w *killWorker) head(key string) backend.Object {
	for {
		if p, ok := w.q.Find(ref(key)); ok {
			return p.Object
		}
		obj, err := w.store.Head(context.Background(), key)
		if err == nil || strings.Contains(err.Error(), backend.ErrNotExist.Error()) {
			if _, ok := w.q.Find(ref(key)); !ok {
				return obj
			}
		}
	}
}

func (w *killWorker) do(o killOp) {
	ctx := context.Background()
	var err error
	switch o.Op {
	case "put":
		err = w.q.Put(ref(o.Key), []byte(o.text()), attrsOf(o.Attr), w.head(o.Key))
	case "attrs":
		err = w.q.SetAttrs(ref(o.Key), w.head(o.Key), attrsOf(o.Attr))
	case "delete":
		err = w.q.Delete(ref(o.Key), w.head(o.Key))
	case "rename":
		err = w.q.Rename(ctx, ref(o.Key), ref(o.To), w.head(o.Key))
	case "tree":
		err = w.q.RenameTree(ctx, "b", o.Key, o.To)
	default:
		err = w.write(ctx, o)
	}
	if err != nil {
		panic(fmt.Sprintf("%+v: %v", o, err))
	}
}

func (w *killWorker) write(ctx context.Context, o killOp) error {
	base := w.head(o.Key)
	opts := OpenOptions{Base: base, Truncate: o.Op == "write", Attrs: attrsOf("open")}
	if o.Op != "write" && base.ETag != "" {
		opts.ReadBase = w.q.storeReader("b", base)
		if o.ID%2 == 0 {
			opts.Path = w.fetched(base)
		}
	}
	f, err := w.q.OpenFile(ref(o.Key), opts)
	if err != nil {
		return err
	}
	data, off := o.text(), int64(0)
	switch o.Op {
	case "append":
		off = int64(len(w.model[o.Key].Data))
	case "patch":
		data = "PATCH"
	}
	for step := 8 << 10; len(data) > 0; {
		n := min(step, len(data))
		if _, err := f.WriteAt([]byte(data[:n]), off); err != nil {
			return err
		}
		data, off = data[n:], off+int64(n)
	}
	if err := f.Commit(attrsOf(o.Attr)); err != nil {
		return err
	}
	if o.sync {
		if err := f.Sync(ctx); err != nil {
			return err
		}
	}
	return f.Close()
}

// fetched is a local copy of base, empty if that is not to be had: it changes under a
// chmod that is being sent.
func (w *killWorker) fetched(base backend.Object) string {
	body, err := w.store.Get(context.Background(), base.Key, base.ETag, 0, -1)
	if err != nil {
		return ""
	}
	defer body.Close()
	file, err := os.CreateTemp(filepath.Dir(w.q.o.Dir), "fetched") // on the same disk
	if err != nil {
		panic(err)
	}
	defer file.Close()
	if n, err := io.Copy(file, body); err != nil || n != base.Size {
		return ""
	}
	return file.Name()
}

// TestNothingIsLostByKill9 kills a process under load again and again. In the end the store
// holds what each worker was told last, and at most what it was doing just then.
func TestNothingIsLostByKill9(t *testing.T) {
	dir := t.TempDir()
	rounds := 100
	if testing.Short() {
		rounds = 6
	}
	for round := range rounds {
		killOnce(t, dir, round, time.Duration(20+rand.IntN(500))*time.Millisecond)
	}
	store := killStore(dir)
	q := killQueue(filepath.Join(dir, "wb"), true, store, testLog{t})
	q.Start()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := q.Drain(ctx); err != nil {
		t.Fatalf("Drain: %v", err)
	}
	if err := q.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
	compareAcks(t, dir, store)
	for up, err := range store.(backend.PartUploader).Uploads(ctx, "") {
		t.Errorf("upload left in the store: %v, %v", up, err)
	}
	if left, err := os.ReadDir(q.stagingDir()); err != nil || len(left) > 0 {
		t.Errorf("left in staging: %v, %v", left, err)
	}
}

func killCommand(dir string, round int, wb string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %s", killEnv, dir, round, wb))
	return cmd
}

func killOnce(t *testing.T, dir string, round int, after time.Duration) {
	t.Helper()
	cmd := killCommand(dir, round, filepath.Join(dir, "wb"))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := bufio.NewScanner(out).Scan()
	time.Sleep(after)
	if err := cmd.Process.Kill(); err != nil {
		t.Errorf("round %d: it ended by itself: %v", round, err)
	}
	_ = cmd.Wait() // killed
	if !ready || stderr.Len() > 0 {
		t.Fatalf("round %d: %s", round, stderr.String())
	}
}

func compareAcks(t *testing.T, dir string, store backend.Store) {
	t.Helper()
	got := map[string]map[string]killFile{} // by worker
	for e, err := range store.List(t.Context(), "", "", backend.ListOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		obj, err := store.Head(t.Context(), e.Key)
		if err != nil {
			t.Fatal(err)
		}
		body, err := store.Get(t.Context(), e.Key, "", 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(body)
		_ = body.Close() // read to the end
		if err != nil {
			t.Fatal(err)
		}
		worker := e.Key[:strings.Index(e.Key, "/")+1]
		if got[worker] == nil {
			got[worker] = map[string]killFile{}
		}
		got[worker][e.Key] = killFile{string(data), obj.Meta["mtime"]}
	}
	acked, last := readAcks(t, dir)
	ops := 0
	for worker, model := range acked {
		o, doing := last[worker]
		ops += o.ID
		if !acceptable(got[worker], model, o, doing) {
			t.Errorf("%s: while doing %+v (%v)\n%s%s", worker, o, doing, difference(got[worker], model), history(t, dir, worker))
		}
	}
	t.Logf("%d operations", ops)
}

// readAcks replays the acknowledged operations, and tells the last one of each worker, and
// whether it was not acknowledged.
func readAcks(t *testing.T, dir string) (map[string]map[string]killFile, map[string]killOp) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "acks"))
	if err != nil {
		t.Fatal(err)
	}
	acked := map[string]map[string]killFile{}
	last := map[string]killOp{}
	for line := range strings.Lines(string(data)) {
		var o killOp
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatal(err)
		}
		if o.Op == "synced" {
			continue
		}
		if acked[o.Worker] == nil {
			acked[o.Worker] = map[string]killFile{}
		}
		if o.Acked {
			o.apply(acked[o.Worker])
		}
		last[o.Worker] = o
	}
	return acked, last
}

// acceptable reports whether got is the model, or what o can have made of it before it was
// acknowledged.
func acceptable(got, model map[string]killFile, o killOp, _ bool) bool {
	if maps.Equal(got, model) {
		return true
	}
	if o.Acked {
		return false
	}
	after := maps.Clone(model)
	o.apply(after)
	if maps.Equal(got, after) {
		return true
	}
	if o.Op != "write" && o.Op != "append" && o.Op != "patch" {
		return false
	}
	// Content that was being changed in place is as far as it had come.
	f := got[o.Key]
	partly := strings.HasPrefix(after[o.Key].Data, f.Data) && (o.Op == "write" || len(f.Data) >= len(model[o.Key].Data)) ||
		o.Op == "patch" && f.Data == after[o.Key].Data
	got, after = maps.Clone(got), maps.Clone(after)
	delete(got, o.Key)
	delete(after, o.Key)
	return partly && maps.Equal(got, after)
}

// history is what a worker did last.
func history(t *testing.T, dir, worker string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "acks"))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(data)) {
		if strings.Contains(line, fmt.Sprintf("%q", worker)) {
			lines = append(lines, "    "+line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-40):], "")
}

func difference(got, want map[string]killFile) string {
	var b strings.Builder
	for key, f := range want {
		if g, ok := got[key]; !ok {
			fmt.Fprintf(&b, "  %s is missing: %s\n", key, f.brief())
		} else if g != f {
			fmt.Fprintf(&b, "  %s is %s, want %s\n", key, g.brief(), f.brief())
		}
	}
	for key, g := range got {
		if _, ok := want[key]; !ok {
			fmt.Fprintf(&b, "  %s is there: %s\n", key, g.brief())
		}
	}
	return b.String()
}

func (f killFile) brief() string {
	return fmt.Sprintf("%d bytes %.10q, attr %s", len(f.Data), f.Data, f.Attr)
}
