package local_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/backend/local"
)

// childDir is the environment variable that makes the test binary a process that changes
// the store in this directory until it is killed; childName makes its keys its own.
const (
	childDir  = "THAWFS_TEST_LOCAL_DIR"
	childName = "THAWFS_TEST_LOCAL_NAME"
)

func TestMain(m *testing.M) {
	dir, name := os.Getenv(childDir), os.Getenv(childName)
	if dir == "" {
		os.Exit(m.Run())
	}
	do := changeForever
	if name == "counter" {
		do = countUp
	}
	if err := do(dir, name); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// A change is number seq of a key. Number 0 is the absence of the key.
type change struct {
	key string
	seq int
}

// content is what key holds after its change number seq: inline, in a blob or in parts.
func content(key string, seq int) string {
	line := fmt.Sprintf("%s %d\n", key, seq)
	size := []int{0, 100, 20_000, 150_000}[seq%4]
	return line + strings.Repeat(line, size/len(line))
}

// changeForever lets several workers change keys and tells of each change before and after.
func changeForever(dir, name string) error {
	s, err := local.New(dir, local.Options{NoSync: true, Parts: backend.PartLimits{MinSize: 1}})
	if err != nil {
		return err
	}
	st, err := s.Open(context.Background(), "bucket")
	if err != nil {
		return err
	}
	errs := make(chan error)
	for w := range 4 {
		go func() {
			for seq := 1; ; seq++ {
				key := fmt.Sprintf("%s/%d/key%d", name, w, seq%3)
				if err := changeOnce(st.(powers), key, seq); err != nil {
					errs <- fmt.Errorf("change %d of %s: %w", seq, key, err)
				}
			}
		}()
	}
	return <-errs
}

type powers interface {
	backend.Store
	backend.Copier
	backend.PartUploader
}

func changeOnce(st powers, key string, seq int) error {
	ctx := context.Background()
	if seq%11 == 0 {
		fmt.Printf("begin %s 0\n", key)
		if err := st.Delete(ctx, key); err != nil {
			return err
		}
		_, err := fmt.Printf("done %s 0\n", key)
		return err
	}
	fmt.Printf("begin %s %d\n", key, seq)
	var err error
	switch rand.IntN(3) {
	case 0:
		err = assemble(st, key, content(key, seq))
	case 1:
		var src backend.Object
		if src, err = st.Put(ctx, key+".source", reader(content(key, seq)), backend.PutOptions{}); err == nil {
			_, err = st.Copy(ctx, src, key, backend.CopyOptions{})
		}
	default:
		_, err = st.Put(ctx, key, reader(content(key, seq)), backend.PutOptions{})
	}
	if err == nil {
		_, err = fmt.Printf("done %s %d\n", key, seq)
	}
	return err
}

func reader(s string) *io.SectionReader {
	return io.NewSectionReader(strings.NewReader(s), 0, int64(len(s)))
}

// assemble makes an object of three parts.
func assemble(st backend.PartUploader, key, content string) error {
	ctx := context.Background()
	up, err := st.NewUpload(ctx, key, backend.PutOptions{})
	if err != nil {
		return err
	}
	var parts []backend.Part
	for i, piece := range []string{content[:1], content[1 : len(content)/2], content[len(content)/2:]} {
		p, err := st.UploadPart(ctx, up, i+1, reader(piece), sum(piece))
		if err != nil {
			return err
		}
		parts = append(parts, p)
	}
	_, err = st.Complete(ctx, up, parts, backend.PutOptions{})
	return err
}

// A child is a process that changes the store.
type child struct {
	cmd *exec.Cmd
	out *bufio.Scanner
	err strings.Builder

	done  map[string]int          // last confirmed change by key
	begun map[string]map[int]bool // changes that may have happened since, by key
}

func startChild(t *testing.T, dir, name string) *child {
	c := &child{done: map[string]int{}, begun: map[string]map[int]bool{}}
	c.cmd = exec.Command(os.Args[0])
	c.cmd.Env = append(os.Environ(), childDir+"="+dir, childName+"="+name)
	c.cmd.Stderr = &c.err
	out, err := c.cmd.StdoutPipe()
	if err == nil {
		err = c.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	c.out = bufio.NewScanner(out)
	return c
}

// follow reads n lines, or all that are left if n is negative.
func (c *child) follow(t *testing.T, n int) {
	for ; n != 0 && c.out.Scan(); n-- {
		var what string
		var ch change
		if _, err := fmt.Sscan(c.out.Text(), &what, &ch.key, &ch.seq); err != nil {
			continue // the last line may be cut
		}
		if what == "begin" {
			if c.begun[ch.key] == nil {
				c.begun[ch.key] = map[int]bool{}
			}
			c.begun[ch.key][ch.seq] = true
			continue
		}
		c.done[ch.key] = ch.seq
		delete(c.begun, ch.key)
	}
	if n > 0 {
		t.Errorf("the child ended by itself: %s", c.err.String())
	}
}

// kill ends the process at once and reads what it had to say.
func (c *child) kill(t *testing.T) {
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	c.follow(t, -1)
	_ = c.cmd.Wait() // it was killed
}

// verify holds the store against what the dead child said.
func (c *child) verify(t *testing.T, st backend.Store) {
	t.Helper()
	keys := map[string]bool{}
	for key := range c.done {
		keys[key] = true
	}
	for key := range c.begun {
		keys[key] = true
	}
	for key := range keys {
		got, err := get(st, key)
		if err != nil && !errors.Is(err, backend.ErrNotExist) {
			t.Errorf("%s: %v", key, err)
			continue
		}
		may := map[int]bool{c.done[key]: true}
		for seq := range c.begun[key] {
			may[seq] = true
		}
		ok := false
		for seq := range may {
			ok = ok || seq == 0 && err != nil || seq != 0 && err == nil && got == content(key, seq)
		}
		if !ok {
			t.Errorf("%s holds %.40q (%d bytes, %v), want one of the changes %v", key, got, len(got), err, may)
		}
	}
}

func get(st backend.Store, key string) (string, error) {
	r, err := st.Get(context.Background(), key, "", 0, -1)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(r)
	return string(b), errors.Join(err, r.Close())
}

// raises is how often each process raises the counter.
const raises = 60

// countUp raises the counter that is the object of this key.
func countUp(dir, key string) error {
	s, err := local.New(dir, local.Options{NoSync: true})
	if err != nil {
		return err
	}
	ctx := context.Background()
	st, err := s.Open(ctx, "bucket")
	if err != nil {
		return err
	}
	for done := 0; done < raises; {
		obj, err := st.Head(ctx, key)
		if err != nil {
			return err
		}
		r, err := st.Get(ctx, key, obj.ETag, 0, -1)
		if errors.Is(err, backend.ErrChanged) {
			continue
		}
		if err != nil {
			return err
		}
		var n int
		if _, err := fmt.Fscan(r, &n); err != nil {
			return err
		}
		_ = r.Close() // read-only: nothing to lose
		_, err = st.Put(ctx, key, reader(fmt.Sprint(n+1)), backend.PutOptions{Cond: backend.Cond{IfMatch: obj.ETag}})
		if err == nil {
			done++
		} else if !errors.Is(err, backend.ErrChanged) {
			return err
		}
	}
	return nil
}
