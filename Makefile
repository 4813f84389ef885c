# `make compare` and `make test` are all a fresh machine needs: both make .venv, exactly as pinned in constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: compare test lint notebooks oracles parity fuzz-files round-trips test-peers
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
	$(PEERS)/bin/python -m pip install --quiet -c constraints.txt -e ".[images]" neurobench==2.3.0 norse==1.1.0 spikingjelly==2.0.0 spams-bin==2.6.14 nirtorch==2.6 pytest hypothesis
	touch $@

# Foreign networks under the meter, where their libraries are.
test-peers: $(PEERS)/.installed
	OMP_NUM_THREADS=1 $(PEERS)/bin/python -m pytest -q tests/peers/test_count_foreign.py

# What they answer is kept in tests/oracles, so that tests need none of them.
oracles: $(INSTALLED) $(PEERS)/.installed .venv-nest/.installed
	$(PEERS)/bin/python benchmarks/oracles/neurons.py tests/oracles/neurons.json
	OMP_NUM_THREADS=1 $(PEERS)/bin/python benchmarks/oracles/counts.py tests/oracles/counts.json
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/oracles/networks.py tests/oracles/networks.json
	$(PEERS)/bin/python benchmarks/oracles/lemaire.py tests/oracles/lemaire.json
	$(PEERS)/bin/python benchmarks/oracles/interchange.py tests/oracles/interchange.json

# Our counts beside loops over every pair and beside theirs: docs/results/parity.json.
parity: $(INSTALLED)
	$(BIN)/python benchmarks/parity.py

# What readers make of damaged files: docs/results/fuzz.json.
fuzz-files: $(INSTALLED)
	$(BIN)/python benchmarks/fuzz_files.py

# Both pin a JAX of their own; jpc is on no index. JPC may name a copy: make bench-predictive JPC=git+file:///...
JPC ?= git+https://github.com/thebuckleylab/jpc@7d6cc05742d28b543311e6c4d4ca140ba996f8b5
.venv-jpc/.installed: packages = "$(JPC)" jax==0.5.2 jaxlib==0.5.1 diffrax==0.7.2 equinox==0.13.8 optax==0.2.5 numpy==2.4.6
.venv-pcx/.installed: packages = pcx==0.6.3 jax==0.4.38 jaxlib==0.4.38 equinox==0.11.12 optax==0.2.5 numpy==2.4.6
.venv-jpc/.installed .venv-pcx/.installed:
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet $(packages)
	touch $@

# NEST's wheel has no MPI: enough to compare spikes and to time one machine.
.venv-nest/.installed: packages = nest-simulator==3.10.0 pyNN==0.13.0 numpy==2.4.6 scipy
.venv-nest/.installed:
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet $(packages)
	touch $@

bench-simulate: .venv-nest/.installed

bench-predictive: .venv-jpc/.installed .venv-pcx/.installed

# Readers of event cameras' files, beside which ours are timed and by which what we write is read back.
FILE_PEERS := expelliarmus==1.1.12 faery==0.7.1 aedat==2.3.0 tonic==1.7.0 pynapple==0.11.4
.venv-files/.installed:
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet $(FILE_PEERS)
	touch $@

bench-files round-trips: .venv-files/.installed

# What of an event tensor survives each format: docs/results/round-trips.json.
round-trips: $(INSTALLED)
	$(BIN)/python benchmarks/round_trips.py

bench-train bench-dictionary bench-coding: bench-%: $(PEERS)/.installed
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE $(PEERS)/bin/python benchmarks/$*.py

# Side by side, ratios in benchmarks/out; some machines slow numpy by these two settings.
bench-%: $(INSTALLED)
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE $(BIN)/python benchmarks/$*.py

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@
