package glaciertest

import (
	"bytes"
	"fmt"
	"maps"
	"math/bits"
	"net/http"
	"slices"
	"strconv"
	"time"
)

const (
	maxPart  = 4 << 30 // bytes
	maxParts = 10_000
)

// An upload is an archive in parts.
type upload struct {
	id, description  string
	partSize         int64
	parts            map[int64]part // by their first byte
	created, touched time.Time
}

type part struct {
	data []byte
	tree string
}

func (s *Server) initiateUpload(q *request) (answer, *problem) {
	size, err := strconv.ParseInt(q.Header.Get("X-Amz-Part-Size"), 10, 64)
	desc := q.Header.Get("X-Amz-Archive-Description")
	switch {
	case err != nil || size < mib || size > maxPart || bits.OnesCount64(uint64(size)) != 1:
		return answer{}, invalid("Invalid part size: must be 1 MiB times a power of two, up to 4 GiB")
	case !printable(desc):
		return answer{}, invalid("Invalid archive description")
	}
	u := &upload{id: newID(92), description: desc, partSize: size, parts: map[int64]part{}, created: q.now, touched: q.now}
	q.vault.uploads[u.id] = u
	return answer{status: http.StatusCreated, header: map[string]string{
		"X-Amz-Multipart-Upload-Id": u.id, "Location": "/012345678901/vaults/" + q.vaultName + "/multipart-uploads/" + u.id,
	}}, nil
}

// upload finds the upload that a request names.
func (q *request) upload() (*upload, *problem) {
	u := q.vault.uploads[q.id]
	if u == nil {
		return nil, absent("The upload ID was not found: " + q.id)
	}
	return u, nil
}

func (s *Server) uploadPart(q *request) (answer, *problem) {
	u, err := q.upload()
	if err != nil {
		return answer{}, err
	}
	var from, to int64
	if _, err := fmt.Sscanf(q.Header.Get("Content-Range"), "bytes %d-%d/*", &from, &to); err != nil {
		return answer{}, invalid("Invalid Content-Range: " + q.Header.Get("Content-Range"))
	}
	n := int64(len(q.body))
	switch {
	case from < 0 || to-from+1 != n || n == 0:
		return answer{}, invalid("Content-Range incompatible with Content-Length")
	case from%u.partSize != 0 || n > u.partSize:
		return answer{}, invalid(fmt.Sprintf("Invalid Content-Range: parts of this upload begin at multiples of %d", u.partSize))
	case from/u.partSize >= maxParts:
		return answer{}, invalid("10,000 parts at most")
	}
	for off, p := range u.parts { // only the last part may be smaller
		if off > from && n < u.partSize || off < from && int64(len(p.data)) < u.partSize {
			return answer{}, invalid("Invalid Content-Range: only the last part may be smaller than the others")
		}
	}
	tree, err := q.checkBody()
	if err != nil {
		return answer{}, err
	}
	u.parts[from], u.touched = part{q.body, tree}, q.now
	return answer{status: http.StatusNoContent, header: map[string]string{"X-Amz-Sha256-Tree-Hash": tree}}, nil
}

func (s *Server) completeUpload(q *request) (answer, *problem) {
	u, err := q.upload()
	if err != nil {
		return answer{}, err
	}
	var data bytes.Buffer
	for _, off := range slices.Sorted(maps.Keys(u.parts)) {
		if off != int64(data.Len()) {
			return answer{}, invalid(fmt.Sprintf("Missing part: bytes from %d to %d", data.Len(), off))
		}
		data.Write(u.parts[off].data)
	}
	size, parseErr := strconv.ParseInt(q.Header.Get("X-Amz-Archive-Size"), 10, 64)
	tree := TreeHash(data.Bytes())
	switch {
	case parseErr != nil || size != int64(data.Len()) || size == 0:
		return answer{}, invalid(fmt.Sprintf("Invalid archive size: the parts have %d bytes", data.Len()))
	case q.Header.Get("X-Amz-Sha256-Tree-Hash") != tree:
		return answer{}, invalid("Checksum mismatch")
	}
	delete(q.vault.uploads, u.id)
	return q.vault.add(u.description, tree, data.Bytes(), q.now), nil
}

func (s *Server) abortUpload(q *request) (answer, *problem) {
	if _, err := q.upload(); err != nil {
		return answer{}, err
	}
	delete(q.vault.uploads, q.id)
	return answer{status: http.StatusNoContent}, nil
}

func (u *upload) describe(vault string) map[string]any {
	return map[string]any{
		"ArchiveDescription": u.description, "CreationDate": stamp(u.created), "MultipartUploadId": u.id,
		"PartSizeInBytes": u.partSize, "VaultARN": arn(vault),
	}
}

func (s *Server) listUploads(q *request) (answer, *problem) {
	ids := slices.Sorted(maps.Keys(q.vault.uploads))
	from, to, more, err := q.page(len(ids), 50, func(m string) int { return slices.Index(ids, m) })
	if err != nil {
		return answer{}, err
	}
	list := []any{}
	for _, id := range ids[from:to] {
		list = append(list, q.vault.uploads[id].describe(q.vaultName))
	}
	out := map[string]any{"UploadsList": list, "Marker": nil}
	if more {
		out["Marker"] = ids[to]
	}
	return answer{status: http.StatusOK, json: out}, nil
}

func (s *Server) listParts(q *request) (answer, *problem) {
	u, err := q.upload()
	if err != nil {
		return answer{}, err
	}
	offs := slices.Sorted(maps.Keys(u.parts))
	from, to, more, err := q.page(len(offs), 50, func(m string) int {
		off, _ := strconv.ParseInt(m, 10, 64)
		return slices.Index(offs, off)
	})
	if err != nil {
		return answer{}, err
	}
	list := []any{}
	for _, off := range offs[from:to] {
		p := u.parts[off]
		list = append(list, map[string]any{
			"RangeInBytes": fmt.Sprintf("%d-%d", off, off+int64(len(p.data))-1), "SHA256TreeHash": p.tree,
		})
	}
	out := u.describe(q.vaultName)
	out["Parts"], out["Marker"] = list, nil
	if more {
		out["Marker"] = strconv.FormatInt(offs[to], 10)
	}
	return answer{status: http.StatusOK, json: out}, nil
}
