package s3

import (
	"github.com/thawfs/thawfs/backend"
)

// wholeCRC is the CRC64NVME of the parts in a row, as far as it can be known: from the parts,
// else what the caller knows. It is ErrCorrupt if these differ.
func wholeCRC(parts []backend.Part, known *uint64) (*uint64, error) {
	var whole uint64
	for _, p := range parts {
		if p.CRC == 0 && p.Size > 0 {
			return known, nil // copied, its CRC is not known
		}
		whole = backend.CombineCRC(whole, p.CRC, p.Size)
	}
	if known != nil && *known != whole {
		return nil, mismatch(whole, *known)
	}
	return &whole, nil
}
