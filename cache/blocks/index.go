package blocks

import (
	"encoding/binary"
	"errors"
)

// The index is a log of block states in records of equal size, the last one of a block
// counting. It is never fsynced: after a loss of power it may know blocks whose bytes were
// lost, which their checksums tell, or not know files, which are found and removed.
const (
	indexName   = "index"
	indexHeader = "thawfs blocks 1\n"
	recordSize  = 16 + 8 + 8 + 8 + 4 + 4 + 4*blockGranules + 4 // bytes
	indexSlack  = 1024 * recordSize                            // bytes of growth for which it is not written anew
)

// Special values of record.index. No object has that many blocks.
const (
	indexGone  = 1<<32 - 1 // the version has left
	indexClean = 1<<32 - 2 // last record: every file in data is known, nothing else is there
)

// A record is one line of the log.
type record struct {
	source
	gen   uint64
	index uint32
	valid uint8
	hot   bool
	crc   [blockGranules]uint32
}

func (r *record) append(b []byte) []byte {
	le, from := binary.LittleEndian, len(b)
	b = append(b, r.id[:]...)
	b = le.AppendUint64(b, r.ref)
	b = le.AppendUint64(b, r.gen)
	b = le.AppendUint64(b, uint64(r.size))
	b = le.AppendUint32(b, r.index)
	flags := uint32(r.valid)
	if r.hot {
		flags |= 1 << 8
	}
	b = le.AppendUint32(b, flags)
	for _, c := range r.crc {
		b = le.AppendUint32(b, c)
	}
	return le.AppendUint32(b, checksum(b[from:]))
}

// parseRecord reports false for a record that was not written whole.
func parseRecord(b []byte) (r record, ok bool) {
	le := binary.LittleEndian
	if le.Uint32(b[recordSize-4:]) != checksum(b[:recordSize-4]) {
		return r, false
	}
	copy(r.id[:], b)
	r.ref, r.gen, r.size = le.Uint64(b[16:]), le.Uint64(b[24:]), int64(le.Uint64(b[32:]))
	r.index = le.Uint32(b[40:])
	flags := le.Uint32(b[44:])
	r.valid, r.hot = uint8(flags), flags&(1<<8) != 0
	for i := range r.crc {
		r.crc[i] = le.Uint32(b[48+4*i:])
	}
	return r, true
}

// recordLocked notes the state of a block; one that is not there any more has no granules.
func (d *disk) recordLocked(v *version, index uint32) {
	d.journal.add(v.record(index, d.policy))
}

func (v *version) record(index uint32, p *policy) record {
	r := record{source: v.source, gen: v.gen, index: index}
	if b := v.blocks[index]; b != nil {
		r.valid, r.crc = b.valid&b.summed, b.crc
		r.hot = b.hot || p.frequent.Contains(v.key(index))
	}
	return r
}

func (d *disk) recordGoneLocked(v *version) {
	d.journal.add(record{source: v.source, gen: v.gen, index: indexGone})
}

// flush writes what was recorded, or the whole index anew when most of it is outdated.
func (d *disk) flush() {
	d.journal.io.Lock()
	defer d.journal.io.Unlock()
	d.mu.Lock()
	long := d.journal.long()
	b := d.journal.take()
	d.mu.Unlock()
	if len(b) == 0 {
		return
	}
	var err error
	if long || d.journal.f == nil {
		err = d.rewrite(false)
	} else {
		err = d.journal.write(b)
	}
	if err != nil {
		d.fail("index", err)
		return
	}
	d.mu.Lock()
	if d.mended {
		d.failed = false
	}
	d.mu.Unlock()
}

// finishIndex writes the index a last time.
func (d *disk) finishIndex() error {
	d.journal.io.Lock()
	defer d.journal.io.Unlock()
	return errors.Join(d.rewrite(true), d.journal.close())
}

// rewrite replaces the index by one with a record for each block, least recently used first.
// journal.io is held.
func (d *disk) rewrite(last bool) error {
	d.mu.Lock()
	b := []byte(indexHeader)
	clean := true
	for _, v := range d.versions {
		if v.pinned() { // these are in no list
			for i := range v.blocks {
				r := v.record(i, d.policy)
				b = r.append(b)
			}
		}
		for _, bl := range v.blocks {
			clean = clean && bl.valid == bl.summed&bl.valid
		}
	}
	for _, k := range d.policy.order() {
		v := d.versions[k.id]
		r := v.record(k.index, d.policy)
		b = r.append(b)
	}
	clean = clean && !d.failed && !d.zombiesLocked()
	if last && clean {
		r := record{index: indexClean}
		b = r.append(b)
	}
	d.journal.renew(int64(len(b)))
	d.mu.Unlock()
	return d.journal.replace(b)
}

func (d *disk) zombiesLocked() bool {
	for _, v := range d.lent {
		if v.gone {
			return true
		}
	}
	return false
}
