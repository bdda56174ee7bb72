package backend

import (
	"strings"
	"unicode/utf8"
)

// ValidKey reports whether key is one that every Store must accept or refuse by its own
// rules: non-empty UTF-8 without NUL.
func ValidKey(key string) bool {
	return key != "" && utf8.ValidString(key) && !strings.Contains(key, "\x00")
}
