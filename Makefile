# zosnet: two commands are enough.
#   make demo   build what is missing, then run the main job on real nodes
#   make test   run every check and every test
# Each installs what it lacks (see scripts/setup.sh), says so, and may be run again at no cost.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PY := .venv/bin/python
ENV := .make/venv
EXT := .make/extension
COMET := .make/bin/cometbft
RUST_SOURCES := $(shell find rust/core rust/io rust/py -name '*.rs' -o -name Cargo.toml 2>/dev/null) Cargo.toml Cargo.lock
SAY := scripts/say.sh
AS_ROOT := $(shell [ "$$(id -u)" = 0 ] || echo sudo -E)

.PHONY: help demo test dev cometbft wheel bench soak fuzz lint format lock clean \
        check-format check-lint check-types check-rust check-python

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

demo: $(EXT) ## build a grid of four nodes and move a file through it while a path fails
	@$(SAY) "demo: a grid of four nodes, a file, and a path that fails"
	@$(AS_ROOT) $(PY) -m zosnet.lab.demo

test: check-format check-lint check-types check-rust check-python ## all checks and all tests
	@$(SAY) "test: OK"

dev: $(EXT) ## build the extension into .venv

cometbft: $(COMET) ## install CometBFT, the engine of a ledger with several operators

$(COMET): scripts/cometbft.sh scripts/versions.env
	@scripts/cometbft.sh
	@touch $@

$(ENV): requirements.lock scripts/setup.sh scripts/versions.env
	@scripts/setup.sh
	@mkdir -p .make && touch $@

$(EXT): $(ENV) $(RUST_SOURCES) pyproject.toml
	@$(SAY) "building the data plane (Rust, release; about two minutes the first time)"
	@VIRTUAL_ENV=$(CURDIR)/.venv .venv/bin/maturin develop --release --locked --quiet 2>&1 | scripts/quiet.sh
	@touch $@

check-format: $(ENV)
	@$(SAY) "format: ruff, rustfmt"
	@.venv/bin/ruff format --check --quiet src tests bench scripts
	@cargo fmt --all --check
	@cd rust/fuzz && cargo fmt --check

check-lint: $(ENV)
	@$(SAY) "lint: ruff, clippy"
	@.venv/bin/ruff check --quiet src tests bench scripts
	@cargo clippy --quiet --locked --workspace --all-targets -- -D warnings

check-types: $(EXT)
	@$(SAY) "types: mypy --strict, stubtest"
	@.venv/bin/mypy
	@$(PY) -m mypy.stubtest zosnet._core

check-rust: $(ENV)
	@$(SAY) "tests: Rust"
	@cargo test --quiet --locked --workspace
	@cd rust/fuzz && cargo test --quiet --locked

check-python: $(EXT) $(COMET) .make/wheelhouse
	@$(SAY) "tests: Python (as root: namespaces, TUN and nftables are real)"
	@rm -f .coverage .coverage.*
	@$(AS_ROOT) $(PY) -m pytest --cov --cov-report= $(PYTEST_ARGS)
	@$(PY) scripts/coverage_bars.py

.make/wheelhouse: requirements.lock $(ENV)
	@$(SAY) "wheels of the run-time dependencies, for the test of a clean install"
	@mkdir -p $@ && .venv/bin/pip download --quiet --require-hashes --no-deps --only-binary :all: --dest $@ -r requirements.lock && touch $@

wheel: $(ENV) ## build the wheel into dist/: with it, no compiler is needed
	@$(SAY) "wheel: dist/"
	@.venv/bin/maturin build --release --locked --out dist --quiet 2>&1 | scripts/quiet.sh
	@ls dist/*.whl

bench: $(EXT) $(COMET) ## measure all, beside other overlays: some hours (needs iperf3; MYCELIUM_BIN for Mycelium)
	@$(SAY) "bench: alone on the machine, please"
	@missed=0; for part in bench bench.failover bench.queue bench.flood bench.sessions bench.routing bench.ledger bench.cometbft; do \
	    $(SAY) "$$part"; $(AS_ROOT) $(PY) -m $$part || missed=$$?; done; exit $$missed

soak: $(EXT) $(COMET) ## ten minutes of cuts, restarts and garbage
	@$(AS_ROOT) $(PY) -m zosnet.lab.soak --minutes 10
	@ZOSNET_LEDGER_OPERATIONS=1000000 $(PY) -m pytest -q tests/ledger/test_model.py -k seeded
	@ZOSNET_LEDGER_KILLS=200 $(PY) -m pytest -q tests/ledger/test_embedded_crashes.py -k kill
	@ZOSNET_LEDGER_KILLS=200 $(PY) -m pytest -q tests/ledger/test_comet_kills.py

fuzz: $(ENV) ## coverage-guided fuzzing of every decoder, a minute each (needs cargo-fuzz)
	@scripts/fuzz.sh 60

format: $(ENV) ## reformat the sources
	@.venv/bin/ruff format src tests bench scripts && .venv/bin/ruff check --fix --quiet src tests bench scripts
	@cargo fmt --all && cd rust/fuzz && cargo fmt

lock: ## resolve the Python dependencies anew
	@.venv/bin/pip install --quiet uv
	@.venv/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-emit-index-url \
	    --no-annotate --custom-compile-command "make lock" --group pyproject.toml:dev pyproject.toml -o requirements-dev.lock
	@.venv/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-emit-index-url \
	    --no-annotate --custom-compile-command "make lock" -c requirements-dev.lock pyproject.toml -o requirements.lock

clean: ## remove everything that was built
	@rm -rf .venv .make target dist rust/fuzz/target
