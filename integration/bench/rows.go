package main

// workloads in the order they run.
var workloads = []workload{
	{"seqread", seqRead},
	{"parread", parRead},
	{"firstbyte", firstByte},
	{"seqwrite", seqWrite},
	{"small", smallFiles},
	{"copy", copyTree},
	{"list", list},
	{"find", find},
	{"rmrf", removeAll},
	{"untar", untar},
	{"memory", stream},
}

// newRows are the lines of the report with what is expected of each.
func newRows() []*row {
	ratio := func(near, far float64) func(bool) target {
		return func(distant bool) target {
			if distant {
				return target{bound: far}
			}
			return target{bound: near}
		}
	}
	value := func(near, far float64) func(bool) target {
		return func(distant bool) target {
			t := ratio(near, far)(distant)
			t.absolute = true
			return t
		}
	}
	const mb, one, ms = 1e6, 1, 1e3
	return []*row{
		{Name: "seqread cold", Unit: "MB/s", Baseline: "raw", times: mb, target: ratio(0.70, 0.90)},
		{Name: "seqread warm", Unit: "MB/s", Baseline: "local", times: mb, target: ratio(0.95, 0.95)},
		{Name: "rand4k warm", Unit: "IOPS", Baseline: "local", times: one, target: ratio(0.6, 0.6)},
		{Name: "parread cold", Unit: "MB/s", Baseline: "raw", times: mb, target: ratio(0.75, 0.90)},
		{Name: "first byte", Unit: "ms", Baseline: "raw", lower: true, times: ms, target: ratio(1.3, 1.3)},
		{Name: "first byte, new mount", Unit: "ms", Baseline: "raw", lower: true, times: ms},
		{Name: "seqwrite fsync", Unit: "MB/s", Baseline: "raw", times: mb, target: ratio(0.85, 0.95)},
		{Name: "create+close", Unit: "files/s", Baseline: "local", times: one, target: value(2500, 2500)},
		{Name: "create durable", Unit: "files/s", Baseline: "raw", times: one, target: ratio(0.80, 0.80)},
		{Name: "small cold tar", Unit: "files/s", Baseline: "raw", times: one, target: value(1500, 400)},
		{Name: "cp -r cold", Unit: "files/s", times: one},
		{Name: "ls -l cold", Unit: "ms", Baseline: "raw", lower: true, times: ms, target: ratio(1.3, 1.3)},
		{Name: "ls -l warm", Unit: "ms", Baseline: "local", lower: true, times: ms, target: value(60, 60)},
		{Name: "find cold", Unit: "ms", Baseline: "raw", lower: true, times: ms, target: ratio(1.5, 1.5)},
		{Name: "rm -rf durable", Unit: "files/s", Baseline: "raw", times: one, target: ratio(0.5, 0.5)},
		{Name: "untar durable", Unit: "files/s", Baseline: "raw", times: one, target: ratio(0.75, 0.75)},
		{Name: "stream both ways", Unit: "MB/s", times: mb},
	}
}
