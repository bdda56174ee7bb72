package writeback

// nvmePoly is the polynomial of CRC64NVME, bits reversed (NVM Express NVM Command Set
// Specification, section 5.2.1.3.4).
const nvmePoly = 0x9a6c9329ac4bc9b5

// A crcShift is the linear map, over GF(2), that takes a CRC past a number of zero bytes.
// Column i is the image of bit i.
type crcShift [64]uint64

func (m *crcShift) times(v uint64) uint64 {
	var sum uint64
	for i := 0; v != 0; i, v = i+1, v>>1 {
		if v&1 != 0 {
			sum ^= m[i]
		}
	}
	return sum
}

func (m *crcShift) squared() *crcShift {
	var s crcShift
	for i, column := range m {
		s[i] = m.times(column)
	}
	return &s
}

// crcJoiner computes checksums of concatenations from those of the pieces. It remembers the
// map for one length: parts mostly have the same.
type crcJoiner struct {
	n     int64
	shift *crcShift
}

// join is the CRC64NVME of a followed by b, where b has n bytes.
func (c *crcJoiner) join(a, b uint64, n int64) uint64 {
	if n == 0 {
		return a
	}
	if c.shift == nil || c.n != n {
		c.n, c.shift = n, shiftBytes(n)
	}
	return c.shift.times(a) ^ b
}

func shiftBytes(n int64) *crcShift {
	var bit, sum crcShift
	bit[0] = nvmePoly
	for i := range 63 {
		bit[i+1] = 1 << i
	}
	for i := range sum {
		sum[i] = 1 << i
	}
	power := bit.squared().squared().squared() // one byte
	for ; n > 0; n >>= 1 {
		if n&1 != 0 {
			for i, column := range sum {
				sum[i] = power.times(column)
			}
		}
		power = power.squared()
	}
	return &sum
}
