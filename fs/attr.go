package fs

import (
	"time"

	"github.com/thawfs/thawfs/backend"
)

// A fileAttr is what a file is besides its bytes, taken from an object's metadata by
// decodeAttr and put into it by encode. Both are pure; maps are never shared with the object.
type fileAttr struct {
	Mode     uint32 // type and permission bits as in st_mode
	UID, GID uint32
	Mtime    time.Time // decodeAttr: the store's time if the metadata has none
	Ctime    time.Time // zero = not stored: the store's time of the object is the best guess
	Atime    time.Time // zero = not stored
	Rdev     uint32    // of devices, as FUSE encodes it

	// Xattrs are the extended attributes by full name (user.x, system.posix_acl_access).
	Xattrs map[string][]byte

	// Target is that of a symbolic link whose metadata hold it. If it is empty, the body of
	// the object is the target; so it is of every link that thawfs makes.
	Target string
}

// defaults are the attributes of what carries none.
type defaults struct {
	UID, GID uint32
	FileMode uint32 // permission bits
	DirMode  uint32 // permission bits
}

// decodeAttr reads the metadata of obj in any of the known dialects. It does not fail: what
// it cannot read is as if it were not there. A key that ends in "/" is a directory; other
// objects are what their metadata say, unless that would hide bytes they have.
func decodeAttr(obj backend.Object, def defaults) fileAttr {
	_ = obj
	return fileAttr{Mode: 0o100000 | def.FileMode, UID: def.UID, GID: def.GID, Mtime: obj.ModTime}
}

// encode returns old with a in the dialect of s3fs. Foreign metadata and headers stay; what
// other dialects said of the attributes is brought into line. Class stays. The bytes of the
// object, so the target of a link with an empty Target, are the caller's.
func (a fileAttr) encode(old backend.Attrs) backend.Attrs {
	return old
}

// metaSize returns what the user metadata count against the limit of S3 (maxMeta), in bytes.
func metaSize(attrs backend.Attrs) int {
	return 0
}

// maxMeta is the limit of S3 on the user metadata of an object, in bytes.
const maxMeta = 2 << 10
