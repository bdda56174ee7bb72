package recall

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"

	"github.com/thawfs/thawfs/backend"
)

//go:embed prices.json
var defaultPrices []byte

// Prices is a table of what restores cost. Prices change and differ by region and contract,
// so the one that is built in (prices.json) is an example with a date, to be replaced by a
// file of the user's in the same form.
type Prices struct {
	Date     string `json:"date"` // when somebody last looked, as 2006-01-02
	Region   string `json:"region"`
	Currency string `json:"currency"`
	Source   string `json:"source"`

	// CopyGiBMonth is what a GiB of the readable copy costs in 30 days, beside the archive.
	CopyGiBMonth float64 `json:"copy_gib_month"`

	Classes map[string]map[string]Price `json:"classes"` // by storage class and tier
}

// Price is what restores of one class and tier cost.
type Price struct {
	GiB      float64 `json:"gib"`      // each GiB retrieved
	Thousand float64 `json:"thousand"` // each thousand requests
}

// DefaultTable is the table that is built in, as text to begin a file of one's own with.
func DefaultTable() []byte { return bytes.Clone(defaultPrices) }

// DefaultPrices returns the table that is built in.
func DefaultPrices() (*Prices, error) { return parsePrices(defaultPrices) }

// LoadPrices reads a table from a file.
func LoadPrices(path string) (*Prices, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p, err := parsePrices(b)
	if err != nil {
		return nil, fmt.Errorf("price table %s: %w", path, err)
	}
	return p, nil
}

// parsePrices is strict: a misspelt name would otherwise be a price of nothing.
func parsePrices(b []byte) (*Prices, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	p := &Prices{}
	if err := d.Decode(p); err != nil {
		return nil, fmt.Errorf("%w: %w", backend.ErrInvalid, err)
	}
	return p, p.check()
}

func (p *Prices) check() error {
	if p.Currency == "" || p.Date == "" {
		return fmt.Errorf("%w: date and currency are missing", backend.ErrInvalid)
	}
	for class, tiers := range p.Classes {
		for tier, price := range tiers {
			if price.GiB < 0 || price.Thousand < 0 {
				return fmt.Errorf("%w: negative price of %s %s", backend.ErrInvalid, class, tier)
			}
		}
	}
	if p.CopyGiBMonth < 0 {
		return fmt.Errorf("%w: negative price of the copy", backend.ErrInvalid)
	}
	return nil
}

// Estimate is what it costs to restore objects of a class with size bytes together and to
// keep the copies for days; known is false if the table lacks the class or the tier.
func (p *Prices) Estimate(class, tier string, objects int, size int64, days int) (cost float64, known bool) {
	price, known := p.Classes[class][tier]
	if !known {
		return 0, false
	}
	gib := float64(size) / (1 << 30)
	copies := gib * p.CopyGiBMonth * float64(max(days, 0)) / 30
	return gib*price.GiB + float64(objects)/1000*price.Thousand + copies, true
}
