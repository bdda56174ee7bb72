package writeback

import (
	"bytes"
	"fmt"

	"github.com/thawfs/thawfs/backend"
)

// An image is the state that the records of a journal add up to.
type image struct {
	entries map[backend.Ref]*entryRec
	unsafe  map[backend.Ref]bool // told behind the last Synced
	files   map[uint64]*fileRec  // of entries, as they were set last
	free    map[uint64]freeRec
	spoiled map[uint64]bool // sparse files that cannot be trusted
	uploads map[uint64]*uploadImage
	moves   map[uint64]*moveImage
	seq     uint64 // of the last line
	synced  uint64 // staged files of lines up to this one were on the disk
	boot    string
	lastID  uint64
}

type uploadImage struct {
	uploadRec
	parts map[int]partRec
}

type moveImage struct {
	moveRec
	copied map[string]bool
}

func newImage() *image {
	return &image{
		entries: map[backend.Ref]*entryRec{}, unsafe: map[backend.Ref]bool{}, files: map[uint64]*fileRec{}, free: map[uint64]freeRec{}, spoiled: map[uint64]bool{},
		uploads: map[uint64]*uploadImage{}, moves: map[uint64]*moveImage{},
	}
}

// A line of the journal that was read back.
type line struct {
	seq  uint64
	recs []record
}

// readLines parses a journal. Damaged lines are left out and described.
func readLines(data []byte) (lines []line, damage []string) {
	for n := 1; len(data) > 0; n++ {
		text, rest, whole := bytes.Cut(data, []byte{'\n'})
		data = rest
		seq, recs, err := parseLine(text)
		switch {
		case err != nil && !whole:
			damage = append(damage, fmt.Sprintf("line %d: the last write is incomplete", n))
		case err != nil:
			damage = append(damage, fmt.Sprintf("line %d: %v: %.80q", n, err, text))
		default:
			lines = append(lines, line{seq, recs})
		}
	}
	return lines, damage
}

// survey notes what holds for the lines as a whole.
func (m *image) survey(lines []line) {
	for _, l := range lines {
		m.seq = max(m.seq, l.seq)
		for _, r := range l.recs {
			m.synced = max(m.synced, r.Synced)
			if r.Above {
				m.synced = max(m.synced, l.seq)
			}
			if r.Boot != "" {
				m.boot = r.Boot
			}
		}
	}
}

// apply adds the records of one transaction.
func (m *image) apply(l line) {
	for _, r := range l.recs {
		switch {
		case r.Set != nil:
			m.set(r.Set, l.seq > m.synced)
		case r.Drop != nil:
			delete(m.entries, r.Drop.ref())
			delete(m.unsafe, r.Drop.ref())
		case r.Sparse != nil:
			if f := m.files[r.Sparse.ID]; f != nil && f.Sparse {
				f.change(r.Sparse)
			}
		case r.Free != nil:
			m.free[r.Free.ID] = *r.Free
			m.lastID = max(m.lastID, r.Free.ID)
		case r.Up != nil:
			m.up(*r.Up)
		case r.Part != nil:
			if u := m.uploads[r.Part.UID]; u != nil {
				u.parts[r.Part.Part.Number] = *r.Part
			}
		case r.UpEnd != 0:
			delete(m.uploads, r.UpEnd)
		case r.Move != nil:
			m.move(*r.Move)
		case r.Copied != nil:
			if mv := m.moves[r.Copied.ID]; mv != nil {
				for _, key := range r.Copied.Keys {
					mv.copied[key] = true
				}
			}
		case r.MoveEnd != 0:
			delete(m.moves, r.MoveEnd)
		}
	}
}

func (m *image) set(r *entryRec, unsafe bool) {
	m.entries[r.ref()] = r
	delete(m.unsafe, r.ref())
	if f := r.File; f != nil {
		delete(m.free, f.ID)
		m.files[f.ID] = f
		m.lastID = max(m.lastID, f.ID)
		if unsafe && !f.Held {
			m.unsafe[r.ref()] = true
		}
	}
}

// change brings what is known of a sparse file up to date.
func (r *fileRec) change(c *sparseRec) {
	set := ranges(r.Ranges)
	if c.Cut {
		set.cut(c.To)
		r.Size, r.BaseN = c.To, min(r.BaseN, c.To)
	} else {
		set.add(c.From, c.To)
		r.Size = max(r.Size, c.To)
	}
	r.Ranges = set
}

func (m *image) up(r uploadRec) {
	m.lastID = max(m.lastID, r.UID)
	u := m.uploads[r.UID]
	if u == nil {
		u = &uploadImage{parts: map[int]partRec{}}
		m.uploads[r.UID] = u
	}
	u.uploadRec = r
}

func (m *image) move(r moveRec) {
	m.lastID = max(m.lastID, r.ID)
	mv := m.moves[r.ID]
	if mv == nil {
		mv = &moveImage{copied: map[string]bool{}}
		m.moves[r.ID] = mv
	}
	mv.moveRec = r
}
