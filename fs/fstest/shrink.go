package fstest

import "slices"

// Shrink leaves operations of s out as long as what is left fails, first many at a time. A
// story that fails now and then shrinks too if fails tries more than once.
func Shrink(s Story, fails func(Story) bool) Story {
	for n := len(s.Ops); n > 0; n /= 2 {
		for i := 0; i < len(s.Ops); {
			shorter := s
			shorter.Ops = slices.Delete(slices.Clone(s.Ops), i, min(i+n, len(s.Ops)))
			if fails(shorter) {
				s = shorter
			} else {
				i += n
			}
		}
	}
	return s
}
