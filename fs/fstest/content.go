package fstest

import (
	"fmt"
	"os"
	"strings"
)

// pattern is n bytes that tell who wrote them and for which offset: eight bytes are the
// letter fill and seven digits of their position.
func pattern(fill byte, off, n int64) string {
	const hex = "0123456789abcdef"
	b := make([]byte, n)
	for i := range b {
		at := off + int64(i)
		if digit := at & 7; digit == 0 {
			b[i] = fill
		} else {
			b[i] = hex[at>>3>>(4*(7-digit))&15]
		}
	}
	return string(b)
}

// overwrite is data with piece at off; a gap between them is zeros.
func overwrite(data string, off int64, piece string) string {
	if piece == "" {
		return data
	}
	if gap := off - int64(len(data)); gap > 0 {
		data += strings.Repeat("\x00", int(gap))
	}
	end := min(off+int64(len(piece)), int64(len(data)))
	return data[:off] + piece + data[end:]
}

// resize is data cut or filled up with zeros to size bytes.
func resize(data string, size int64) string {
	if size <= int64(len(data)) {
		return data[:size]
	}
	return data + strings.Repeat("\x00", int(size)-len(data))
}

// differ describes where two contents part.
func differ(got, want string) string {
	n := min(len(got), len(want))
	i := 0
	for i < n && got[i] == want[i] {
		i++
	}
	return fmt.Sprintf("%d bytes, want %d; from byte %d on %q, want %q", len(got), len(want), i, excerpt(got, i), excerpt(want, i))
}

func excerpt(s string, i int) string { return s[min(i, len(s)):min(i+16, len(s))] }

// openFlags translates the flags of an Open.
func openFlags(s string) (int, error) {
	words := strings.Split(s, "+")
	flags, ok := map[string]int{"r": os.O_RDONLY, "w": os.O_WRONLY, "rw": os.O_RDWR}[words[0]]
	if !ok {
		return 0, fmt.Errorf("open for %q", words[0])
	}
	for _, word := range words[1:] {
		flag, ok := map[string]int{"create": os.O_CREATE, "excl": os.O_EXCL, "trunc": os.O_TRUNC, "append": os.O_APPEND}[word]
		if !ok {
			return 0, fmt.Errorf("no flag is called %q", word)
		}
		flags |= flag
	}
	return flags, nil
}
