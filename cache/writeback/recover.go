package writeback

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// recover rebuilds the state from the journal and the staged files, sets aside what cannot
// be trusted, and begins a new journal.
func (q *Queue) recover() error {
	data, err := os.ReadFile(q.journalPath())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	lines, damage := readLines(data)
	for _, d := range damage {
		q.o.Log.Warn("journal is damaged", "err", d)
	}
	if len(damage) > 0 {
		q.keepDamaged(data)
	}
	m := newImage()
	m.survey(lines)
	// With the same kernel still running, the page cache has kept everything. Else lines
	// that were not synced may speak of staged files that are not all there.
	trusted := m.boot != "" && m.boot == bootID()
	for _, l := range lines {
		if !trusted && l.seq > m.synced && !q.intactLine(l) {
			m.spoil(l)
			continue
		}
		m.apply(l)
	}
	q.restore(m, trusted)
	if err := q.sortStaging(m); err != nil {
		return err
	}
	if q.j, err = openJournal(q.journalPath(), m.seq, q.tune.volatile, q.linesLocked()); err != nil {
		return err
	}
	q.compacted.Store(q.j.bytes())
	return nil
}

// keepDamaged saves a damaged journal for somebody to look at.
func (q *Queue) keepDamaged(data []byte) {
	path := filepath.Join(q.lostDir(), "journal-"+time.Now().UTC().Format("20060102T150405"))
	if err := os.WriteFile(path, data, 0o600); err != nil {
		q.o.Log.Warn("damaged journal is not kept", "err", err)
		return
	}
	q.o.Log.Warn("damaged journal is kept", "path", path)
}

// intactLine reports whether all content that a line speaks of is on the disk as it was
// when the line was written.
func (q *Queue) intactLine(l line) bool {
	for _, r := range l.recs {
		if r.Sparse != nil {
			return false // nothing says what it wrote
		}
		if r.Set == nil || r.Set.File == nil || r.Set.File.Held {
			continue
		}
		if err := q.intact(r.Set.File); err != nil {
			q.o.Log.Warn("change was not on the disk when power was lost", "key", r.Set.ref().String(), "err", err)
			return false
		}
	}
	return true
}

func (q *Queue) intact(r *fileRec) error {
	path := q.stagedPath(r.ID)
	info, err := os.Lstat(path)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file", path)
	case r.Sparse || r.CRC == nil:
		return errors.New("its content was never synced, and has no checksum")
	case info.Size() != r.Size:
		return fmt.Errorf("%s has %d bytes, not %d", path, info.Size(), r.Size)
	}
	crc, err := fileCRC(path, r.Size)
	if err == nil && crc != *r.CRC {
		err = backend.ErrCorrupt
	}
	return err
}

// fileCRC is the CRC64NVME of the first n bytes of a file.
func fileCRC(path string, n int64) (uint64, error) {
	fd, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer fd.Close() // read-only
	return crcOf(fd, n)
}

// restore makes entries, files, uploads and moves of m.
func (q *Queue) restore(m *image, trusted bool) {
	q.lastID = m.lastID
	for _, r := range m.entries {
		q.restoreEntry(m, r, trusted)
	}
	q.restoreUploads(m)
	q.restoreMoves(m)
}

func (q *Queue) restoreEntry(m *image, r *entryRec, trusted bool) {
	w := slices.Index([]string{"clean", "content", "attrs", "gone"}, r.Want)
	if w <= 0 || !backend.ValidKey(r.Key) || (want(w) == content && r.File == nil) || (want(w) == attrs && r.Base == nil) {
		q.o.Log.Warn("journal holds a record without sense", "key", r.ref().String(), "op", r.Want)
		return
	}
	b := base{tries: r.Tries, metas: r.Metas}
	if r.Base != nil {
		b.known, b.obj = true, r.Base.object()
	}
	var f *File
	if want(w) == content {
		if f = q.restoreFile(m, r, trusted); f == nil {
			return
		}
	}
	e := q.entryLocked(r.ref(), b)
	q.lastGen++
	e.want, e.attrs, e.gen = want(w), r.Attrs.attrs(), q.lastGen
	e.since, e.mod, e.conflict = time.Unix(0, r.Since), time.Unix(0, r.Mod), r.Conflict
	if f != nil {
		e.file, f.entry, f.linked = f, e, true
		f.attrs, f.gen, f.committed, f.journaled = e.attrs, e.gen, true, true
		q.files[f.id] = f
		q.recountLocked(f, f.stagedSize(f.mark))
		if m.unsafe[r.ref()] {
			q.unsynced[f] = struct{}{}
			kick(q.dirty)
		}
	}
	q.scheduleLocked(e, time.Time{})
}

// restoreFile makes the File of a record, nil if its content cannot be trusted. A file that
// is not there is kept as such: the store may have it (sendMissing).
func (q *Queue) restoreFile(m *image, r *entryRec, trusted bool) *File {
	f := q.newFile(r.ref())
	f.id, f.refs, f.opened = r.File.ID, 0, 0
	f.size, f.crc = r.File.Size, r.File.CRC
	if r.File.Held {
		f.inline = append(make([]byte, 0, len(r.File.Inline)), r.File.Inline...)
		f.mark = stamp{size: f.size}
		return f
	}
	path := q.stagedPath(f.id)
	info, err := os.Lstat(path)
	switch {
	case err != nil:
		q.o.Log.Warn("staged file is missing; the store is asked for it", "key", r.ref().String(), "err", err)
		f.mark.size = f.size
		return f
	case !info.Mode().IsRegular():
		q.o.Log.Error("staged file is no regular file", "key", r.ref().String())
		return nil
	case r.File.Sparse && m.spoiled[f.id]:
		q.setAsideSpoiled(r)
		return nil
	case r.File.Sparse:
		f.restoreSparse(r)
		return f
	}
	f.mark = stamp{size: info.Size(), mtime: info.ModTime().UnixNano()}
	if f.mark.size == r.File.Size && (f.mark.mtime == r.File.Mtime || r.File.CRC != nil && !trusted) {
		return f // the sender compares the checksum
	}
	if !q.restoreChanged(f, r, trusted, path) {
		return nil
	}
	return f
}

func (f *File) restoreSparse(r *entryRec) {
	s := &sparse{done: r.File.Ranges, size: r.File.Size, baseN: r.File.BaseN}
	if r.File.Base != nil {
		s.base = r.File.Base.object()
	}
	s.read = f.q.storeReader(r.Bucket, s.base)
	f.sparse, f.mark, f.crc = s, stamp{size: s.size}, nil
}

// restoreChanged deals with a file that somebody went on writing after its last Commit. When
// only the process died, what he wrote is all there and follows on the committed state. After
// a loss of power it may be there in part: then the committed state is restored by cutting
// off what was appended, or given up if that is not what happened.
func (q *Queue) restoreChanged(f *File, r *entryRec, trusted bool, path string) bool {
	if trusted {
		q.o.Log.Info("file was being changed when the process ended", "key", r.ref().String(), "n", f.mark.size)
		f.size, f.crc = f.mark.size, nil
		return true
	}
	err := q.cutBack(r.File, path)
	if err != nil {
		q.o.Log.Error("staged file was being changed when power was lost; it is kept in lost+found",
			"key", r.ref().String(), "path", path, "err", err)
		return false
	}
	info, err := os.Lstat(path)
	if err != nil {
		return false
	}
	f.mark = stamp{size: info.Size(), mtime: info.ModTime().UnixNano()}
	return true
}

func (q *Queue) cutBack(r *fileRec, path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if info.Size() < r.Size {
		return fmt.Errorf("%d of %d bytes are left", info.Size(), r.Size)
	}
	if r.CRC == nil {
		return errors.New("nothing tells whether it was changed in place")
	}
	crc, err := fileCRC(path, r.Size)
	if err != nil {
		return err
	}
	if crc != *r.CRC {
		return backend.ErrCorrupt
	}
	return os.Truncate(path, r.Size)
}

// sortStaging deletes the staged files that nothing needs and sets aside those that no
// record names.
func (q *Queue) sortStaging(m *image) error {
	names, err := os.ReadDir(q.stagingDir())
	if err != nil {
		return err
	}
	for _, d := range names {
		id, err := strconv.ParseUint(d.Name(), 16, 64)
		if err != nil || len(d.Name()) != 16 {
			q.setAside(d.Name())
			continue
		}
		q.lastID = max(q.lastID, id)
		if q.files[id] == nil {
			q.sortStray(m, id, d)
		}
	}
	return q.removeFetched()
}

func (q *Queue) sortStray(m *image, id uint64, d os.DirEntry) {
	info, err := d.Info()
	free, ok := m.free[id]
	spare := ok && err == nil && (free.Size < 0 || free.Size == info.Size() && free.Mtime == info.ModTime().UnixNano())
	if err == nil && info.Mode().IsRegular() && (spare || info.Size() == 0) {
		if err := os.Remove(q.stagedPath(id)); err != nil {
			q.o.Log.Warn("staged file is not removed", "err", err)
		}
		return
	}
	q.setAside(d.Name())
}

// setAside moves a staged file to lost+found.
func (q *Queue) setAside(name string) {
	to := filepath.Join(q.lostDir(), name)
	for n := 1; ; n++ {
		if _, err := os.Lstat(to); errors.Is(err, os.ErrNotExist) {
			break
		}
		to = filepath.Join(q.lostDir(), fmt.Sprintf("%s.%d", name, n))
	}
	if err := os.Rename(filepath.Join(q.stagingDir(), name), to); err != nil {
		q.o.Log.Warn("staged file is not set aside", "path", to, "err", err)
		return
	}
	q.o.Log.Warn("staged file that no record names is kept", "path", to)
}

// removeFetched deletes what fetch had not got to unlink.
func (q *Queue) removeFetched() error {
	names, err := os.ReadDir(q.o.Dir)
	for _, d := range names {
		if strings.HasPrefix(d.Name(), "fetch-") {
			err = errors.Join(err, os.Remove(filepath.Join(q.o.Dir, d.Name())))
		}
	}
	return err
}
