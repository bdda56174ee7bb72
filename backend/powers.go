package backend

import (
	"context"
	"io"
	"iter"
	"os"
	"time"
)

// A Copier copies inside the store, without the bytes passing through this machine.
type Copier interface {
	// Copy makes to an object with the bytes of the version from.Key, from.ETag
	// (ErrChanged if it is no longer that, ErrArchived if it is not readable), of any
	// size. With opts.Attrs nil the copy keeps the source's Meta, Header and Class.
	// Copying an object onto itself changes its Attrs and keeps its bytes. from.Size
	// must be right.
	Copy(ctx context.Context, from Object, to string, opts CopyOptions) (Object, error)
}

// CopyOptions modify Copier.Copy.
type CopyOptions struct {
	Attrs *Attrs // nil keeps those of the source
	Cond         // on the destination; ErrUnsupported where the store cannot
}

// A PartUploader assembles an object from parts that may arrive in any order and may be
// sent again. Upload and Part are plain data: a journal can hold them and another process
// can finish the upload. Until Complete the key keeps its old object.
type PartUploader interface {
	PartLimits() PartLimits

	// NewUpload begins an upload with the Attrs of opts; its Cond is not looked at.
	NewUpload(ctx context.Context, key string, opts PutOptions) (Upload, error)

	// UploadPart sends part number (from 1). crc is the CRC64NVME of body; a mismatch is
	// ErrCorrupt. An upload that is unknown, finished or aborted is ErrNotExist.
	UploadPart(ctx context.Context, up Upload, number int, body *io.SectionReader, crc uint64) (Part, error)

	// Complete makes the parts, ascending by number, the new object of up.Key under
	// opts.Cond. Other fields of opts but CRC64NVME are not looked at. An upload that
	// is unknown, finished or aborted is ErrNotExist.
	Complete(ctx context.Context, up Upload, parts []Part, opts PutOptions) (Object, error)

	// Abort discards an upload and its parts; an unknown upload is no error.
	Abort(ctx context.Context, up Upload) error

	// Uploads yields the unfinished uploads of keys that begin with prefix.
	Uploads(ctx context.Context, prefix string) iter.Seq2[Upload, error]
}

// A PartCopier is a PartUploader that can take a part from an object in the store.
type PartCopier interface {
	// CopyPart makes bytes [off, off+n) of the version from.Key, from.ETag a part.
	CopyPart(ctx context.Context, up Upload, number int, from Object, off, n int64) (Part, error)
}

// PartLimits are a service's limits on parts. MinSize does not bind the last part.
type PartLimits struct {
	MinSize, MaxSize int64 // bytes a part
	MaxParts         int
	MaxObject        int64 // bytes in all
	MaxPut           int64 // bytes of a single Put
}

// Upload names an unfinished upload.
type Upload struct {
	Key string `json:"key"`
	ID  string `json:"id"`
}

// Part is a part the store has confirmed.
type Part struct {
	Number int    `json:"n"`
	Size   int64  `json:"size"` // bytes
	ETag   string `json:"etag"`
	CRC    uint64 `json:"crc,omitempty"` // CRC64NVME of its bytes, 0 if not known (copied)
}

// A BatchDeleter deletes many keys in few requests.
type BatchDeleter interface {
	// DeleteBatch deletes any number of keys. It returns an error for each key that may
	// still exist, by key; absent keys are no errors.
	DeleteBatch(ctx context.Context, keys []string) map[string]error
}

// A Restorer brings archived objects back.
type Restorer interface {
	// Restore asks for a readable copy of key. It is no error if one exists or is on its
	// way. What the store then does is told by Head, not by Restore.
	Restore(ctx context.Context, key string, opts RestoreOptions) error
}

// RestoreOptions modify Restorer.Restore. The zero value asks for the store's default tier.
type RestoreOptions struct {
	Tier string        // Expedited, Standard, Bulk or the store's own word
	Keep time.Duration // how long the copy shall stay readable; whole days on S3
}

// An Inspector tells of an object what no other method does, by names of its own: the manifest
// of a large object, an address for others. They are shown as xattrs below user.thawfs.
type Inspector interface {
	// Inspect returns the value of name for the object that key holds. ok is false if there
	// is no such value: the name is none of this store, or not for this object.
	Inspect(ctx context.Context, key, name string) (value string, ok bool, err error)
}

// WriteOnce is a Store that archives what it gets as it arrives, and never changes it: its
// objects are Archived from their Put on. None of them can get another name or other attributes
// later, since even who has read it could only store it a second time. Objects without bytes,
// which stand for directories and empty files, may be Online and are not bound by this.
type WriteOnce interface {
	Store

	// CheckKey reports, without a request, why key cannot be stored: ErrInvalid, ErrTooLong.
	CheckKey(key string) error
}

// A Fetcher is a Restorer whose restored copies end soon, whatever RestoreOptions.Keep says:
// who wants the bytes brings them here as soon as they can be read.
type Fetcher interface {
	// Fetch makes the file to, open for reading and writing, hold exactly the version
	// obj.Key, obj.ETag, checked as a whole. It fails as Get does. After an error another
	// Fetch into the same file goes on where it ended. got, if not nil, is told of bytes as
	// they come, one call at a time.
	Fetch(ctx context.Context, obj Object, to *os.File, got func(n int64)) error
}

// A Describer tells what its bucket itself has to say, and lets some of it be set.
type Describer interface {
	// Facts are texts under short lower-case names.
	Facts(ctx context.Context) (map[string]string, error)

	// SetFact sets a fact; an empty value removes it. ErrPermission is for what can only be
	// read, ErrNotExist for what is not known.
	SetFact(ctx context.Context, name, value string) error
}
