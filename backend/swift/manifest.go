package swift

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/thawfs/thawfs/backend"
)

// A segment is one line of a manifest.
type segment struct {
	Name   string `json:"name,omitempty"`    // /container/object; empty: Data
	Size   int64  `json:"bytes,omitempty"`   // of the whole object
	ETag   string `json:"hash,omitempty"`    // of the whole object
	Range  string `json:"range,omitempty"`   // "0-99": the part of it that counts; empty: all
	Sub    bool   `json:"sub_slo,omitempty"` // it is a manifest itself
	Inline string `json:"data,omitempty"`    // base64
}

// span is the part of the segment's object that counts: its first byte and its length.
func (g segment) span() (off, n int64) {
	if g.Name == "" {
		return 0, int64(base64.StdEncoding.DecodedLen(len(g.Inline)) - strings.Count(g.Inline, "="))
	}
	first, last, ok := strings.Cut(g.Range, "-")
	from, err1 := strconv.ParseInt(first, 10, 64)
	to, err2 := strconv.ParseInt(last, 10, 64)
	if !ok || err1 != nil || err2 != nil {
		return 0, g.Size
	}
	return from, to - from + 1
}

// cut is bytes [off, off+n) of what the segment contributes.
func (g segment) cut(off, n int64) segment {
	from, all := g.span()
	if off == 0 && n == all {
		return g
	}
	if g.Name == "" {
		data, _ := base64.StdEncoding.DecodeString(g.Inline) // as the server has checked
		g.Inline = base64.StdEncoding.EncodeToString(data[off : off+n])
		return g
	}
	g.Range = fmt.Sprintf("%d-%d", from+off, from+off+n-1)
	return g
}

// split is the container and the name of the segment's object.
func (g segment) split() (container, name string) {
	container, name, _ = strings.Cut(strings.TrimPrefix(g.Name, "/"), "/")
	return container, name
}

// manifestTag is the ETag that Swift gives a large object: the MD5 of those of its segments
// (middleware slo).
func manifestTag(segments []segment) string {
	m := md5.New()
	for _, g := range segments {
		switch {
		case g.Name == "":
			data, _ := base64.StdEncoding.DecodeString(g.Inline) // as the server has checked
			sum := md5.Sum(data)
			_, _ = m.Write([]byte(hex.EncodeToString(sum[:]))) // never fails
		case g.Range != "":
			_, _ = fmt.Fprintf(m, "%s:%s;", g.ETag, g.Range)
		default:
			_, _ = m.Write([]byte(g.ETag))
		}
	}
	return hex.EncodeToString(m.Sum(nil))
}

// readManifest returns the segments of a large object in its very version k; none of a plain
// one.
func (s *Store) readManifest(ctx context.Context, k known) ([]segment, error) {
	switch k.kind {
	case dynamicLarge:
		return s.listSegments(ctx, k)
	case staticLarge:
		segments, err := s.svc.manifest(ctx, s.name, k.raw)
		if err == nil && manifestTag(segments) != k.ETag {
			return nil, fmt.Errorf("%w: its manifest is another one", backend.ErrChanged)
		}
		return segments, err
	}
	return nil, nil
}

func (s *Service) manifest(ctx context.Context, container, name string) ([]segment, error) {
	data, _, err := s.read(ctx, request{
		method: http.MethodGet, container: container, key: name, query: url.Values{"multipart-manifest": {"get"}},
		header: map[string]string{"X-Newest": "true"},
	})
	if err != nil {
		return nil, err
	}
	var segments []segment
	if err := json.Unmarshal(data, &segments); err != nil {
		return nil, fmt.Errorf("%w: the object has become a plain one", backend.ErrChanged)
	}
	return segments, nil
}

// listSegments finds those of a dynamic large object.
func (s *Store) listSegments(ctx context.Context, k known) ([]segment, error) {
	container, prefix, _ := strings.Cut(k.prefix, "/")
	var segments []segment
	err := s.svc.walk(ctx, container, prefix, func(r row) error {
		if r.Bytes > 0 {
			segments = append(segments, segment{Name: "/" + container + "/" + r.Name, Size: r.Bytes, ETag: r.Hash, Sub: r.SLOTag != ""})
		}
		return nil
	})
	return segments, err
}

// expand replaces manifests in a manifest by their segments, keeping their own names behind
// them: what goes when the whole goes.
func (s *Store) expand(ctx context.Context, segments []segment) ([]segment, error) {
	var all []segment
	for _, g := range segments {
		if g.Name == "" {
			continue
		}
		if g.Sub {
			container, name := g.split()
			inner, err := s.svc.manifest(ctx, container, name)
			if statusOf(err) == http.StatusNotFound {
				continue // gone already
			}
			if err == nil {
				inner, err = s.expand(ctx, inner)
			}
			if err != nil {
				return nil, err
			}
			all = append(all, inner...)
		}
		all = append(all, g)
	}
	return all, nil
}

// segmentsOf are all objects that k is made of; none if it is a plain one.
func (s *Store) segmentsOf(ctx context.Context, k known) ([]segment, error) {
	if k.kind == staticLarge && isArchive(s.policy) && !k.State.Readable() {
		return s.sealedSegments(ctx, k)
	}
	segments, err := s.readManifest(ctx, k)
	if err != nil {
		return nil, err
	}
	return s.expand(ctx, segments)
}

// A predecessor is what a key holds just before it is replaced.
type predecessor struct {
	exists   bool
	segments []segment
}

// replaced looks what key holds before it is replaced.
func (s *Store) replaced(ctx context.Context, key string, cond backend.Cond) (predecessor, error) {
	if cond.IfAbsent {
		return predecessor{}, nil
	}
	k, err := s.headRaw(ctx, key)
	if statusOf(err) == http.StatusNotFound {
		return predecessor{}, nil
	}
	if err != nil {
		return predecessor{}, err
	}
	segments, err := s.segmentsOf(ctx, k)
	return predecessor{true, segments}, err
}

// putManifest makes segments, of which Swift checks sizes and ETags, the object raw. Those that
// are too many for one manifest are gathered in manifests below at (container/prefix). It
// returns the lines of the outermost manifest.
func (s *Store) putManifest(ctx context.Context, raw string, segments []segment, header map[string]string, cond backend.Cond, at string) ([]segment, http.Header, error) {
	limit := s.svc.limits.maxSegments()
	for level := 0; countObjects(segments) > limit; level++ {
		var err error
		if segments, err = s.gather(ctx, segments, limit, fmt.Sprintf("%s/m%d", at, level)); err != nil {
			return nil, nil, err
		}
	}
	tag := manifestTag(segments)
	header["Etag"] = tag
	h, err := s.replace(ctx, request{
		method: http.MethodPut, container: s.name, key: raw, header: header, body: manifestBody(segments), patient: true,
		query: url.Values{"multipart-manifest": {"put"}},
	}, cond, tag)
	return segments, h, err
}

func countObjects(segments []segment) (n int) {
	for _, g := range segments {
		if g.Name != "" {
			n++
		}
	}
	return n
}

// gather makes manifests of limit segments each.
func (s *Store) gather(ctx context.Context, segments []segment, limit int, at string) ([]segment, error) {
	var outer []segment
	container, prefix, _ := strings.Cut(at, "/")
	for i := 0; len(segments) > 0; i++ {
		n := min(limit, len(segments))
		g := segment{Name: fmt.Sprintf("/%s/%s/%08d", container, prefix, i), ETag: manifestTag(segments[:n]), Sub: true}
		for _, inner := range segments[:n] {
			_, size := inner.span()
			g.Size += size
		}
		_, name := g.split()
		_, err := s.svc.call(ctx, request{
			method: http.MethodPut, container: container, key: name, body: manifestBody(segments[:n]), patient: true,
			header: map[string]string{"Etag": g.ETag, "Content-Type": plainType}, query: url.Values{"multipart-manifest": {"put"}},
		})
		if err != nil {
			return nil, err
		}
		outer, segments = append(outer, g), segments[n:]
	}
	return outer, nil
}

// manifestBody is a manifest as it is sent, whose words differ from those that are read.
func manifestBody(segments []segment) *io.SectionReader {
	type line struct {
		Path  string `json:"path,omitempty"`
		ETag  string `json:"etag,omitempty"`
		Size  int64  `json:"size_bytes,omitempty"`
		Range string `json:"range,omitempty"`
		Data  string `json:"data,omitempty"`
	}
	lines := make([]line, len(segments))
	for i, g := range segments {
		lines[i] = line{Path: g.Name, ETag: g.ETag, Size: g.Size, Range: g.Range, Data: g.Inline}
	}
	data, err := json.Marshal(lines)
	if err != nil {
		panic("swift: a manifest cannot be written: " + err.Error()) // strings and numbers always can
	}
	return text(data)
}
