package fs

import (
	"maps"
	"strconv"
	"strings"
	"syscall"
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
	// the object is the target; so it is of every link that thawfs makes. encode keeps a
	// target that old has and does not write one.
	Target string
}

// defaults are the attributes of what carries none.
type defaults struct {
	UID, GID uint32
	FileMode uint32 // permission bits
	DirMode  uint32 // permission bits
}

const (
	maxMeta   = 2 << 10 // bytes of user metadata S3 takes with an object (metaSize)
	maxTarget = 4095    // bytes of a symbolic link, Linux's PATH_MAX without the NUL
	permBits  = 0o7777
)

// decodeAttr reads the metadata of obj in any of the known dialects. It does not fail: what
// it cannot read is as if it were not there. A key that ends in "/" is a directory; other
// objects are what their metadata say, unless that would hide bytes they have.
func decodeAttr(obj backend.Object, def defaults) fileAttr {
	a := fileAttr{
		UID:    readID(obj.Meta, uidNames, def.UID),
		GID:    readID(obj.Meta, gidNames, def.GID),
		Mtime:  readTime(obj.Meta, mtimeFields, obj.ModTime.Truncate(time.Second)), // listings tell more digits than HEAD
		Ctime:  readTime(obj.Meta, ctimeFields, time.Time{}),
		Atime:  readTime(obj.Meta, atimeFields, time.Time{}),
		Xattrs: parseXattrs(obj.Meta[metaXattr]),
	}
	if !strings.HasSuffix(obj.Key, "/") {
		a.Target = readTarget(obj)
	}
	a.Mode = readMode(obj, a.Target, def)
	if isDevice(a.Mode) {
		a.Rdev = readID(obj.Meta, rdevNames, 0)
	}
	return a
}

// encode returns old with a in the dialect of s3fs. Foreign metadata and headers stay; what
// other dialects said of the attributes is brought into line. Class stays. The bytes of the
// object, so the target of a link with an empty Target, are the caller's.
func (a fileAttr) encode(old backend.Attrs) backend.Attrs {
	meta := maps.Clone(old.Meta)
	if meta == nil {
		meta = make(map[string]string)
	}
	writeMode(meta, a.Mode)
	writeID(meta, uidNames, a.UID)
	writeID(meta, gidNames, a.GID)
	writeTime(meta, mtimeFields, a.Mtime)
	writeTime(meta, ctimeFields, a.Ctime)
	writeTime(meta, atimeFields, a.Atime)
	writeRdev(meta, a.Mode, a.Rdev)
	writeXattrs(meta, a.Xattrs)
	dropOtherTypes(meta, a.Mode&syscall.S_IFMT, a.Target != "")
	return backend.Attrs{Meta: meta, Header: a.encodeHeader(old.Header), Class: old.Class}
}

// encodeHeader returns old with a content type that agrees with the file's type. Files
// without one get none: the driver or the store chooses.
func (a fileAttr) encodeHeader(old map[string]string) map[string]string {
	header := maps.Clone(old)
	now := mediaType(old)
	switch typ := a.Mode & syscall.S_IFMT; {
	case typ == syscall.S_IFDIR && !isDirType(now):
		if header == nil {
			header = make(map[string]string)
		}
		header[contentType] = typeDir
	case typ != syscall.S_IFDIR && isDirType(now), now == typeLink && a.Target == "":
		delete(header, contentType)
	}
	return header
}

// metaSize returns what the user metadata count against the limit of S3 (maxMeta), in bytes:
// names with their prefix, as MinIO counts, and values. S3 refuses more with MetadataTooLarge.
func metaSize(attrs backend.Attrs) int {
	size := 0
	for name, value := range attrs.Meta {
		size += len("x-amz-meta-") + len(name) + len(value)
	}
	return size
}

// forNewContent returns attrs without the metadata that describe the old bytes: rclone's
// checksum, which rclone holds against what it downloads.
func forNewContent(attrs backend.Attrs) backend.Attrs {
	if _, ok := attrs.Meta[metaMD5]; ok {
		attrs.Meta = maps.Clone(attrs.Meta)
		delete(attrs.Meta, metaMD5)
	}
	return attrs
}

// readMode returns type and permissions of obj; target is that of its metadata.
func readMode(obj backend.Object, target string, def defaults) uint32 {
	mode, known := storedMode(obj)
	typ, perm := mode&syscall.S_IFMT, mode&permBits
	switch {
	case strings.HasSuffix(obj.Key, "/"):
		typ = syscall.S_IFDIR
	case target != "" || bodyIsTarget(obj.Meta):
		typ = syscall.S_IFLNK
	case typ == 0 && isDirObject(obj):
		typ = syscall.S_IFDIR
	case typ == 0:
		typ = syscall.S_IFREG
	}
	switch {
	case !strings.HasSuffix(obj.Key, "/") && hidesBytes(typ, obj.Size, target):
		return syscall.S_IFREG | def.FileMode
	case typ == syscall.S_IFLNK:
		return typ | 0o777 // Linux knows no other; rsync would itemize every link
	case known:
		return typ | perm
	case typ == syscall.S_IFDIR:
		return typ | def.DirMode
	}
	return typ | def.FileMode
}

// hidesBytes reports whether a file of type typ could not show the size bytes of its object,
// or lacks the bytes that make it: then it is shown as a regular file.
func hidesBytes(typ uint32, size int64, target string) bool {
	switch typ {
	case syscall.S_IFREG:
		return false
	case syscall.S_IFLNK:
		return target == "" && (size == 0 || size > maxTarget)
	}
	return size > 0
}

// storedMode returns the mode of the first dialect that obj has one of; type 0 if it
// tells permissions only.
func storedMode(obj backend.Object) (mode uint32, ok bool) {
	if mode, ok = parseMode(obj.Meta[metaMode], strings.HasSuffix(obj.Key, "/"), hasRdev(obj.Meta)); ok {
		return mode, true
	}
	for _, f := range modeFields {
		if mode, ok = parseModeBase(obj.Meta[f.name], f.base); ok {
			return mode, true
		}
	}
	return 0, false
}

// readTarget returns the target of a link whose metadata hold it.
func readTarget(obj backend.Object) string {
	if obj.Size > 0 {
		return ""
	}
	for _, name := range targetNames {
		target, ok := obj.Meta[name]
		if !ok || name == metaTargetSwift && mediaType(obj.Header) != typeLink {
			continue
		}
		if name == metaTargetGeesefs {
			if plain, ok := percentDecode(target); ok {
				target = plain
			}
		}
		if len(target) <= maxTarget && !strings.Contains(target, "\x00") {
			return target
		}
	}
	return ""
}

func isDevice(mode uint32) bool {
	typ := mode & syscall.S_IFMT
	return typ == syscall.S_IFCHR || typ == syscall.S_IFBLK
}

func hasRdev(meta map[string]string) bool {
	for _, name := range rdevNames {
		if _, ok := meta[name]; ok {
			return true
		}
	}
	return false
}

func isDirObject(obj backend.Object) bool {
	return isDirType(mediaType(obj.Header)) || obj.Meta[metaFolderAzure] == "true"
}

// mediaType returns the content type without its parameters.
func mediaType(header map[string]string) string {
	typ, _, _ := strings.Cut(header[contentType], ";")
	return strings.ToLower(strings.TrimSpace(typ))
}

// writeRdev stores the number of a device, and removes that of a file which is none.
func writeRdev(meta map[string]string, mode, rdev uint32) {
	if !isDevice(mode) {
		for _, name := range rdevNames {
			delete(meta, name)
		}
		return
	}
	writeID(meta, rdevNames, rdev)
}

// writeMode stores mode as s3fs does and corrects other dialects.
func writeMode(meta map[string]string, mode uint32) {
	meta[metaMode] = strconv.FormatUint(uint64(mode), 10)
	for _, f := range modeFields {
		if old, ok := parseModeBase(meta[f.name], f.base); ok {
			meta[f.name] = f.format(mode, old)
		}
	}
}
