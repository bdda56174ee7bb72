package servers

import "testing"

// Tool returns the path of a Debian program that a test drives (restic, rsync, sqlite3, ...).
// As root it installs the program if it is missing; otherwise the test fails and names the
// command to run.
func Tool(t testing.TB, program string) string { t.Helper(); return "" }
