# Muster. `make help` lists every target; CI runs the same ones (.ci/run).

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS   += --no-print-directory

GO      ?= go
ARCH    ?= $(shell $(GO) env GOARCH)
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
NODES   ?= 3
SEEDS   ?= 200
SIZES   ?= 3,10,50,200
DIST    ?= dist
BENCH   ?= full
RNACOS  ?= 0.8.8

# Tools are modules, pinned in hack/tools; nothing is downloaded as a binary. The linter has a module of its own,
# because its dependency graph would move the versions of the others.
TOOL   := $(GO) tool -modfile=hack/tools/go.mod
LINT   := $(GO) tool -modfile=hack/tools/lint/go.mod golangci-lint
GINKGO := $(TOOL) ginkgo run $(if $(CI),--no-color)
LAB    := $(GO) run ./hack/lab

# The race detector needs a C compiler; without one the tests still run, and say so.
RACE := $(if $(shell command -v $${CC:-gcc}),-race)

# A suite that starts an API server is one that imports ginkgo; all other packages are plain `go test`.
SUITES      = $(shell $(GO) list -f '{{$$d := .ImportPath}}{{range .TestImports}}{{if eq . "github.com/onsi/ginkgo/v2"}}{{$$d}}{{end}}{{end}}{{range .XTestImports}}{{if eq . "github.com/onsi/ginkgo/v2"}}{{$$d}}{{end}}{{end}}' ./...)
ENVTESTS    = $(filter-out %/test/e2e,$(SUITES))
PLAIN       = $(filter-out $(SUITES) %/test/sim,$(shell $(GO) list ./...))
# Modules besides the main one that hold code of ours.
SUBMODULES := $(patsubst %/go.mod,%,$(wildcard test/clients/*/go.mod))

##@ Start here

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-zA-Z0-9_-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' Makefile

.PHONY: demo
demo: ## The main job on a real Kubernetes: cluster, operator, registry, clients, a pod that dies (PUSH=host/path: images for a cluster of yours)
	$(GO) run ./hack/demo --version $(VERSION) $(if $(PUSH),--push $(PUSH))

.PHONY: run
run: ## One standalone registry on the usual ports (ARGS="..." for flags)
	$(GO) run ./cmd/registry $(ARGS)

##@ Build

.PHONY: build
build: ## The programs of cmd/, into bin/
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags='-s -w -X main.version=$(VERSION)' -o bin/ ./cmd/...

.PHONY: images
images: ## Both container images as tar files in dist/, without Docker (ARCH=amd64)
	$(GO) run ./hack/images build --version $(VERSION) --arch $(ARCH) --out $(DIST)

.PHONY: push
push: ## Push the server image to a registry of yours: make push IMAGE=host/name:tag, for several architectures with ARCH=amd64,arm64
	@test -n '$(IMAGE)' || { echo 'make push: IMAGE is not set, for example: make push IMAGE=registry.example.com/muster:v1' >&2; exit 2; }
	$(GO) run ./hack/images push --version $(VERSION) --arch $(ARCH) $(IMAGE)

.PHONY: generate
generate: ## Generated files: deep copies, CRDs, RBAC, protobuf, the CRDs of the chart
	hack/generate.sh

##@ Test

.PHONY: test
test: test-unit test-sim test-envtest ## Everything that runs in minutes: unit tests, simulator, envtest

.PHONY: test-unit
test-unit: ## Unit tests
	@test -n '$(RACE)' || echo 'no C compiler found: the tests run without the race detector' >&2
	@echo go test $(RACE) -shuffle=on ./... without simulator and suites
	@$(GO) test $(RACE) -shuffle=on -timeout=15m $(PLAIN)
	@for module in $(SUBMODULES); do (set -x; $(GO) test -C $$module $(RACE) -shuffle=on ./...); done

# One goroutine drives the simulation, so the race detector would only slow it down.
.PHONY: test-sim
test-sim: ## A few random simulated schedules; a failing seed says how to replay it
	$(GO) test -shuffle=on -timeout=15m ./test/sim/...

.PHONY: test-envtest
test-envtest: ## Controllers against a real API server (builds it on the first run)
	@if test -n '$(ENVTESTS)'; then $(LAB) build --only envtest && \
	  KUBEBUILDER_ASSETS="$$($(LAB) assets)" $(GINKGO) $(RACE) --randomize-all --fail-on-pending --fail-on-empty \
	    --keep-going --timeout=15m $(patsubst github.com/muster-registry/muster/%,./%,$(ENVTESTS)); fi

.PHONY: sim
sim: ## Random simulated schedules: make sim SEEDS=2000 (about seven a second and core), or from seed FIRST; all with FACTOR=2; PACE=slow: faults of minutes
	$(GO) test ./test/sim -v -run=TestRandom -count=1 -timeout=12h -args -seeds=$(SEEDS) $(if $(FIRST),-first=$(FIRST)) $(if $(FACTOR),-factor=$(FACTOR)) $(if $(PACE),-pace=$(PACE))

.PHONY: sim-scale
sim-scale: ## Simulated clusters of 3 to 200 members: what each holds, is sent and says; some minutes (SIZES=3,50)
	$(GO) test ./test/sim -v -run='TestScale|TestGrowth' -count=1 -timeout=2h -args -sizes=$(SIZES)

.PHONY: sim-mutants
sim-mutants: ## Switch off one rule of the design after the other: the simulation must catch each (SEARCH=2000 looks for how)
	$(GO) run ./hack/mutants $(if $(SEARCH),-search=$(SEARCH)) $(if $(RULE),-only='$(RULE)')

.PHONY: e2e
e2e: ## The whole end-to-end suite on the lab
	@test -n "$${KUBECONFIG:-}" || $(LAB) build
	$(GINKGO) --timeout=90m --fail-on-pending --fail-on-empty -v ./test/e2e

.PHONY: e2e-short
e2e-short: ## The part of the end-to-end suite that CI runs (label short)
	@test -n "$${KUBECONFIG:-}" || $(LAB) build
	$(GINKGO) --timeout=25m --fail-on-pending --fail-on-empty --label-filter=short -v ./test/e2e

# A namespace a member, clients as processes, an API server: docs/chaos.md. The logs of the members stay in dist/chaos.
CHAOS = { command -v ip && command -v nft; } >/dev/null || $(LAB) deps; $(LAB) build --only envtest && mkdir -p $(DIST)/chaos && \
	KUBEBUILDER_ASSETS="$$($(LAB) assets)" $(GO) test ./test/chaos -count=1 -v -artifacts -outputdir='$(abspath $(DIST))/chaos' $(if $(ONLY),-run='$(ONLY)')

.PHONY: chaos
chaos: ## Fault scenarios with the real program and clients: links cut, members killed, floods (ONLY=regexp for some)
	$(CHAOS) -timeout=60m -parallel=6 -form=long

.PHONY: chaos-short
chaos-short: ## The same with shorter graces and faults, as in CI
	$(CHAOS) -timeout=20m -parallel=4 -form=short

.PHONY: full
full: verify test e2e chaos ## Everything there is: before a release, before calling work done
	$(MAKE) sim SEEDS=2000
	$(MAKE) sim SEEDS=200 FIRST=1 PACE=slow
	$(MAKE) sim-mutants

.PHONY: goldens
goldens: generate ## Rewrite the golden files, the charts' among them; read the diff before you commit it
	$(GO) test -count=1 $$(grep -rlE --include='*_test.go' 'flag\.Bool\("update"' api controllers registry cmd hack test | xargs -n1 dirname | sort -u | sed 's|^|./|') -update

##@ Measure

# A whole run of size full goes into docs/performance.md; anything else is printed only.
BENCH_FLAGS = -size $(BENCH) $(if $(ONLY),-only '$(ONLY)') $(if $(filter full,$(BENCH)),$(if $(ONLY),,-docs docs/performance.md))
PEER_CACHE := $(or $(MUSTER_CACHE),$(XDG_CACHE_HOME),$(HOME)/.cache)/muster/rnacos-$(RNACOS)

.PHONY: bench
bench: build-bench ## The member beside the limits of its transports: make bench BENCH=short for some minutes, ONLY=regexp for some rows
	bin/bench $(BENCH_FLAGS)

.PHONY: bench-peers
bench-peers: build-bench ## The same beside r-nacos, which needs cargo and some minutes to build, once
	@test -x $(PEER_CACHE)/bin/rnacos || { command -v cargo >/dev/null || { echo 'make bench-peers: no cargo; install Rust (Debian: apt-get install rustc-web cargo-web)' >&2; exit 2; }; \
	  nice -n 19 cargo install --locked --quiet --root $(PEER_CACHE) --version $(RNACOS) rnacos; }
	bin/bench peers -peer $(PEER_CACHE)/bin/rnacos $(BENCH_FLAGS)

.PHONY: profile
profile: build-bench ## Profiles of the hot paths of a member, into dist/profiles; look with `go tool pprof -top FILE`
	bin/bench profile -size $(BENCH) $(if $(ONLY),-only '$(ONLY)')

.PHONY: build-bench
build-bench:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags='-s -w -X main.version=$(VERSION)' -o bin/registry ./cmd/registry
	$(GO) build -o bin/bench ./test/bench

##@ Verify

.PHONY: verify
verify: ## Generate, tidy, format, lint, import rules; fails when any of it changes a file
	hack/verify.sh

.PHONY: fmt
fmt: ## Format the Go files (gofumpt, gci)
	$(LINT) fmt

.PHONY: tidy
tidy: ## go mod tidy in every module
	hack/modules.sh tidy

.PHONY: vet
vet: ## go vet
	$(GO) vet ./...

.PHONY: lint
lint: ## golangci-lint with .golangci.yml (about five minutes to build, once)
	$(LINT) run
	@for module in $(SUBMODULES); do (set -x; cd $$module && $(GO) tool -modfile=$(CURDIR)/hack/tools/lint/go.mod golangci-lint run --config $(CURDIR)/.golangci.yml); done

.PHONY: arch
arch: ## The import rules and conventions of test/arch
	$(GO) test -count=1 ./test/arch

##@ Local Kubernetes

.PHONY: lab-up
lab-up: ## A Kubernetes on this machine: make lab-up NODES=3
	$(LAB) up --nodes $(NODES)

.PHONY: lab-down
lab-down: ## Take it down
	$(LAB) down

.PHONY: lab-check
lab-check: ## Prove that it works: pods, Services, DNS, every fault
	$(LAB) check

##@ Housekeeping

.PHONY: clean
clean: ## Remove bin/ and dist/ (the lab's cache stays)
	rm -rf bin $(DIST)
