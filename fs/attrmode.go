package fs

import (
	"strconv"
	"strings"
	"syscall"
)

// parseMode reads the value of "mode", which tools write in two bases: s3fs and geesefs in
// decimal, rclone in octal, in both cases with the file type; some people by hand. Nearly
// all values are a mode in one base only, because no other has a file type there. What is
// one in both is decided so:
//
//	with a leading 0         octal
//	0 to 4095                permissions; decimal as for s3fs, but 512 to 777 octal: in
//	                         decimal they would have a sticky bit and no type, which no
//	                         tool writes
//	10000 to 12287           octal FIFO, but with a device number a decimal character device
//	40960 to 45055           octal directory if the key ends in "/", else decimal link
//	anything else            decimal
//
// The type is 0 if the value has permissions only.
func parseMode(s string, dirKey, hasRdev bool) (mode uint32, ok bool) {
	s = strings.TrimSpace(s)
	dec, isDec := parseModeBase(s, 10)
	oct, isOct := parseModeBase(s, 8)
	switch {
	case strings.HasPrefix(s, "0"), !isDec:
		return oct, isOct
	case !isOct:
		return dec, true
	}
	var octal bool
	switch dec & syscall.S_IFMT {
	case 0:
		octal = dec > 0o777 && oct <= 0o777
	case syscall.S_IFCHR:
		octal = !hasRdev && oct&syscall.S_IFMT == syscall.S_IFIFO
	case syscall.S_IFLNK:
		octal = dirKey
	}
	if octal {
		return oct, true
	}
	return dec, true
}

// parseModeBase reads a mode of known base. It refuses numbers with a type that Linux does
// not have.
func parseModeBase(s string, base int) (mode uint32, ok bool) {
	n, err := strconv.ParseUint(strings.TrimSpace(s), base, 16)
	if err != nil {
		return 0, false
	}
	mode = uint32(n)
	switch mode & syscall.S_IFMT {
	case 0, syscall.S_IFIFO, syscall.S_IFCHR, syscall.S_IFDIR, syscall.S_IFBLK,
		syscall.S_IFREG, syscall.S_IFLNK, syscall.S_IFSOCK:
		return mode, true
	}
	return 0, false
}
