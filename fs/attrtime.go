package fs

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// maxSeconds bounds times to what arithmetic on them can bear; it is past any file system's.
const maxSeconds = 1 << 55

// parseTime reads all forms in which tools store times:
//
//	1700000000               seconds (geesefs, gsutil)
//	1700000000.5             seconds, a decimal fraction of any length (s3fs, rclone)
//	1700000000500000000ns    nanoseconds (FSx, DataSync)
//	2023-11-14T22:13:20.5Z   RFC 3339 (gcsfuse, rclone's atime)
//
// Numbers may be negative: -1.5 is one and a half seconds before 1970. Digits past the
// nanosecond are cut. Go's zero time, which some tools write for an unknown one, is none.
func parseTime(s string) (t time.Time, ok bool) {
	s = strings.TrimSpace(s)
	if digits, isNano := strings.CutSuffix(s, "ns"); isNano {
		return parseNano(digits)
	}
	if t, ok = parseSeconds(s); ok {
		return t, true
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	return t, err == nil && !t.IsZero()
}

func parseNano(s string) (t time.Time, ok bool) {
	digits, negative := strings.CutPrefix(s, "-")
	if !isDigits(digits) {
		return time.Time{}, false
	}
	if len(digits) < 10 {
		digits = strings.Repeat("0", 10-len(digits)) + digits
	}
	point := len(digits) - 9
	return parseParts(digits[:point], digits[point:], negative)
}

func parseSeconds(s string) (t time.Time, ok bool) {
	digits, negative := strings.CutPrefix(s, "-")
	whole, fraction, dotted := strings.Cut(digits, ".")
	if !isDigits(whole) || dotted && !isDigits(fraction) {
		return time.Time{}, false
	}
	return parseParts(whole, fraction, negative)
}

// parseParts joins the digits before and after the point.
func parseParts(whole, fraction string, negative bool) (t time.Time, ok bool) {
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || sec > maxSeconds {
		return time.Time{}, false
	}
	nsec, err := strconv.ParseInt((fraction + "000000000")[:9], 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	if negative {
		sec, nsec = -sec, -nsec // time.Unix carries
	}
	t = time.Unix(sec, nsec)
	return t, !t.IsZero()
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// formatTime writes seconds with nine digits of fraction, never fewer: s3fs takes what
// follows the point as a number of nanoseconds, so that .5 would be 5 ns.
func formatTime(t time.Time) string {
	sec, nsec, sign := t.Unix(), t.Nanosecond(), ""
	if sec < 0 {
		sign = "-"
		if nsec > 0 {
			sec, nsec = sec+1, 1e9-nsec
		}
		sec = -sec
	}
	return fmt.Sprintf("%s%d.%09d", sign, sec, nsec)
}

func formatNano(t time.Time) string {
	text := strings.Replace(formatTime(t), ".", "", 1)
	digits, negative := strings.CutPrefix(text, "-")
	digits = strings.TrimLeft(digits[:len(digits)-1], "0") + digits[len(digits)-1:]
	if negative {
		digits = "-" + digits
	}
	return digits + "ns"
}

func formatSeconds(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }

func formatRFC3339(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
