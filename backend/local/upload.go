package local

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/thawfs/thawfs/backend"
)

// upload is the content of uploads/ID/upload.json. Beside it lie the parts, each a file
// that is named for its number, MD5 and CRC64NVME.
type upload struct {
	Key    string            `json:"key"`
	Begun  time.Time         `json:"begun"`
	Class  string            `json:"class"`
	Meta   map[string]string `json:"meta,omitempty"`
	Header map[string]string `json:"header,omitempty"`
}

// PartLimits implements backend.PartUploader.
func (s *store) PartLimits() backend.PartLimits { return s.svc.limits }

// NewUpload implements backend.PartUploader.
func (s *store) NewUpload(ctx context.Context, key string, opts backend.PutOptions) (backend.Upload, error) {
	id, err := s.newUpload(ctx, key, opts.Attrs)
	if err != nil {
		return backend.Upload{}, s.wrap("new upload", key, err)
	}
	return backend.Upload{Key: key, ID: id}, nil
}

func (s *store) newUpload(ctx context.Context, key string, a backend.Attrs) (id string, err error) {
	rec, err := s.newRecord(ctx, key, a)
	if err != nil {
		return "", err
	}
	dir := s.svc.session.temp()
	if err := os.Mkdir(dir, 0o777); err != nil {
		return "", err
	}
	up := upload{Key: key, Begun: time.Now().UTC(), Class: rec.Class, Meta: rec.Meta, Header: rec.Header}
	if err := s.svc.disk.writeJSON(filepath.Join(dir, "upload.json"), s.svc.session.temp(), up); err != nil {
		return "", err
	}
	id = newBlobID()
	if err := os.Rename(dir, s.uploadDir(id)); err != nil {
		return "", err
	}
	return id, s.svc.disk.syncDir(filepath.Join(s.dir, "uploads"))
}

// UploadPart implements backend.PartUploader.
func (s *store) UploadPart(ctx context.Context, up backend.Upload, number int, body *io.SectionReader, crc uint64) (backend.Part, error) {
	p, err := s.uploadPart(ctx, up, number, body, &crc)
	return p, s.wrap("upload part", up.Key, err)
}

// CopyPart implements backend.PartCopier.
func (s *store) CopyPart(ctx context.Context, up backend.Upload, number int, from backend.Object, off, n int64) (backend.Part, error) {
	p, err := s.copyPart(ctx, up, number, from, off, n)
	return p, s.wrap("copy part", up.Key, err)
}

func (s *store) copyPart(ctx context.Context, up backend.Upload, number int, from backend.Object, off, n int64) (backend.Part, error) {
	rec, c, err := s.openVersion(ctx, from.Key, from.ETag)
	if err != nil {
		return backend.Part{}, err
	}
	defer c.Close() // read-only: nothing to lose
	if off < 0 || n < 0 || off > rec.Size || n > rec.Size-off {
		return backend.Part{}, fmt.Errorf("%w: range %d+%d of %d bytes", backend.ErrInvalid, off, n, rec.Size)
	}
	return s.uploadPart(ctx, up, number, io.NewSectionReader(c, off, n), nil)
}

func (s *store) uploadPart(ctx context.Context, up backend.Upload, number int, body *io.SectionReader, crc *uint64) (backend.Part, error) {
	limits := s.svc.limits
	switch {
	case number < 1 || number > limits.MaxParts:
		return backend.Part{}, fmt.Errorf("%w: part number %d", backend.ErrInvalid, number)
	case body.Size() > limits.MaxSize:
		return backend.Part{}, fmt.Errorf("%w: part of %d bytes", backend.ErrTooLarge, body.Size())
	}
	if _, err := s.findUpload(ctx, up); err != nil {
		return backend.Part{}, err
	}
	st, err := s.stage(ctx, body, -1)
	if err != nil {
		return backend.Part{}, err
	}
	defer st.discard()
	if err := st.verify(crc); err != nil {
		return backend.Part{}, err
	}
	p := backend.Part{Number: number, Size: st.size, ETag: hex.EncodeToString(st.md5[:]), CRC: st.crc}
	if err := s.placePart(ctx, up, p, st.file); err != nil {
		return backend.Part{}, err
	}
	return p, s.svc.disk.syncDir(s.uploadDir(up.ID))
}

// placePart moves temp to where part p belongs and removes what was sent as that part
// before, once p is durable.
func (s *store) placePart(ctx context.Context, up backend.Upload, p backend.Part, temp string) error {
	unlock, err := s.lockUpload(up)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := s.findUpload(ctx, up); err != nil {
		return err
	}
	dir, name := s.uploadDir(up.ID), partName(p)
	if err := os.Rename(temp, filepath.Join(dir, name)); err != nil {
		return err
	}
	names, err := readNames(dir)
	if err != nil {
		return err
	}
	names = slices.DeleteFunc(names, func(n string) bool {
		q, ok := parsePart(n)
		return !ok || q.Number != p.Number || n == name
	})
	if len(names) == 0 {
		return nil
	}
	if err := s.svc.disk.syncDir(dir); err != nil {
		return err
	}
	for _, old := range names {
		_ = os.Remove(filepath.Join(dir, old)) // Complete asks by ETag: at worst it stays for nothing
	}
	return nil
}

// Abort implements backend.PartUploader.
func (s *store) Abort(ctx context.Context, up backend.Upload) error {
	err := ctx.Err()
	if err == nil {
		err = ignoreAbsent(s.removeUpload(up))
	}
	if errors.Is(err, backend.ErrNotExist) {
		err = nil
	}
	return s.wrap("abort", up.Key, err)
}

// removeUpload makes an upload unknown in one step.
func (s *store) removeUpload(up backend.Upload) error {
	unlock, err := s.lockUpload(up)
	if err != nil {
		return err
	}
	defer unlock()
	return s.dropUpload(up)
}

// dropUpload is removeUpload for who holds the lock of the upload.
func (s *store) dropUpload(up backend.Upload) error {
	gone := s.svc.session.temp()
	if err := os.Rename(s.uploadDir(up.ID), gone); err != nil {
		return err
	}
	if err := s.svc.disk.syncDir(filepath.Join(s.dir, "uploads")); err != nil {
		return err
	}
	return os.RemoveAll(gone)
}

// findUpload returns the upload that up names, or fails with backend.ErrNotExist.
func (s *store) findUpload(ctx context.Context, up backend.Upload) (*upload, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	u, err := s.readUpload(up.ID)
	if err == nil && u.Key == up.Key {
		return u, nil
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: upload %q", backend.ErrNotExist, up.ID)
	}
	return nil, err
}

func (s *store) readUpload(id string) (*upload, error) {
	if !isID(id) {
		return nil, fs.ErrNotExist
	}
	b, err := os.ReadFile(filepath.Join(s.uploadDir(id), "upload.json"))
	if err != nil {
		return nil, err
	}
	u := &upload{}
	if err := json.Unmarshal(b, u); err != nil {
		return nil, fmt.Errorf("%w: upload %s: %w", backend.ErrCorrupt, id, err)
	}
	return u, nil
}

// lockUpload excludes other changes of an upload. It may be followed by the lock of a key,
// never the other way round. It fails with backend.ErrNotExist.
func (s *store) lockUpload(up backend.Upload) (unlock func(), err error) {
	if !isID(up.ID) {
		return nil, backend.ErrNotExist
	}
	f, err := os.Open(s.uploadDir(up.ID))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: upload %q", backend.ErrNotExist, up.ID)
	}
	if err != nil {
		return nil, err
	}
	if err := flock(f, syscall.LOCK_EX); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil // gives the lock up
}

func (s *store) uploadDir(id string) string { return filepath.Join(s.dir, "uploads", id) }

// isID keeps ids that did not come from here from leading out of their directory.
func isID(id string) bool {
	return len(id) >= 16 && strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

func partName(p backend.Part) string {
	return fmt.Sprintf("%05d-%s-%016x", p.Number, p.ETag, p.CRC)
}

// parsePart is the reverse of partName, but for the size.
func parsePart(name string) (backend.Part, bool) {
	f := strings.Split(name, "-")
	if len(f) != 3 {
		return backend.Part{}, false
	}
	number, err := strconv.Atoi(f[0])
	crc, crcErr := strconv.ParseUint(f[2], 16, 64)
	return backend.Part{Number: number, ETag: f[1], CRC: crc}, err == nil && crcErr == nil
}

// record begins the record of the object that u becomes.
func (u *upload) record(id string) *record {
	return &record{Key: u.Key, Class: u.Class, Meta: maps.Clone(u.Meta), Header: maps.Clone(u.Header), Upload: id}
}
