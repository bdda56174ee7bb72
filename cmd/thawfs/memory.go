package main

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	memoryShare = 4        // of what there is, one part
	mostMemory  = 1 << 30  // bytes
	leastMemory = 64 << 20 // bytes, however small the machine
)

// defaultMemory is what buffers may take unless a flag says otherwise: a quarter of the memory
// that this machine, or the container, has.
func defaultMemory() byteSize {
	var info unix.Sysinfo_t
	total := uint64(mostMemory)
	if unix.Sysinfo(&info) == nil {
		total = info.Totalram * uint64(info.Unit)
	}
	if data, err := os.ReadFile("/sys/fs/cgroup/memory.max"); err == nil { // "max" is no limit
		if limit, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64); err == nil {
			total = min(total, limit)
		}
	}
	return byteSize(min(max(total/memoryShare, leastMemory), mostMemory))
}
