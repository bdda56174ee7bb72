package fs

import (
	"context"
	"errors"
	"syscall"

	"github.com/thawfs/thawfs/backend"
)

// maxXattr is the largest value that Linux passes on, in bytes (XATTR_SIZE_MAX).
const maxXattr = 64 << 10

// inspect is a virtual xattr that only the store of n knows: a manifest, an address. A file
// whose content waits for its upload has none.
func inspect(ctx context.Context, n xattrNode, name string) (value string, ok bool, err error) {
	file, isFile := n.(*fileNode)
	if !isFile {
		return "", false, nil
	}
	store, ref, err := file.store(ctx)
	if err != nil {
		return "", false, err
	}
	i, can := store.(backend.Inspector)
	if !can {
		return "", false, nil
	}
	value, ok, err = i.Inspect(ctx, ref.Key, name)
	switch {
	case errors.Is(err, backend.ErrNotExist): // not there yet
		return "", false, nil
	case len(value) > maxXattr:
		return "", false, syscall.E2BIG
	}
	return value, ok, err
}
