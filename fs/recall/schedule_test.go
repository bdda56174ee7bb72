package recall

import (
	"testing"
	"time"
)

// looks returns at what ages a restore is looked at that takes so long.
func looks(takes time.Duration, s span, tree, waited bool) (ages []time.Duration) {
	age := time.Duration(0)
	for age < takes {
		age += untilLook(age, s, tree, waited)
		ages = append(ages, age)
	}
	return ages
}

func TestLooksAreFewAndInTime(t *testing.T) {
	for _, tt := range []struct {
		name         string
		takes        time.Duration
		class, tier  string
		tree, waited bool
		most         int           // looks
		late         time.Duration // at most
	}{
		{"a store of seconds", 3 * time.Second, glacier, standard, false, false, 3, 3 * time.Second},
		{"a demo", 15 * time.Second, glacier, standard, false, false, 5, 5 * time.Second},
		{"a store of minutes", 10 * time.Minute, glacier, standard, false, false, 11, 10 * time.Minute},
		{"expedited", 3 * time.Minute, glacier, expedited, false, false, 14, 20 * time.Second},
		{"standard", 4 * time.Hour, glacier, standard, false, false, 25, 12 * time.Minute},
		{"standard, waited for", 4 * time.Hour, glacier, standard, false, true, 100, time.Minute},
		{"standard, in a tree", 4 * time.Hour, glacier, standard, true, false, 22, 12 * time.Minute},
		{"bulk", 11 * time.Hour, glacier, bulk, true, false, 60, 15 * time.Minute},
		{"deep", 12 * time.Hour, deepArchive, standard, false, false, 80, 15 * time.Minute},
		{"deep bulk", 48 * time.Hour, deepArchive, bulk, true, false, 160, 15 * time.Minute},
		{"overdue", 24 * time.Hour, glacier, standard, false, false, 190, 15 * time.Minute},
		{"unknown words", 4 * time.Hour, "COLD", "", false, false, 40, 15 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ages := looks(tt.takes, usual(tt.class, tt.tier), tt.tree, tt.waited)
			if len(ages) > tt.most {
				t.Errorf("%d looks, want at most %d: %v", len(ages), tt.most, ages)
			}
			if late := ages[len(ages)-1] - tt.takes; late > tt.late {
				t.Errorf("seen %v late, want at most %v", late, tt.late)
			}
		})
	}
}

func TestLooksNeverCrowd(t *testing.T) {
	for _, s := range []span{{}, {0, time.Second}, {time.Hour, 2 * time.Hour}, {3 * time.Hour, time.Hour}} {
		for age := time.Duration(0); age < 100*time.Hour; age += 7*time.Second + age/100 {
			if d := untilLook(age, s, false, true); d < firstLook || d > maxLook && age >= s.least {
				t.Fatalf("untilLook(%v, %v) = %v", age, s, d)
			}
		}
	}
}

func TestTiers(t *testing.T) {
	for _, tt := range []struct {
		class, wanted string
		tree          bool
		want          string
		fails         bool
	}{
		{glacier, "", false, standard, false},
		{glacier, "", true, bulk, false},
		{glacier, expedited, false, expedited, false},
		{deepArchive, "", false, standard, false},
		{deepArchive, "", true, bulk, false},
		{deepArchive, expedited, false, "", true},
		{glacier, "bulk", false, "", true}, // mistyped: the store would refuse it, and opens with it for a while
		{glacier, "Sonic", true, "", true},
		{tiering, "", false, standard, false},
		{"COLD", "", false, "", false},
		{"COLD", "", true, "", false},
		{"COLD", "Sonic", true, "Sonic", false},
	} {
		got, err := tierFor(tt.class, tt.wanted, tt.tree)
		if got != tt.want || (err != nil) != tt.fails {
			t.Errorf("tierFor(%q, %q, %v) = %q, %v, want %q", tt.class, tt.wanted, tt.tree, got, err, tt.want)
		}
	}
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{standard, bulk, true},
		{expedited, bulk, true},
		{bulk, standard, false},
		{standard, standard, false},
		{expedited, "", false},
		{"Sonic", bulk, false},
		{"", bulk, false},
	} {
		if got := faster(tt.a, tt.b); got != tt.want {
			t.Errorf("faster(%q, %q) = %v", tt.a, tt.b, got)
		}
	}
	if d := daysFor(tiering, 5, 3); d != 0 {
		t.Errorf("days of %s: %d, want none", tiering, d)
	}
	if d := daysFor(glacier, 0, 3); d != 3 {
		t.Errorf("usual days: %d", d)
	}
}

func TestPrices(t *testing.T) {
	p, err := DefaultPrices()
	must(t, err)
	// The worked case: 1,000 objects of together 100 GiB, Standard, copies kept 3 days.
	got, known := p.Estimate(glacier, standard, 1000, 100<<30, 3)
	if want := 100*0.01 + 0.05 + 100*0.023*3/30; !known || got < want-1e-9 || got > want+1e-9 {
		t.Errorf("Estimate = %v, %v, want %v", got, known, want)
	}
	if _, known := p.Estimate(deepArchive, expedited, 1, 1, 1); known {
		t.Error("a tier that does not exist has a price")
	}
	for _, bad := range []string{
		`{}`, `{"date":"x","currency":"EUR","colour":"red"}`, `{"date":"x","currency":"EUR","copy_gib_month":-1}`,
		`{"date":"x","currency":"EUR","classes":{"A":{"B":{"gib":-1}}}}`, `[]`,
	} {
		if _, err := parsePrices([]byte(bad)); err == nil {
			t.Errorf("%s is a price table", bad)
		}
	}
}
