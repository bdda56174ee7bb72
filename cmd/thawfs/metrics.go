package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/thawfs/thawfs/backend"
)

// The metrics are documented in METRICS.md. Labels are operations and outcomes, never keys.

// newRegistry makes a registry of d's own.
func newRegistry(d *daemon) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(metrics{d}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// metrics makes Prometheus' metrics of a status.
type metrics struct{ d *daemon }

// Describe sends nothing: the collector is an unchecked one, since operations turn up at work.
func (m metrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (m metrics) Collect(ch chan<- prometheus.Metric) {
	s := m.d.status(false)
	gauge := func(name, help string, v float64, labels ...string) {
		ch <- metric(prometheus.GaugeValue, name, help, v, labels)
	}
	counter := func(name, help string, v int64, labels ...string) {
		ch <- metric(prometheus.CounterValue, name, help, float64(v), labels)
	}
	gauge("mount_info", "Always 1; labels tell what is mounted.", 1, "version", s.Version, "source", s.Source, "mountpoint", s.Mountpoint)
	gauge("store_up", "1 while the store answers.", float64(btoi(s.Store.State != isDown)))
	gauge("pending_changes", "Changes that the store has not confirmed.", float64(s.Pending.Files))
	gauge("pending_bytes", "Content among them.", float64(s.Pending.Bytes))
	gauge("pending_failed", "Changes whose last attempt failed.", float64(s.Pending.Failed))
	oldest := time.Duration(0)
	if !s.Pending.Oldest.IsZero() {
		oldest = s.At.Sub(s.Pending.Oldest)
	}
	gauge("pending_oldest_seconds", "Age of the oldest change, 0 if there is none.", oldest.Seconds())
	gauge("spool_bytes", "Local files that are written to or wait for their upload.", float64(s.Pending.Staged))
	gauge("spool_capacity_bytes", "What they may take.", float64(s.Pending.Capacity))
	counter("stored_objects_total", "Objects that the store has confirmed.", s.Stored.Objects)
	counter("stored_bytes_total", "Their content.", s.Stored.Bytes)
	counter("stored_deletes_total", "Deletes that the store has confirmed.", s.Stored.Deletes)
	counter("stored_attributes_total", "Changes of attributes alone that it has confirmed.", s.Stored.Attributes)
	counter("stored_copies_total", "Copies inside the store, made by renames.", s.Stored.Copies)
	counter("conflicts_total", "Uploads that came too late and were kept under a name of their own.", s.Stored.Conflicts)
	m.cache(s.Cache, gauge, counter)
	m.recalls(s, gauge)
	counter("errors_total", "Requests of programs answered with EIO.", s.Failures)
	for _, r := range s.Requests {
		for _, o := range []struct {
			outcome string
			n       int64
		}{{"ok", r.OK}, {"refused", r.Refused}, {"failed", r.Failed}, {"slowed", r.Slowed}} {
			counter("store_requests_total", "Requests to the store, each attempt by itself.", o.n, "op", r.Op, "outcome", o.outcome)
		}
		counter("store_sent_bytes_total", "Bodies of requests.", r.Sent, "op", r.Op)
		counter("store_received_bytes_total", "Bodies of answers.", r.Received, "op", r.Op)
		ch <- latency(r)
	}
}

type (
	gaugeFunc   func(name, help string, v float64, labels ...string)
	counterFunc func(name, help string, v int64, labels ...string)
)

func (m metrics) cache(c cacheStatus, gauge gaugeFunc, counter counterFunc) {
	gauge("cache_bytes", "What the cache takes on the disk.", float64(c.Bytes))
	gauge("cache_capacity_bytes", "What it may take.", float64(c.Capacity))
	gauge("cache_pinned_bytes", "What is pinned of it.", float64(c.Pinned))
	gauge("cache_files", "Objects of which something is there.", float64(c.Files))
	gauge("buffer_bytes", "Memory of readers.", float64(c.Memory))
	counter("cache_hits_total", "Reads answered from this machine.", c.Hits)
	counter("cache_misses_total", "Reads that waited for the store.", c.Misses)
	counter("cache_fetched_bytes_total", "Content fetched from the store.", c.Fetched)
	counter("cache_evictions_total", "Blocks that made room for others.", c.Evictions)
	counter("cache_corrupt_total", "Pieces on the disk that were damaged, and fetched anew.", c.Corrupt)
}

func (m metrics) recalls(s status, gauge gaugeFunc) {
	for phase, t := range map[string]struct {
		objects int
		bytes   int64
	}{
		"on_the_way": {s.Recalls.OnTheirWay.Objects, s.Recalls.OnTheirWay.Bytes},
		"readable":   {s.Recalls.Readable.Objects, s.Recalls.Readable.Bytes},
	} {
		gauge("recalls", "Archived objects that were asked for.", float64(t.objects), "phase", phase)
		gauge("recall_bytes", "Their size.", float64(t.bytes), "phase", phase)
	}
	gauge("recalls", "Archived objects that were asked for.", float64(s.Recalls.Failed), "phase", "failed")
	gauge("recall_budget_objects", "Restores of today (UTC).", float64(s.Budget.Objects))
	gauge("recall_budget_objects_limit", "What a day may take; -1: no limit.", float64(max(s.Budget.MaxObjects, -1)))
	gauge("recall_budget_bytes", "Their size.", float64(s.Budget.Bytes))
	gauge("recall_budget_bytes_limit", "What a day may take; -1: no limit.", float64(max(s.Budget.MaxBytes, -1)))
	gauge("recall_cost_today", "What they cost, estimated.", s.Budget.Cost, "currency", s.Currency)
}

// metric makes one; labels are names and values in turn.
func metric(kind prometheus.ValueType, name, help string, v float64, labels []string) prometheus.Metric {
	var names, values []string
	for i := 0; i+1 < len(labels); i += 2 {
		names, values = append(names, labels[i]), append(values, labels[i+1])
	}
	return prometheus.MustNewConstMetric(prometheus.NewDesc("thawfs_"+name, help, names, nil), kind, v, values...)
}

func latency(r requests) prometheus.Metric {
	buckets := map[float64]uint64{}
	for i, step := range backend.MeterSteps() {
		if i < len(r.Within) {
			buckets[step.Seconds()] = uint64(r.Within[i])
		}
	}
	return prometheus.MustNewConstHistogram(
		prometheus.NewDesc("thawfs_store_request_seconds", "How long the store took to begin its answers.", []string{"op"}, nil),
		uint64(r.Count), r.Time.Seconds(), buckets, r.Op)
}
