package fstest

import (
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Every story can be written down and read back.
func TestStoriesReadAsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(Stories(20), ColdStories(20), PairStories(20)).Draw(t, "story")
		got, err := ParseStory(s.String())
		if err != nil || !reflect.DeepEqual(got, s) {
			t.Fatalf("ParseStory(%q) = %+v, %v, want %+v", s, got, err, s)
		}
	})
}

func TestParseStoryTellsTheLine(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"look\nfly d", `line 2, "fly d": no operation`},
		{"write 0 5", "has 2 arguments, want 4"},
		{"write 9 5 5 x", "slot 9"},
		{"write x 5 5 x", "invalid syntax"},
		{"open 0 a rw+fast", "no flag"},
		{"setup colour=red", "no setting"},
		{`put "a 5 x ""`, "invalid syntax"},
		{"# nothing\n\n  look", ""},
	} {
		_, err := ParseStory(tt.text)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("ParseStory(%q): %v, want %q", tt.text, err, tt.want)
		}
	}
}

func TestRegressionsCanBeRead(t *testing.T) {
	for name, text := range Regressions() {
		if s, err := ParseStory(text); err != nil || len(s.Ops) == 0 {
			t.Errorf("%s: %d operations, %v", name, len(s.Ops), err)
		}
	}
}

func TestShrinkLeavesWhatIsNeeded(t *testing.T) {
	s, err := ParseStory("look\nsave a 5 x\nlook\nlook\nmkdir d 0755\nlook\nrename a b\nlook\nlook")
	if err != nil {
		t.Fatal(err)
	}
	has := func(s Story, v Verb) bool { return strings.Contains(s.String(), string(v)+" ") }
	got := Shrink(s, func(s Story) bool { return has(s, Save) && has(s, Rename) })
	if len(got.Ops) != 2 || !has(got, Save) || !has(got, Rename) {
		t.Errorf("shrunk to\n%s", got)
	}
}
