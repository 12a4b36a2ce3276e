# The tasks of a developer. `make` alone prints the list.

# Build output and tools live outside the clone, so that a second clone and the next CI run find them warm.
# (Not named ADIT_...: the programs read those variables and refuse any that they do not know.)
export BUILD_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/adit
export CARGO_TARGET_DIR ?= $(BUILD_CACHE)/target
export PATH := $(BUILD_CACHE)/tools/bin:$(PATH):/usr/sbin:/sbin

TEST_PACKAGES := python3 redis-server postgresql haproxy openssl curl procps bind9

.DEFAULT_GOAL := help
.PHONY: help run test e2e kind kind-down check build where crds fmt soak bench profile clean
.PHONY: check-format check-tidy check-lints check-docs check-deps check-bench check-rings

help: ## print this list
	@grep -hE '^[a-z0-9-]+: .*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):[^#]*## /\1\t/' | expand -t 12

run: ## build, then start a relay, a demo service and a client on this machine; Ctrl-C ends it all
	@env --default-signal=INT scripts/run

test: ## install what the tests need, run every test
	@scripts/need $(TEST_PACKAGES)
	@scripts/kube-programs kube-apiserver etcd kubectl
	@. scripts/versions && scripts/go-tool helm "helm.sh/helm/v3/cmd/helm@$$helm"
	@. scripts/versions && scripts/go-tool pebble "github.com/letsencrypt/pebble/v2/cmd/pebble@$$pebble"
	@scripts/test-scripts
	@scripts/test
	@scripts/test-run
	@scripts/e2e

e2e: ## only the tests on a Kubernetes cluster of kind; they delete the Regions that they find in it
	@scripts/need $(TEST_PACKAGES)
	@scripts/e2e

kind: ## a Kubernetes cluster on this machine with Adit's images, to try the operator; it stays until `make kind-down`
	@scripts/kind/up

kind-down: ## delete that cluster
	@scripts/kind/cluster down

check: check-format check-tidy check-lints check-docs check-deps check-bench check-rings ## formatting, lints, docs, dependencies, import rings: everything but the tests

build: ## build the programs as they are shipped
	@scripts/build adit adit-relay adit-operator kubectl-adit
	@$(MAKE) -s where

where: ## print the folder that `make build` puts them into
	@echo '$(CARGO_TARGET_DIR)/dist'

crds: ## write crds/ from the types in operator/api
	cargo run --quiet --bin adit-operator -- crds --dir crds
	cp crds/*.yaml charts/adit/files/crds/

fmt: ## format the Rust sources
	cargo fmt --all

soak: ## the tests of real sockets at up to a hundred times their size, with seconds, into docs/soak.md
	@scripts/need $(TEST_PACKAGES)
	@scripts/kube-programs kube-apiserver etcd kubectl
	@. scripts/versions && scripts/go-tool pebble "github.com/letsencrypt/pebble/v2/cmd/pebble@$$pebble"
	@scripts/soak

bench: ## measure Adit beside nginx, rathole, bore, ... into docs/performance.md; options in BENCH="--help"
	@scripts/bench $(BENCH)

profile: ## record how often the code runs under load into bench/adit.profdata; `make build` optimises by it
	@scripts/profile

clean: ## remove what `make run` wrote and all build output
	rm -rf .run
	cargo clean

check-format:
	cargo fmt --all --check

check-tidy:
	scripts/tidy

check-lints:
	cargo clippy --workspace --all-targets --all-features -- -D warnings

check-docs:
	RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --all-features

check-deps:
	scripts/deps

check-bench:
	@scripts/need python3
	python3 -m unittest discover -q -s bench -t bench

check-rings:
	@scripts/need python3
	scripts/rings
