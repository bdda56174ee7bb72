# make            builds ./thawfs, a static binary
# make demo       builds it and mounts a store to play with below ./thawfs-demo
# make test       everything but the slow tests, on real mounts and real servers, with the race detector
# make test-slow  the slow tests too: files of many GiB, hours of random operations
# make fuzz       random bytes for each parser of foreign ones, a minute each
# make bench      workloads on a real mount beside the bare SDK, near and far, and benchmarks of the parts;
#                 BENCH="-quick -work seqread" narrows it down (go run ./integration/bench -help)
# make lint       gofmt, gofumpt, go vet, staticcheck
# make package    deb, rpm and tarball in dist, with a list of what is in them (SBOM)
# make clean      what the above left in this directory

GO ?= go
export CGO_ENABLED ?= 0
lint := .cache/lint

.DEFAULT_GOAL := build
.PHONY: fuzz build demo servers browser test test-slow bench lint package clean

build:
	$(GO) build -trimpath -o thawfs ./cmd/thawfs

demo: build
	@./thawfs demo

# The race detector needs cgo; the product does not.
test test-slow: export CGO_ENABLED = 1

# Real S3 and Swift servers, built once into .cache and found there by the tests.
servers:
	$(GO) run ./integration/servers/cmd/servers install

# Chromium, in which the status page is tested.
browser:
	@command -v chromium >/dev/null || { apt-get update && apt-get install -y --no-install-recommends chromium; }

# Packages in turn with two at a time: more of them only fight for the disk and the servers.
test: servers browser
	$(GO) test -race -short -p 2 -timeout 45m ./...

test-slow: servers browser fuzz
	$(GO) test -race -p 1 -timeout 4h ./...

# Each parser of foreign bytes gets a minute of new ones. What fails is kept in its testdata.
FUZZTIME ?= 1m
fuzz:
	@grep -rl --include='*_test.go' '^func Fuzz' . | while read -r file; do \
		sed -n 's/^func \(Fuzz[A-Za-z0-9]*\).*/\1/p' "$$file" | while read -r name; do \
			echo "$$file $$name"; \
			$(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$$(dirname "$$file")" </dev/null || exit 1; \
		done || exit 1; \
	done

bench: servers
	@mkdir -p .cache
	$(GO) run ./integration/bench -json .cache/bench-near.json $(BENCH)
	$(GO) run ./integration/bench -json .cache/bench-far.json -latency 20ms -rate 90e6 $(BENCH)
	$(GO) test -run '^$$' -bench . -benchmem -p 1 -timeout 2h ./...

# gofumpt is stricter than gofmt and includes it. The linters have their own module (tools/).
lint:
	$(GO) build -C tools -o ../$(lint)/ tool
	@unformatted=$$($(lint)/gofumpt -l $$(git ls-files -co --exclude-standard '*.go')) || exit 1; \
	if [ -n "$$unformatted" ]; then echo "not formatted (gofumpt -w):" $$unformatted; exit 1; fi
	$(GO) vet ./...
	$(lint)/staticcheck ./...

# The same commit makes the same bytes.
package: export SOURCE_DATE_EPOCH = $(shell git log -1 --format=%ct)
package:
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=true -ldflags '-s -w' -o .cache/package/thawfs ./cmd/thawfs
	$(GO) build -C tools/package -trimpath -o ../../.cache/package/package .
	.cache/package/package -binary .cache/package/thawfs -root . -out dist
	@ls -l dist

clean:
	rm -rf thawfs .cache dist
	$(GO) clean -testcache
