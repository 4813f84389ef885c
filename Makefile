# `make compare` and `make test` are all a fresh machine needs: both make .venv, exactly as pinned in constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: compare test lint notebooks oracles
.DEFAULT_GOAL := compare

compare: $(INSTALLED)
	$(BIN)/neurosparse compare models/digits

# Two test processes, one thread each: on two cores more threads only wait for one another.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright

notebooks: $(INSTALLED)
	for notebook in notebooks/*.ipynb; do $(BIN)/jupyter execute --inplace $$notebook || exit 1; done

# The peers need an environment of their own: some pin what others cannot live with.
PEERS := .venv-peers
$(PEERS)/.installed: pyproject.toml constraints.txt
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet -c constraints.txt -e ".[images]" norse==1.1.0 spikingjelly==2.0.0 spams-bin==2.6.14
	touch $@

# What they answer is kept in tests/oracles, so that tests need none of them.
oracles: $(PEERS)/.installed
	$(PEERS)/bin/python benchmarks/oracles/neurons.py tests/oracles/neurons.json

bench-train bench-dictionary bench-coding: bench-%: $(PEERS)/.installed
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE $(PEERS)/bin/python benchmarks/$*.py

# Side by side, ratios in benchmarks/out; some machines slow numpy by these two settings.
bench-%: $(INSTALLED)
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE $(BIN)/python benchmarks/$*.py

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@
