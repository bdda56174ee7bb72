package blocks

import (
	"context"

	"github.com/thawfs/thawfs/backend"
)

// Prefetch begins to fetch the version obj of ref for a reader who is expected, and reports
// whether it is here or on its way then. It is for small objects, which come as a whole (others
// are refused), and never waits: without memory to spare nothing happens.
func (c *Cache) Prefetch(store backend.Store, ref backend.Ref, obj backend.Object) bool {
	if obj.ETag == "" || obj.Size <= 0 || obj.Size > leastRange {
		return false
	}
	o := c.objectOf(store, ref, obj)
	end := granules(o.size)
	if c.disk != nil && c.disk.missing(o.source, 0, end) < end {
		return true
	}
	first := granuleKey{o.id, 0}
	ctx, cancel := context.WithCancel(c.ctx)
	f := &fetch{object: o, ahead: true, lone: true, ctx: ctx, cancel: cancel, wanted: 1, ended: func(error) {}}
	c.memory.beginAhead(f, first, end)
	if len(f.granules) == 0 {
		cancel()
		return c.memory.holds(first)
	}
	c.launch(f)
	return true
}
