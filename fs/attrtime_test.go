package fs

import (
	"testing"
	"time"
)

func TestTimesOfAllForms(t *testing.T) {
	for _, tt := range []struct {
		text      string
		sec, nsec int64
	}{
		{"1700000000", 1_700_000_000, 0},
		{"1700000000.5", 1_700_000_000, 5e8},
		{"1700000000.123456789", 1_700_000_000, 123456789},
		{"1700000000.1234567891", 1_700_000_000, 123456789},
		{"1700000000.000000001", 1_700_000_000, 1},
		{"0", 0, 0},
		{"-1", -1, 0},
		{"-1.5", -2, 5e8},
		{"-0.5", -1, 5e8},
		{"-0.000000001", -1, 999_999_999},
		{"9999999999.5", 9_999_999_999, 5e8},
		{"1700000000500000000ns", 1_700_000_000, 5e8},
		{"5ns", 0, 5},
		{"-5ns", -1, 999_999_995},
		{"0ns", 0, 0},
		{"2023-11-14T22:13:20.25Z", 1_700_000_000, 25e7},
		{"2023-11-14T23:13:20+01:00", 1_700_000_000, 0},
		{" 1700000000 ", 1_700_000_000, 0},
	} {
		got, ok := parseTime(tt.text)
		if want := time.Unix(tt.sec, tt.nsec); !ok || !got.Equal(want) {
			t.Errorf("parseTime(%q) = %v, %v, want %v", tt.text, got, ok, want)
		}
	}
	for _, text := range []string{"", "-", ".5", "5.", "1.2.3", "1,5", "1e9", "+5", "ns", "--5", "5.5ns", "99999999999999999999", "36028797018963969", "2023-11-14", "1.-5", "0001-01-01T00:00:00Z", "-62135596800"} {
		if got, ok := parseTime(text); ok {
			t.Errorf("parseTime(%q) = %v, want nothing", text, got)
		}
	}
}

func TestTimesAreWrittenInTheFormOfEachDialect(t *testing.T) {
	for _, tt := range []struct {
		sec, nsec                 int64
		own, nano, seconds, rfc33 string
	}{
		{1_700_000_000, 0, "1700000000.000000000", "1700000000000000000ns", "1700000000", "2023-11-14T22:13:20Z"},
		{1_700_000_000, 5, "1700000000.000000005", "1700000000000000005ns", "1700000000", "2023-11-14T22:13:20.000000005Z"},
		{0, 0, "0.000000000", "0ns", "0", "1970-01-01T00:00:00Z"},
		{-1, 0, "-1.000000000", "-1000000000ns", "-1", "1969-12-31T23:59:59Z"},
		{-2, 5e8, "-1.500000000", "-1500000000ns", "-2", "1969-12-31T23:59:58.5Z"},
		{-1, 5e8, "-0.500000000", "-500000000ns", "-1", "1969-12-31T23:59:59.5Z"},
	} {
		at := time.Unix(tt.sec, tt.nsec)
		got := [...]string{formatTime(at), formatNano(at), formatSeconds(at), formatRFC3339(at)}
		if want := [...]string{tt.own, tt.nano, tt.seconds, tt.rfc33}; got != want {
			t.Errorf("%v is written %q, want %q", at.UTC(), got, want)
		}
	}
}

func FuzzParseTime(f *testing.F) {
	for _, text := range []string{"1700000000.5", "-0.5", "5ns", "-1ns", "2023-11-14T22:13:20.25Z"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		at, ok := parseTime(text)
		if !ok {
			return
		}
		for _, again := range []string{formatTime(at), formatNano(at)} {
			if got, ok := parseTime(again); !ok || !got.Equal(at) {
				t.Errorf("%q is %v, written %q, which is %v, %v", text, at, again, got, ok)
			}
		}
	})
}
