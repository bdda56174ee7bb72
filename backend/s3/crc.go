package s3

import (
	"github.com/thawfs/thawfs/backend"
)

// poly is the polynomial of CRC64NVME, bit-reversed (NVM Express NVM command set
// specification, section 5.2.1.3.4).
const poly = 0x9a6c9329ac4bc9b5

// wholeCRC is the CRC64NVME of the parts in a row, as far as it can be known: from the parts,
// else what the caller knows. It is ErrCorrupt if these differ.
func wholeCRC(parts []backend.Part, known *uint64) (*uint64, error) {
	var whole uint64
	for _, p := range parts {
		if p.CRC == 0 && p.Size > 0 {
			return known, nil // copied, its CRC is not known
		}
		whole = combine(whole, p.CRC, p.Size)
	}
	if known != nil && *known != whole {
		return nil, mismatch(whole, *known)
	}
	return &whole, nil
}

// combine is the CRC of two runs of bytes in a row, from the CRC of each and the length n of
// the second. n zero bytes behind the first multiply its CRC by a power of a matrix over GF(2),
// found by squaring (as in zlib's crc32_combine).
func combine(first, second uint64, n int64) uint64 {
	var m matrix // one zero bit
	m[0] = poly
	for i := 1; i < 64; i++ {
		m[i] = 1 << (i - 1)
	}
	for range 3 {
		m = m.squared() // one zero byte
	}
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			first = m.times(first)
		}
		m = m.squared()
	}
	return first ^ second
}

// matrix holds a linear map of 64 bits: row i is the image of bit i.
type matrix [64]uint64

func (m *matrix) times(v uint64) (sum uint64) {
	for i := 0; v != 0; i, v = i+1, v>>1 {
		if v&1 == 1 {
			sum ^= m[i]
		}
	}
	return sum
}

func (m *matrix) squared() (s matrix) {
	for i := range m {
		s[i] = m.times(m[i])
	}
	return s
}
