package main

import (
	"strings"
	"testing"
	"time"

	"github.com/thawfs/thawfs/backend"
	"github.com/thawfs/thawfs/fs/recall"
)

func TestRecallOptionsReachTheManager(t *testing.T) {
	o, err := setOptions(t, "recall=explicit,recall_wait=1h,recall-days=7,recall_budget_objects=50,recall_budget_bytes=2TiB", false)
	if err != nil {
		t.Fatal(err)
	}
	got, err := o.recall.recall()
	want := recall.Options{Policy: recall.ExplicitOnly, Wait: time.Hour, Days: 7, DayObjects: 50, DayBytes: 2 << 40}
	if err != nil || got.Policy != want.Policy || got.Wait != want.Wait || got.Days != want.Days || got.DayObjects != want.DayObjects || got.DayBytes != want.DayBytes {
		t.Errorf("recall.Options = %+v, %v, want %+v", got, err, want)
	}
	o, err = setOptions(t, "recall_budget_objects=unlimited,recall_budget_bytes=Unlimited", false)
	if err != nil {
		t.Fatal(err)
	}
	if got, err = o.recall.recall(); err != nil || got.DayObjects >= 0 || got.DayBytes >= 0 || got.Policy != recall.Start {
		t.Errorf("without limits: %+v, %v", got, err)
	}
}

func TestPriceTableIsReadBeforeMounting(t *testing.T) {
	dir := t.TempDir()
	printed := runHere("restore", "--print-prices")
	if printed.code != 0 || !strings.Contains(printed.stdout, `"USD"`) {
		t.Fatalf("--print-prices: %+v", printed)
	}
	mustWrite(t, dir+"/good", strings.Replace(printed.stdout, "USD", "EUR", 1))
	mustWrite(t, dir+"/bad", `{"classes":{}}`)
	o := recallOptions{prices: dir + "/good"}
	if r, err := o.recall(); err != nil || r.Prices.Currency != "EUR" {
		t.Errorf("a table of ours: %+v, %v", r.Prices, err)
	}
	for _, tt := range []struct{ name, want string }{
		{"bad", "date and currency are missing"},
		{"absent", "no such file or directory"},
	} {
		o := runHere("mount", "--recall-prices", dir+"/"+tt.name, "s3://x", dir)
		if o.code != exitFailed || !strings.Contains(o.stderr, tt.want) || !strings.Contains(o.stderr, dir+"/"+tt.name) {
			t.Errorf("a table that is %s: %+v, want %q", tt.name, o, tt.want)
		}
	}
}

func TestArchiveOptionsThatAreWrong(t *testing.T) {
	for _, tt := range []struct{ list, want string }{
		{"recall=maybe", `option "recall": "maybe" is none of open, explicit`},
		{"recall_wait=soon", `option "recall_wait": "soon" is not a time: write 90s, 5m or 2h30m`},
		{"recall_days=0", `option "recall_days": "0" is no number of days: write 1 or more`},
		{"recall_budget_objects=few", `option "recall_budget_objects": "few" is no number of objects: write 5000 or unlimited`},
		{"recall_budget_objects=0", `option "recall_budget_objects": 0 would let nothing come back: write --recall explicit, or a limit`},
		{"recall_budget_bytes=0", `option "recall_budget_bytes": 0 would let nothing come back: write --recall explicit, or a limit`},
		{"recall_budget_bytes=-1", `option "recall_budget_bytes": "-1" is not a size: write 500M (million bytes), 10GiB (2^30) or a number of bytes`},
		{"storage_class=GLACEIR", `option "storage_class": "GLACEIR" is no storage class: did you mean GLACIER?`},
		{"storage_class=very cold", `option "storage_class": "very cold" is no storage class: write GLACIER, DEEP_ARCHIVE or another of the store's own words`},
		{"storage_class_rule=GLACIER", `option "storage_class_rule": "GLACIER" is no rule: write GLOB=CLASS, such as '*.tar=GLACIER'`},
		{"storage_class_rule=*.tar=GLACEIR", `option "storage_class_rule": "GLACEIR" is no storage class: did you mean GLACIER?`},
		{"storage_class_rule=[a=GLACIER", `option "storage_class_rule": "[a" is no pattern: a [ lacks its ]`},
	} {
		t.Run(tt.list, func(t *testing.T) {
			if _, err := setOptions(t, tt.list, false); err == nil || err.Error() != tt.want {
				t.Errorf("-o %s: %v, want %s", tt.list, err, tt.want)
			}
		})
	}
	runHere("mount", "--storage-class", "COLD", "local:x", "/mnt").want(t, exitUsage,
		"thawfs: the local store has no storage class COLD.\nIt has "+strings.Join(knownClasses(), ", ")+".")
}

func TestFirstStorageClassRuleThatMatchesWins(t *testing.T) {
	o, err := setOptions(t, "storage-class=standard-ia,storage_class_rule=*.tar=GLACIER,storage_class_rule=old/**=DEEP_ARCHIVE,storage_class_rule=old/**/keep=STANDARD", false)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"a.tar": "GLACIER", "x/y/a.tar": "GLACIER", "old/a.tar": "GLACIER", "old/x": "DEEP_ARCHIVE",
		"old/deep/keep": "DEEP_ARCHIVE", "older/x": "STANDARD_IA", "a.tar.gz": "STANDARD_IA",
	} {
		if got := o.classes.choose(backend.Ref{Bucket: "b", Key: key}); got != want {
			t.Errorf("class of %q = %q, want %q", key, got, want)
		}
	}
	if got := newOptions().classes.choose(backend.Ref{Key: "x"}); got != "" {
		t.Errorf("without options the class is %q, want none", got)
	}
}

func TestGlob(t *testing.T) {
	for _, tt := range []struct {
		glob    string
		yes, no []string
	}{
		{"*", []string{"a", "x/b"}, nil},
		{"*.raw", []string{".raw", "a.raw", "x/y/a.raw", "é.raw"}, []string{"a.rawx", "a.raw/b"}},
		{"/a", nil, []string{"a", "x/a"}},
		{"x/*", []string{"x/a", "x/"}, []string{"x/a/b", "y/x/a", "x"}},
		{"x/**", []string{"x/a", "x/a/b"}, []string{"x", "xx/a"}},
		{"**/a", []string{"a", "x/a", "x/y/a"}, []string{"xa", "x/ya"}},
		{"x/**/a", []string{"x/a", "x/y/a", "x/y/z/a"}, []string{"xa", "x/ya"}},
		{"?.[a-c]", []string{"x.a", "é.c"}, []string{"xx.a", "x.d", "/.a"}},
		{"d/[!a]", []string{"d/b"}, []string{"d/a", "d//"}},
		{`a\*.(x)`, []string{"a*.(x)"}, []string{"ab.(x)"}},
		{`[\]`, []string{`\`}, nil},
		{"a\nb*", []string{"a\nb\n"}, nil},
		{"x/ü?", []string{"x/üö"}, []string{"x/ü"}},
	} {
		re, err := compileGlob(tt.glob)
		if err != nil {
			t.Errorf("%q: %v", tt.glob, err)
			continue
		}
		for _, key := range tt.yes {
			if !re.MatchString(key) {
				t.Errorf("%q does not match %q", tt.glob, key)
			}
		}
		for _, key := range tt.no {
			if re.MatchString(key) {
				t.Errorf("%q matches %q", tt.glob, key)
			}
		}
	}
	for _, glob := range []string{"[", "[]", "[!]", `a\`, "[z-a]"} {
		if _, err := compileGlob(glob); err == nil {
			t.Errorf("%q: no error", glob)
		}
	}
}
