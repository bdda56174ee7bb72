package glacier

import (
	"encoding/base64"
	"encoding/binary"
	"strings"
	"unicode/utf16"
)

// fromUTF7 decodes UTF-7 (RFC 2152): "+" begins UTF-16 in base64, which ends at "-" or any
// other character that base64 does not have; "+-" is a plus sign. What is no UTF-7 stays as it
// is: a name with a plus in it may have been written by a program that knows no UTF-7.
func fromUTF7(s string) string {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(s, "+")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		n := strings.IndexFunc(rest, func(r rune) bool { return !strings.ContainsRune(alphabet, r) })
		if n < 0 {
			n = len(rest)
		}
		text, ok := utf16Of(rest[:n])
		dash := n < len(rest) && rest[n] == '-'
		switch {
		case n == 0 && dash:
			out.WriteByte('+')
		case !ok:
			out.WriteString("+" + rest[:n])
			dash = false
		default:
			out.WriteString(text)
		}
		if dash {
			n++
		}
		s = rest[n:]
	}
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// utf16Of decodes big-endian UTF-16 in base64 without padding.
func utf16Of(b64 string) (string, bool) {
	b, err := base64.RawStdEncoding.DecodeString(b64)
	if err != nil || len(b) < 2 || len(b)%2 != 0 {
		return "", false
	}
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = binary.BigEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units)), true
}
