// Package attrindex keeps the attributes of the files of a directory in one object beside them,
// so that listing a directory costs the pages of its listing and one request more.
//
// Listings of an object store tell ETag, size and time of an object, not its metadata, which is
// where mode, owner and times are. Without help `ls -l` needs a HEAD for each file. The index of
// a directory (the object Name in it) repeats the metadata of its files, each with the version it
// is true of. It is a cache in the store and nothing more:
//
//   - An entry counts only for the very version that a listing shows (Index.Find). So nothing that
//     other programs do, and no crash, makes an index tell an untruth: what they changed has
//     another version, and is asked for as if there were no index.
//   - An index that is missing, cut off or damaged is as if it were empty, and the next one that
//     is written replaces it.
//   - It is written behind the uploads (Book), when a directory has been quiet for some seconds:
//     one PUT for all that came. A write that fails is tried again with the next change, and delays
//     or fails nothing else.
//   - Two mounts that write one index merge: the PUT is conditional on the version that was read
//     (If-Match), and begins anew on ErrChanged. A store without conditions is asked just before;
//     what one of the two then loses is asked for by HEAD.
//
// Directories with few files have none: asking for them costs as little. Bounded are the files of
// one index (maxEntries), its bytes (maxRaw), what is remembered of indexes read (Options.Memory)
// and the changes that wait (maxWaiting); what is beyond is asked for by HEAD.
//
// What remains unseen: when another client changes only the metadata of an object, not its bytes,
// within the same second in which this one stored it, the index has ours. Stores tell nothing by
// which the two could be told apart.
package attrindex

import "strings"

// Name is the last component of the keys of indexes. Programs that hide what begins with a dot
// do not show it.
const Name = ".thawfs-attrs"

// Key is the key of the index of dir, which is "" or ends in "/".
func Key(dir string) string { return dir + Name }

// IsKey reports whether key is that of an index.
func IsKey(key string) bool { return key == Name || strings.HasSuffix(key, "/"+Name) }

// place is where the attributes of key are kept. Those of the marker of a directory are in the
// index of that directory, under the empty name: its listing is what shows the marker's version.
func place(key string) (dir, name string) {
	i := strings.LastIndexByte(key, '/') + 1
	return key[:i], key[i:]
}
