package blocks

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"strconv"

	"github.com/thawfs/thawfs/backend"
)

const (
	// A granule is the unit of buffers, of validity on disk and of checksums: what the
	// kernel asks for at least when it reads ahead, and large enough for a request of it
	// alone to be worth its latency.
	granuleSize = 128 << 10 // bytes
	// A block is the unit of eviction. Punching out less would fragment the files.
	blockGranules = 8
	blockSize     = blockGranules * granuleSize // bytes
	// A range is the largest GET. Below 4 MiB a store spends more on the request than on
	// the bytes; above 16 MiB nothing is gained and memory is held longer.
	rangeSize     = 8 << 20 // bytes
	rangeGranules = rangeSize / granuleSize
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(p []byte) uint32 { return crc32.Checksum(p, castagnoli) }

func extend(sum uint32, p []byte) uint32 { return crc32.Update(sum, castagnoli, p) }

// An id names one version of one object: a hash of bucket, key, ETag and size. Bytes of
// another version cannot be asked for by it.
type id [16]byte

// A source is what the cache needs to know of an object besides its id.
type source struct {
	id   id
	ref  uint64 // hash of bucket and key, for Forget; equal ones of two refs do no harm
	size int64  // bytes
}

func sourceOf(ref backend.Ref, obj backend.Object) source {
	name := appendField(appendField(nil, ref.Bucket), ref.Key)
	version := strconv.AppendInt(appendField(name, obj.ETag), obj.Size, 10)
	sum := sha256.Sum256(version)
	return source{id: id(sum[:16]), ref: refHash(ref), size: obj.Size}
}

func refHash(ref backend.Ref) uint64 {
	sum := sha256.Sum256(appendField(appendField(nil, ref.Bucket), ref.Key))
	return binary.LittleEndian.Uint64(sum[:])
}

// appendField appends s so that no two lists of fields become the same bytes.
func appendField(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// granules is the number of granules of an object of that size.
func granules(size int64) int64 { return (size + granuleSize - 1) / granuleSize }

// granuleLen is the length in bytes of granule g of an object of that size.
func granuleLen(size, g int64) int { return int(min(granuleSize, size-g*granuleSize)) }

// A fileName is where a version lies below the cache's directory. gen differs each time a
// file is made, so that a file about to be removed is never one just made.
func fileName(i id, gen uint64) string {
	return filepath.Join("data", fmt.Sprintf("%02x", i[0]), fmt.Sprintf("%x-%x", i[:], gen))
}
