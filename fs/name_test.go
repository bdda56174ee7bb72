package fs

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestNamesOfComponents(t *testing.T) {
	long := strings.Repeat("é", 200)
	for _, tt := range []struct {
		component string
		kind      elemKind
		name      string
	}{
		{"a", plainElem, "a"},
		{"Ünïcode ☃", plainElem, "Ünïcode ☃"},
		{"tab\tline\n\x01\x7f", plainElem, "tab\tline\n\x01\x7f"},
		{"%41", plainElem, "%41"},
		{"%thaw", plainElem, "%thaw"},
		{"...", plainElem, "..."},
		{".hidden", plainElem, ".hidden"},
		{"a~b", plainElem, "a~b"},
		{strings.Repeat("x", 255), plainElem, strings.Repeat("x", 255)},
		{"", plainElem, "%thaw-empty"},
		{"", objectElem, "%thaw-data"},
		{".", plainElem, "%thaw-dot"},
		{"..", plainElem, "%thaw-dotdot"},
		{"a", objectElem, "%thaw-file-a"},
		{"..", objectElem, "%thaw-file-.."},
		{"%thaw-empty", plainElem, "%thaw-%thaw-empty"},
		{"%thaw-%thaw-empty", plainElem, "%thaw-%thaw-%thaw-empty"},
		{"%thaw-", plainElem, "%thaw-%thaw-"},
		{"%thaw-file-a", objectElem, "%thaw-file-%thaw-file-a"},
		{"%thaw-bytes-caf%E9", plainElem, "caf\xe9"},
		{"%thaw-bytes-%25thaw-%FF", plainElem, "%thaw-\xff"},
		{"%thaw-bytes-caf%e9", plainElem, "%thaw-%thaw-bytes-caf%e9"},
		{"%thaw-bytes-cafe", plainElem, "%thaw-%thaw-bytes-cafe"},
		{"%thaw-bytes-%FF%2F", plainElem, "%thaw-%thaw-bytes-%FF%2F"},
		{"%thaw-bytes-%FF%00", plainElem, "%thaw-%thaw-bytes-%FF%00"},
		{"%thaw-bytes-%F", plainElem, "%thaw-%thaw-bytes-%F"},
		{long, plainElem, "%thaw-long-" + strings.Repeat("é", 105) + "~"},
		{long, objectElem, "%thaw-longfile-" + strings.Repeat("é", 103) + "~"},
		{strings.Repeat("x", 250), objectElem, "%thaw-longfile-" + strings.Repeat("x", 207) + "~"},
	} {
		got := elemName(tt.component, tt.kind)
		want := tt.name
		if strings.HasSuffix(want, "~") { // the hash is tested for its properties
			got = got[:min(len(got), len(want))]
		}
		if got != want {
			t.Errorf("elemName(%q, %d) = %q, want %q", tt.component, tt.kind, got, want)
		}
	}
}

// What is in a bucket today must have the same name for ever.
func TestShortNamesAreStable(t *testing.T) {
	want := "%thaw-long-" + strings.Repeat("x", 211) + "~0d4e2ca9e9cbced7a7a5380eb29e1a37"
	if got := elemName(strings.Repeat("x", 300), plainElem); got != want || len(got) != maxName {
		t.Errorf("elemName of 300 x = %q, want %q", got, want)
	}
}

func TestNamesThatStandForNothing(t *testing.T) {
	for _, tt := range []struct {
		name string
		want error
	}{
		{"", errNameInvalid},
		{".", errNameInvalid},
		{"..", errNameInvalid},
		{"a/b", errNameInvalid},
		{"a\x00", errNameInvalid},
		{strings.Repeat("x", 256), errNameTooLong},
		{"%thaw-", errNameReserved},
		{"%thaw-x", errNameReserved},
		{"%thaw-file-", errNameReserved},
		{"%thaw-emptyx", errNameReserved},
		{"%thaw-bytes-caf%E9", errNameReserved}, // its file is called caf\xe9
		{"%thaw-%thaw-bytes-caf%E9", errNameReserved},
		{"%thaw-file-" + strings.Repeat("x", 244), nil},
		{"%thaw-long-x", errNameShort},
		{"%thaw-longfile-x", errNameShort},
	} {
		if component, _, err := elemComponent(tt.name); !errors.Is(err, tt.want) {
			t.Errorf("elemComponent(%q) = %q, %v; want %v", tt.name, component, err, tt.want)
		}
	}
}

// drawComponent draws parts of keys, with a bent for the shapes that need escapes.
func drawComponent(t *rapid.T, label string) string {
	plain := rapid.StringOf(rapid.RuneFrom([]rune("a.%~-é\n\u2028"))).Filter(validComponent)
	escaped := rapid.SampledFrom([]string{
		"", ".", "..", "%thaw-", "%thaw-empty", "%thaw-data", "%thaw-dot", "%thaw-file-", "%thaw-bytes-",
		"%thaw-bytes-%FF", "%thaw-bytes-%25", "%thaw-long-", "%thaw-longfile-", "%thaw-long-x~0123456789abcdef0123456789abcdef",
	})
	tail := rapid.Custom(func(t *rapid.T) string {
		return escaped.Draw(t, "mark") + rapid.SampledFrom([]string{"", "a", "%FF", "%E9x", "%thaw-", ".", strings.Repeat("y", 300)}).Draw(t, "tail")
	})
	long := rapid.Custom(func(t *rapid.T) string {
		return escaped.Draw(t, "mark") + strings.Repeat(rapid.SampledFrom([]string{"x", "é", "☃"}).Draw(t, "rune"), rapid.IntRange(70, 300).Draw(t, "times"))
	})
	return rapid.OneOf(plain, escaped, tail, long, rapid.String().Filter(validComponent)).Draw(t, label)
}

func validComponent(s string) bool { return utf8.ValidString(s) && !strings.ContainsAny(s, "/\x00") }

func drawKind(t *rapid.T, label string) elemKind {
	return rapid.SampledFrom([]elemKind{plainElem, objectElem}).Draw(t, label)
}

func TestEveryComponentHasAName(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		component, kind := drawComponent(t, "component"), drawKind(t, "kind")
		if err := checkElem(component, kind); err != nil {
			t.Fatal(err)
		}
	})
}

// checkElem says what is wrong with the name of a component.
func checkElem(component string, kind elemKind) error {
	name := elemName(component, kind)
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") || len(name) > maxName {
		return fmt.Errorf("elemName(%q, %d) = %q, no path element", component, kind, name)
	}
	ordinary := component != "" && component != "." && component != ".." && !strings.HasPrefix(component, marker) && len(component) <= maxName
	if kind == plainElem && ordinary != (name == component) {
		return fmt.Errorf("elemName(%q) = %q", component, name)
	}
	got, gotKind, err := elemComponent(name)
	if shortKind, short := isShortName(name); short {
		if shortKind != kind || !errors.Is(err, errNameShort) || !utf8.ValidString(name) {
			return fmt.Errorf("elemName(%q, %d) = %q of kind %d, and back: %v", component, kind, name, shortKind, err)
		}
		return nil
	}
	if err != nil || got != component || gotKind != kind {
		return fmt.Errorf("elemComponent(elemName(%q, %d) = %q) = %q, %d, %v", component, kind, name, got, gotKind, err)
	}
	return nil
}

func TestNoTwoComponentsHaveOneName(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, aKind := drawComponent(t, "a"), drawKind(t, "a's kind")
		b, bKind := drawComponent(t, "b"), drawKind(t, "b's kind")
		if (a != b || aKind != bKind) && elemName(a, aKind) == elemName(b, bKind) {
			t.Fatalf("%q, %d and %q, %d are both called %q", a, aKind, b, bKind, elemName(a, aKind))
		}
	})
}

// checkName says what is wrong with the component of a name.
func checkName(name string) error {
	component, kind, err := elemComponent(name)
	if err != nil {
		return nil
	}
	if !validComponent(component) {
		return fmt.Errorf("elemComponent(%q) = %q, no part of a key", name, component)
	}
	if again := elemName(component, kind); again != name {
		return fmt.Errorf("elemComponent(%q) = %q, %d, which is called %q", name, component, kind, again)
	}
	return nil
}

func FuzzName(f *testing.F) {
	for _, s := range []string{"a", "", "..", "%thaw-empty", "%thaw-bytes-caf%E9", "caf\xe9", "%thaw-\xff", "%thaw-file-%thaw-data", strings.Repeat("é", 130)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if err := checkName(s); err != nil {
			t.Error(err)
		}
		if !validComponent(s) {
			return
		}
		for _, kind := range []elemKind{plainElem, objectElem} {
			if err := checkElem(s, kind); err != nil {
				t.Error(err)
			}
		}
	})
}
