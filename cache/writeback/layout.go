package writeback

import "github.com/thawfs/thawfs/backend"

// A layout says where the parts of an upload begin. Parts of one tier have the same size;
// the last part of all may be shorter.
type layout []tier

type tier struct {
	Size  int64 `json:"s"` // bytes a part
	Count int   `json:"n"` // parts
}

const mebi = 1 << 20

// equalParts is the layout of an object whose size is known: parts of the wished size, or
// larger ones if those would be too many. Some stores want all parts to be equal.
func equalParts(size, wish int64, lim backend.PartLimits) layout {
	part := clampPart(wish, lim)
	if need := (size + int64(lim.MaxParts) - 1) / int64(lim.MaxParts); need > part {
		part = clampPart((need+mebi-1)/mebi*mebi, lim)
	}
	return layout{{part, lim.MaxParts}}
}

// growingParts is the layout of an object that is still growing: each quarter of the parts is
// larger than the one before, so that the store's largest object can be reached although
// it begins with parts of the wished size.
func growingParts(wish int64, lim backend.PartLimits) layout {
	quarter := max(1, lim.MaxParts/4)
	for factor := int64(4); ; factor *= 2 {
		var l layout
		part := clampPart(wish, lim)
		for range 4 {
			l = append(l, tier{part, quarter})
			part = clampPart(part*factor, lim)
		}
		if l.capacity() >= lim.MaxObject || factor > 1<<12 {
			return l
		}
	}
}

func clampPart(n int64, lim backend.PartLimits) int64 {
	if lim.MaxSize > 0 {
		n = min(n, lim.MaxSize)
	}
	return max(n, lim.MinSize, 1)
}

// capacity is the size of the largest object.
func (l layout) capacity() int64 {
	var n int64
	for _, t := range l {
		n += t.Size * int64(t.Count)
	}
	return n
}

// span returns where part number n, from 1, of an object of size bytes begins, and its size.
// It is zero behind the end.
func (l layout) span(n int, size int64) (off, length int64) {
	n--
	for _, t := range l {
		if n < t.Count {
			off += int64(n) * t.Size
			return off, max(0, min(t.Size, size-off))
		}
		off += int64(t.Count) * t.Size
		n -= t.Count
	}
	return off, 0
}

// parts is the number of parts of an object of size bytes, at least 1.
func (l layout) parts(size int64) int {
	n := 0
	for _, t := range l {
		if whole := int64(t.Count) * t.Size; size > whole {
			size -= whole
			n += t.Count
			continue
		}
		return max(1, n+int((size+t.Size-1)/t.Size))
	}
	return n
}

// whole is the number of parts that lie wholly below size.
func (l layout) whole(size int64) int {
	n := l.parts(size)
	if off, length := l.span(n, 1<<62); off+length > size {
		n--
	}
	return n
}
