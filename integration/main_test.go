package integration

import (
	"testing"

	"github.com/thawfs/thawfs/integration/servers"
)

func TestMain(m *testing.M) { servers.Main(m) }
