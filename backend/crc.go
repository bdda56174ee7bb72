package backend

// nvme is the polynomial of CRC64NVME, reflected: the highest bit is x^0 (NVM Express NVM
// Command Set Specification, 64-bit CRC; a parameter of hash/crc64 in this same form).
const nvme = 0x9a6c9329ac4bc9b5

// CombineCRC returns the CRC64NVME of two bodies in a row from the sums of each and the
// length in bytes of the second.
//
// A sum is the remainder of its body as a polynomial, so a body before n bytes weighs
// x^(8n) times as much. The inversions at the begin and end of the sums cancel out, as they
// do in crc32_combine of zlib.
func CombineCRC(a, b uint64, n int64) uint64 {
	weight, square := uint64(1<<63), uint64(1<<55) // 1 and x^8
	for ; n > 0; n >>= 1 {
		if n&1 != 0 {
			weight = multiply(square, weight)
		}
		square = multiply(square, square)
	}
	return multiply(weight, a) ^ b
}

// multiply returns the product of two reflected polynomials modulo nvme.
func multiply(a, b uint64) uint64 {
	var p uint64
	for m := uint64(1 << 63); m != 0; m >>= 1 {
		if a&m != 0 {
			p ^= b
		}
		carry := b & 1
		b >>= 1
		if carry != 0 {
			b ^= nvme
		}
	}
	return p
}
