package local

import (
	"errors"
	"os"
)

func removeParts(path string) error { return os.RemoveAll(path) }

func openParts(dir *os.File, size int64) (content, error) {
	return nil, errors.Join(errors.ErrUnsupported, dir.Close())
}
