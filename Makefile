# The one door. `make` alone says what can be done.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

HOST    := $(shell rustc -vV | sed -n 's/^host: //p')
RUNTIME ?= docker
ARGS    ?=
# A PEM file of CA certificates to trust in image builds, for networks with an authority of their own. A machine that
# names its authorities in SSL_CERT_FILE, as OpenSSL reads it, needs nothing more.
EXTRA_CA ?= $(SSL_CERT_FILE)
BASE_IMAGE ?= debian:bookworm-slim

STATIC := RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --target $(HOST)
BIN    := target/release
# Of the whole workspace, so that it is the build that the other tests use.
SIMULATE = CLOUD_CODE_SEEDS=$(or $(SEEDS),100000) CLOUD_CODE_FIRST_SEED=$(or $(FIRST_SEED),1) cargo test --locked \
	--workspace --test seeds -- --nocapture

.PHONY: help
help: ## Say what can be done
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

.PHONY: demo
demo: build ## Do the main job on a sample repository, end to end (RUNTIME=local: without Docker, no sandbox)
	RUNTIME=$(RUNTIME) EXTRA_CA="$(EXTRA_CA)" BASE_IMAGE=$(BASE_IMAGE) examples/demo/demo.sh

.PHONY: run
run: build ## Run cloud-code, as in: make run ARGS='list'
	$(BIN)/cloud-code $(ARGS)

.PHONY: build
build: ## Build cloud-code, and the static agent beside it
	docker/ensure-tools.sh build
	cargo build --locked --release -p cloud-code-cli
	$(STATIC) --profile agent -p cloud-code-agent
	$(STATIC) --release -p cloud-code-testkit
	install -m 755 target/$(HOST)/agent/cloud-code-agent $(BIN)/cloud-code-agent
	install -m 755 target/$(HOST)/release/cloud-code-testkit $(BIN)/cloud-code-testkit

.PHONY: engine
engine: ## Start the Docker engine; install Debian's when there is none and this user may
	docker/ensure-tools.sh engine

.PHONY: images
images: build engine ## Build the images that the coding CLIs run in
	docker/base-image.sh $(BASE_IMAGE)
	$(BIN)/cloud-code --home target/images-home images build --base-image $(BASE_IMAGE) $(if $(EXTRA_CA),--extra-ca $(EXTRA_CA))

.PHONY: third-party
third-party: ## Fetch what tests compare with: GitHub's description of its API, and its samples of webhooks
	orchestrator/fake-github/fetch.sh

# The other suites wait most of their time, for containers and for clocks. The simulation takes what they leave.
.PHONY: test
test: images third-party ## Run every test, the real coding CLIs in real containers included
	docker/ensure-tools.sh database
	cargo test --locked --workspace --no-run
	@setsid nice -n 19 env $(SIMULATE) > target/simulation.log 2>&1 & simulation=$$!; \
	trap 'kill -- -$$simulation 2> /dev/null || true' EXIT; \
	status=0; cargo test --locked --workspace --no-fail-fast || status=$$?; \
	wait $$simulation || { status=$$?; echo "the simulation failed:"; cat target/simulation.log; exit $$status; }; \
	tail -n 20 target/simulation.log; exit $$status

.PHONY: simulate
simulate: ## Play a hundred thousand lives of the engine with faults (SEEDS=, FIRST_SEED=)
	$(SIMULATE)

.PHONY: check
check: ## Format, lints, docs
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --quiet

.PHONY: bench
bench: images ## Measure the promised figures, each beside a named alternative
	docker/ensure-tools.sh database
	$(STATIC) --release -p cloud-code-bench
	install -m 755 target/$(HOST)/release/cloud-code-bench $(BIN)/cloud-code-bench
	$(BIN)/cloud-code-bench $(ARGS)

.PHONY: install
install: build ## Install to PREFIX/bin (default /usr/local)
	install -d $(or $(PREFIX),/usr/local)/bin
	install -m 755 $(BIN)/cloud-code $(BIN)/cloud-code-agent $(or $(PREFIX),/usr/local)/bin/
