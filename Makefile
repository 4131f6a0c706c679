# Relocscope. `make help` lists the targets. PYTHON picks the interpreter (3.11 or newer).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help explain test check lint types imports unit nojit test-slow fuzz fuzz-guided wheel-test bench bench-step bench-sweep bench-misses bench-attach docs site questions screens accuracy pictures clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

$(VENV)/installed: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; try make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

explain: $(VENV)/installed ## set up if need be, then answer the founding question
	$(BIN)/relocscope explain

test: $(VENV)/installed check ## set up if need be, then everything `make check` runs

check: lint types imports unit nojit ## what CI runs first: ruff, mypy, import contracts, tests

lint: $(VENV)/installed ## ruff
	$(BIN)/ruff check .

types: $(VENV)/installed ## mypy, strict
	$(BIN)/mypy

imports: $(VENV)/installed ## who may import what
	$(BIN)/lint-imports

unit: $(VENV)/installed ## the fast tests
	$(BIN)/python -m pytest -q -m "not slow and not qemu and not kernel"

nojit: $(VENV)/installed ## the kernels as plain Python, on stored traces
	NUMBA_DISABLE_JIT=1 $(BIN)/python -m pytest -q -m nojit tests/caches tests/traces tests/emu/test_emu_walker.py

test-slow: $(VENV)/installed ## QEMU, real kernels and what else takes long (see .ci/run for what they need)
	$(BIN)/python -m pytest -q -m "slow or qemu or kernel"

fuzz: $(VENV)/installed ## a million damaged inputs for each reader; hours
	$(BIN)/python -m fuzz

fuzz-guided: $(VENV)/installed ## the same, guided by what inputs reach (atheris); keeps fuzz-corpus
	$(BIN)/python -m fuzz --guided

wheel-test: $(VENV)/installed ## build sdist, and wheel from it; run every example in empty environments of each Python at hand
	.ci/wheel $(BIN)/python

bench: $(VENV)/installed ## speed, as ratios to a bare Unicorn run of the same guest
	$(BIN)/python -m benchmarks

bench-step: $(VENV)/installed ## how long a step, a step back and a goto take in a 25 MiB relocation
	$(BIN)/python -m benchmarks.stepping

bench-sweep: $(VENV)/installed ## what 1,000 timing configurations of a 25 MiB relocation take
	$(BIN)/python -m benchmarks.sweeping

bench-misses: $(VENV)/installed ## hits of 10,000 geometries of L1D from one pass, beside ten replays
	$(BIN)/python -m benchmarks.geometries

bench-attach: $(VENV)/installed ## what attaching the model costs an engine while it runs
	$(BIN)/python -m benchmarks.attached

docs: $(VENV)/installed ## write the generated parts of the documentation, but for the accuracy page
	$(BIN)/python docs/generate.py

site: $(VENV)/installed ## the documentation site, in build/site
	$(BIN)/sphinx-build -q -W --keep-going -b html -d build/doctrees docs build/site

questions: $(VENV)/installed ## answer the ready-made questions and write docs/questions.md; some minutes
	$(BIN)/python docs/generate.py --questions

screens: $(VENV)/installed ## draw the pictures of docs/step.md and write its tables
	$(BIN)/python docs/screens.py

accuracy: $(VENV)/installed ## compare the model with published figures and write docs/accuracy.md; some minutes
	$(BIN)/relocscope validate --write docs/accuracy.md

pictures: $(VENV)/installed ## take the pictures of docs/report.md anew; needs Chromium
	$(BIN)/python docs/pictures.py

clean: ## remove the environment and caches
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
