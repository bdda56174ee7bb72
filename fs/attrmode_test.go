package fs

import "testing"

func TestModesAreToldApart(t *testing.T) {
	const unknown = 1 << 31
	for _, tt := range []struct {
		text            string
		dirKey, hasRdev bool
		want            uint32
	}{
		{"33188", false, false, reg | 0o644},
		{" 33188 ", false, false, reg | 0o644},
		{"100644", false, false, reg | 0o644},
		{"0100644", false, false, reg | 0o644},
		{"0040755", true, false, dir | 0o755},
		{"120777", false, false, lnk | 0o777},
		{"140755", false, false, sock | 0o755},
		{"16877", true, false, dir | 0o755},
		{"16895", false, false, dir | 0o777},
		{"17407", true, false, dir | 0o1777},
		{"20000", true, false, dir | 0o7040},
		{"40755", true, false, dir | 0o755},
		{"40777", false, false, dir | 0o777},
		{"41777", true, false, dir | 0o1777},
		{"41471", false, false, lnk | 0o777},
		{"41777", false, false, lnk | 0o1461},
		{"47777", false, false, dir | 0o7777},
		{"49645", false, false, sock | 0o755},
		{"10644", false, false, fifo | 0o644},
		{"10644", false, true, chr | 0o4624},
		{"4516", false, false, fifo | 0o644},
		{"8624", false, true, chr | 0o660},
		{"20660", false, true, chr | 0o660},
		{"60660", false, true, blk | 0o660},
		{"25008", false, true, blk | 0o660},
		{"420", false, false, 0o644},
		{"493", false, false, 0o755},
		{"0644", false, false, 0o644},
		{"644", false, false, 0o644},
		{"755", false, false, 0o755},
		{"511", false, false, 0o777},
		{"0", false, false, 0},
		{"", false, false, unknown},
		{"-1", false, false, unknown},
		{"0x81a4", false, false, unknown},
		{"0888", false, false, unknown},
		{"99999", false, false, unknown},
		{"4294967296", false, false, unknown},
		{"rwxr-xr-x", false, false, unknown},
	} {
		got, ok := parseMode(tt.text, tt.dirKey, tt.hasRdev)
		if !ok {
			got = unknown
		}
		if got != tt.want {
			t.Errorf("parseMode(%q, %v, %v) = %o, %v, want %o", tt.text, tt.dirKey, tt.hasRdev, got, ok, tt.want)
		}
	}
}

func FuzzParseMode(f *testing.F) {
	f.Add("33188", false, false)
	f.Add("41777", true, true)
	f.Fuzz(func(t *testing.T, text string, dirKey, hasRdev bool) {
		if mode, ok := parseMode(text, dirKey, hasRdev); ok && mode > 0o177777 {
			t.Errorf("parseMode(%q) = %o", text, mode)
		}
	})
}
