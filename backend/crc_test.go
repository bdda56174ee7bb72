package backend

import (
	"hash/crc64"
	"math/rand/v2"
	"testing"

	"github.com/minio/crc64nvme"
)

func TestCombinedSumIsThatOfTheWhole(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	body := make([]byte, 100_000)
	for i := range body {
		body[i] = byte(rng.Uint32())
	}
	want := crc64.Checksum(body, crc64.MakeTable(nvme))
	for _, cut := range []int{0, 1, 7, 8, 4096, 99_999, 100_000} {
		a, b := body[:cut], body[cut:]
		got := CombineCRC(crc64nvme.Checksum(a), crc64nvme.Checksum(b), int64(len(b)))
		if got != want {
			t.Errorf("CombineCRC cut at %d = %016x, want %016x", cut, got, want)
		}
	}
}
