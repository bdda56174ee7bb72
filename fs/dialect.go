package fs

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Names of metadata, the first of each list being the one that is written. The others are
// read, and corrected where an object has them already. Sources, by dialect:
//
//	s3fs     mode uid gid mtime ctime atime xattr (src/metaheader.cpp); decimal mode
//	s3sync   permissions owner group, as s3fs reads them
//	rclone   mode uid gid mtime atime md5chksum (backend/local/metadata_unix.go); octal mode
//	geesefs  mode uid gid rdev mtime --symlink-target (core/handles.go); decimal mode
//	Amazon   file-permissions file-owner file-group file-mtime file-atime (FSx, DataSync)
//	Google   goog-reserved-* (gsutil -P), gcsfuse_* (gcsfuse internal/fs/inode)
//	Swift    mtime (swiftclient), symlink-target with application/link (svfs), hubiC's time
//	Azure    hdi_isfolder, is_symlink (blobfuse2)
//
// All of them are names of Attrs.Meta: lower case, without the wire's prefix.
const (
	metaMode  = "mode"
	metaXattr = "xattr"
	metaRdev  = "thawfs-rdev" // s3fs does not keep device numbers
	metaMD5   = "md5chksum"   // rclone: base64 MD5 of the bytes

	metaTargetGeesefs = "--symlink-target"       // %XX-escaped
	metaTargetGcsfuse = "gcsfuse_symlink_target" // before gcsfuse 3.9
	metaTargetSwift   = "symlink-target"         // only with typeLink
	metaLinkGoogle    = "goog-reserved-file-is-symlink"
	metaLinkAzure     = "is_symlink"
	metaFolderAzure   = "hdi_isfolder"

	metaXattrSvfs = "xattr-" // prefix; the value in hexadecimal

	contentType = "content-type"
	typeDir     = "application/x-directory"
	typeLink    = "application/link"
)

// Tables, never changed.
var (
	uidNames    = []string{"uid", "owner", "file-owner", "goog-reserved-posix-uid"}
	gidNames    = []string{"gid", "group", "file-group", "goog-reserved-posix-gid"}
	rdevNames   = []string{metaRdev, "rdev"}
	targetNames = []string{metaTargetGeesefs, metaTargetGcsfuse, metaTargetSwift}
	linkNames   = []string{metaLinkGoogle, metaLinkAzure}

	mtimeFields = []timeField{
		{"mtime", formatTime},
		{"file-mtime", formatNano},
		{"gcsfuse_mtime", formatRFC3339},
		{"goog-reserved-file-mtime", formatSeconds},
		{"hubiclocallastmodified", formatRFC3339},
	}
	ctimeFields = []timeField{{"ctime", formatTime}, {"file-ctime", formatNano}}
	atimeFields = []timeField{
		{"atime", formatTime}, {"file-atime", formatNano}, {"goog-reserved-file-atime", formatSeconds},
	}

	// modeFields are the names of a mode besides metaMode, each of one base.
	modeFields = []modeField{
		{"permissions", 10, formatS3sync},
		{"file-permissions", 8, formatAmazon},
		{"goog-reserved-posix-mode", 8, formatGoogle},
	}
)

// A timeField is a point in time under the name and in the form of one dialect. All forms
// are read under all names.
type timeField struct {
	name   string
	format func(time.Time) string
}

// A modeField is a mode under the name and in the form of one dialect.
type modeField struct {
	name   string
	base   int
	format func(mode, old uint32) string
}

func formatS3sync(mode, old uint32) string {
	if old&syscall.S_IFMT == 0 {
		mode &= permBits
	}
	return strconv.FormatUint(uint64(mode), 10)
}

func formatAmazon(mode, _ uint32) string { return fmt.Sprintf("%07o", mode) }

func formatGoogle(mode, _ uint32) string { return fmt.Sprintf("%03o", mode&permBits) }

// readID returns the first of names that is a number, or def.
func readID(meta map[string]string, names []string, def uint32) uint32 {
	for _, name := range names {
		if id, ok := parseID(meta[name]); ok {
			return id
		}
	}
	return def
}

// writeID sets the first of names, and the others where they hold a number: an owner that
// is not one is a foreign attribute.
func writeID(meta map[string]string, names []string, id uint32) {
	text := strconv.FormatUint(uint64(id), 10)
	meta[names[0]] = text
	for _, name := range names[1:] {
		if _, ok := parseID(meta[name]); ok {
			meta[name] = text
		}
	}
}

func parseID(s string) (id uint32, ok bool) {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 32)
	return uint32(n), err == nil
}

// readTime returns the first of fields that is a time, or def.
func readTime(meta map[string]string, fields []timeField, def time.Time) time.Time {
	for _, f := range fields {
		if t, ok := parseTime(meta[f.name]); ok {
			return t
		}
	}
	return def
}

// writeTime sets the first of fields and those that hold a time already; the zero time
// removes them all.
func writeTime(meta map[string]string, fields []timeField, t time.Time) {
	for i, f := range fields {
		switch _, held := parseTime(meta[f.name]); {
		case i > 0 && !held:
		case t.IsZero():
			delete(meta, f.name)
		default:
			meta[f.name] = f.format(t)
		}
	}
}

// bodyIsTarget reports whether a dialect other than s3fs says that the object is a link.
func bodyIsTarget(meta map[string]string) bool {
	for _, name := range linkNames {
		if strings.EqualFold(meta[name], "true") {
			return true
		}
	}
	return false
}

// dropOtherTypes removes what says that a file is of another type than typ, and targets
// other than the body when that holds it.
func dropOtherTypes(meta map[string]string, typ uint32, keepTarget bool) {
	if typ != syscall.S_IFDIR {
		delete(meta, metaFolderAzure)
	}
	if typ != syscall.S_IFLNK {
		for _, name := range linkNames {
			delete(meta, name)
		}
	}
	if typ == syscall.S_IFLNK && keepTarget {
		return
	}
	for _, name := range targetNames {
		delete(meta, name)
	}
}

// isDirType reports whether a content type is one that marks directories: s3fs's,
// Nextcloud's, Swift's.
func isDirType(media string) bool {
	return media == typeDir || media == "httpd/unix-directory" || media == "application/directory"
}
