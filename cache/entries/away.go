package entries

import "time"

// outage is how much older than usual an answer may be while the store does not give new ones.
const outage = 24 * time.Hour

// Away says that the store does not answer. For the time d, what it said before is believed
// although it is too old, unless Back is called before: the alternative is to know nothing.
func (c *Cache) Away(d time.Duration) { c.away.Store(time.Now().Add(d).UnixNano()) }

// Back says that the store answers again: only what is young enough is believed from here on.
// It reports whether there was an outage.
func (c *Cache) Back() bool { return c.away.Load() != 0 && c.away.Swap(0) != 0 }

// believed is the time by which answers are judged to be too old.
func (c *Cache) believed() time.Time {
	now := time.Now()
	if now.UnixNano() < c.away.Load() {
		return now.Add(-outage)
	}
	return now
}
