# Two commands do everything: `make run` and `make test`.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run test torture fuzz bench console build lint checks deps

CONSOLE := dashboards/console
DEMO := simulators/towns/wuzhen/townhub.toml
HUB := target/release/townhub --config $(DEMO)
VENV := target/test-peers

help: ## Show this list.
	@grep -hE '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

console: $(CONSOLE)/dist/index.html ## Build the operators' console.

$(CONSOLE)/node_modules/.package-lock.json: $(CONSOLE)/package-lock.json
	cd $(CONSOLE) && PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm ci --no-audit --no-fund

$(CONSOLE)/dist/index.html: $(CONSOLE)/node_modules/.package-lock.json $(shell find $(CONSOLE)/src $(CONSOLE)/public $(CONSOLE)/*.html $(CONSOLE)/*.ts -type f 2>/dev/null)
	cd $(CONSOLE) && npm run build

build: console ## Build everything for use.
	cargo build --release --workspace

run: build ## Start the hub with the demo town; prints the address and a login.
	@password=$$($(HUB) user reset admin); \
	token=$$($(HUB) token create --label townsim); \
	$(HUB) run & hub=$$!; \
	trap 'trap - INT TERM EXIT; kill $$hub $${sim:-} 2>/dev/null || true; wait' INT TERM EXIT; \
	TOWNSIM_TOKEN=$$token target/release/townsim run --hub http://127.0.0.1:8080 --mqtt 127.0.0.1:1883 \
	    --key-file data/demo/townsim.key --script demo & sim=$$!; \
	printf '\n  乌镇 · 云享乌镇 / Town hub\n  open   http://127.0.0.1:8080\n  login  admin / %s\n\n' "$$password"; \
	wait $$hub

deps: ## Install what the tests need (Debian packages, Python packages).
	@missing=$$(for package in ca-certificates mosquitto-clients mbpoll socat openssl chromium fonts-noto-cjk python3-venv \
	    mosquitto ejabberd victoria-metrics faketime; do \
	    dpkg -s $$package >/dev/null 2>&1 || echo $$package; done); \
	if [ -n "$$missing" ]; then \
	    sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	    $$sudo apt-get update -qq; \
	    DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi
	@test -x $(VENV)/bin/python || python3 -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r tests/peers/requirements.txt

lint: ## Formatting and lints, warnings are errors.
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

checks: console
	cd $(CONSOLE) && npm run check && npm run test:unit && npm run budget

test: deps console ## Run every check.
	# Two at once: the compiler leaves a core idle now and then.
	$(MAKE) --no-print-directory -j2 --output-sync=target lint checks
	# With the tests, so that the features of their dependencies count: a build without them would compile half the tree again.
	cargo build --workspace --bins --tests
	target/debug/townhub openapi > target/openapi.json && cd $(CONSOLE) && npm run gen:api -- --check
	TOWNHUB_TEST_PYTHON=$(abspath $(VENV)/bin/python) cargo test --workspace
	target/debug/townhub profile test device-profiles
	cd $(CONSOLE) && npm run test:e2e

torture: console ## Endurance: kills, full and failing disks, jumping clocks, overload, soak. ARGS="NAME --seed N".
	cargo build --release
	ulimit -n 32768 && TOWNHUB_TEST_BINARY=$(abspath target/release/townhub) cargo test --test endure -- torture $(ARGS)

fuzz: ## Hostile input, millions of it, about a quarter of an hour; TOWNHUB_FUZZ_SEED=N for other ones.
	TOWNHUB_FUZZ=thorough cargo test --lib -- fuzz --nocapture --test-threads=2

bench: console ## Measure; the figures that we quote stand in benches/README.md.
	cargo bench --bench store
	ulimit -n 32768 && cargo bench --bench hub
	cargo bench --bench peers
