package main

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// kindOf names a request by what it is billed as, from its head.
func kindOf(head []byte) string {
	line, _, _ := bytes.Cut(head, []byte("\r\n"))
	method, rest, _ := strings.Cut(string(line), " ")
	target, _, _ := strings.Cut(rest, " ")
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return "?"
	}
	q := u.Query()
	_, key, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	copies := bytes.Contains(bytes.ToLower(head), []byte("\r\nx-amz-copy-source:"))
	switch {
	case q.Has("list-type"):
		return "LIST"
	case q.Has("uploads") && method == "POST":
		return "CREATE"
	case q.Has("uploads"):
		return "LISTUPLOADS"
	case q.Has("delete"):
		return "DELETES"
	case q.Has("uploadId"):
		switch {
		case copies:
			return "PARTCOPY"
		case method == "PUT":
			return "PART"
		case method == "POST":
			return "COMPLETE"
		case method == "DELETE":
			return "ABORT"
		}
		return "LISTPARTS"
	case copies:
		return "COPY"
	case key == "":
		return method + "BUCKET"
	}
	return method
}

// difference is what was counted between two snapshots, without zeros.
func difference(before, after map[string]int64) map[string]int64 {
	d := map[string]int64{}
	for kind, n := range after {
		if n -= before[kind]; n > 0 {
			d[kind] = n
		}
	}
	return d
}

// describe is as in "10 LIST, 1000 GET", the most frequent first.
func describe(counts map[string]int64) string {
	kinds := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), strings.Compare(a, b))
	})
	var parts []string
	for _, kind := range kinds {
		parts = append(parts, fmt.Sprintf("%d %s", counts[kind], kind))
	}
	if parts == nil {
		return "none"
	}
	return strings.Join(parts, ", ")
}
