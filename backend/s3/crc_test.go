package s3

import (
	"errors"
	"math/rand/v2"
	"testing"

	nvme "github.com/minio/crc64nvme"

	"github.com/thawfs/thawfs/backend"
)

func TestCRCOfPartsIsThatOfTheWhole(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	for range 50 {
		var whole []byte
		var parts []backend.Part
		for range r.IntN(6) {
			part := make([]byte, r.IntN(5000))
			for i := range part {
				part[i] = byte(r.Uint32())
			}
			whole = append(whole, part...)
			parts = append(parts, backend.Part{Size: int64(len(part)), CRC: nvme.Checksum(part)})
		}
		want := nvme.Checksum(whole)
		got, err := wholeCRC(parts, &want)
		if err != nil || *got != want {
			t.Fatalf("seed %d: wholeCRC = %v, %v, want %x", seed, got, err, want)
		}
		wrong := want + 1
		if _, err := wholeCRC(parts, &wrong); !errors.Is(err, backend.ErrCorrupt) {
			t.Fatalf("seed %d: wholeCRC against another checksum = %v, want ErrCorrupt", seed, err)
		}
	}
}

func TestCRCOfPartsIsUnknownWithACopiedOne(t *testing.T) {
	known := uint64(7)
	got, err := wholeCRC([]backend.Part{{Size: 1, CRC: 3}, {Size: 5}}, &known)
	if err != nil || got != &known {
		t.Errorf("wholeCRC = %v, %v, want the caller's", got, err)
	}
}
