# `make compare` and `make test` need nothing but Python: both make .venv, as pinned in constraints.txt.
# Every other target is listed in benchmarks/README.md, with the sentence of the documents that it proves.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
# Scripts of benchmarks/conformance and of benchmarks/figures: `make large-file` runs conformance/large_file.py.
CONFORMANCE := brian2-export energy-tools fuzz-files large-file mutants nir-conformance parity predictive-checks round-trips sklearn-dictionary
FIGURES := break-even hardware-validation readme-figures

.PHONY: bench compare test check-slow lint notebooks operators oracles tables test-peers $(CONFORMANCE) $(FIGURES)
.DEFAULT_GOAL := compare

# A slice of the protocol, which the title of its page says: 7 models, 4 trials of each search, 5 seeds.
# All of it: neurosparse compare models/digits
SLICE := relu relu-squared relu-pruned-int8 lif-2 lif-8 lif-pruned-int8-2 predictive
compare: $(INSTALLED)
	$(BIN)/neurosparse compare models/digits $(SLICE:%=--only %) --trials 4 --seeds 5

# Two test processes with one thread each: on two cores more threads only wait for one another.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

test: lint
	$(PYTEST) -m "not slow"

# What `make test` leaves out for its time: notebooks, the wheel, examples of pages, trainings by two processes or killed.
check-slow: $(INSTALLED)
	$(PYTEST) -m slow

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright

notebooks: $(INSTALLED)
	for notebook in notebooks/*.ipynb; do $(BIN)/jupyter execute --inplace $$notebook || exit 1; done

# Libraries that need other versions than .venv has run in environments of their own.
PEERS := .venv-peers
$(PEERS)/.installed: pyproject.toml constraints.txt
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet -c constraints.txt -e ".[images]" neurobench==2.3.0 norse==1.1.0 spikingjelly==2.0.0 spams-bin==2.6.14 nirtorch==2.6 pytest hypothesis
	touch $@

# jpc and pcx pin a JAX each. jpc is on no package index; JPC may name a copy: make bench-predictive JPC=git+file:///...
JPC ?= git+https://github.com/thebuckleylab/jpc@7d6cc05742d28b543311e6c4d4ca140ba996f8b5
.venv-jpc/.installed: packages = "$(JPC)" jax==0.5.2 jaxlib==0.5.1 diffrax==0.7.2 equinox==0.13.8 optax==0.2.5 numpy==2.4.6
.venv-pcx/.installed: packages = pcx==0.6.3 jax==0.4.38 jaxlib==0.4.38 equinox==0.11.12 optax==0.2.5 numpy==2.4.6
# NEST's wheel has no MPI: enough to compare spikes and to time one machine.
.venv-nest/.installed: packages = nest-simulator==3.10.0 pyNN==0.13.0 numpy==2.4.6 scipy
# Other readers of event-camera files and of spike trains.
.venv-files/.installed: packages = expelliarmus==1.1.12 faery==0.7.1 aedat==2.3.0 tonic==1.7.0 pynapple==0.11.4
.venv-jpc/.installed .venv-pcx/.installed .venv-nest/.installed .venv-files/.installed:
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet $(packages)
	touch $@

# Foreign networks under the meter, in the environment that has their libraries.
test-peers: $(PEERS)/.installed
	OMP_NUM_THREADS=1 $(PEERS)/bin/python -m pytest -q tests/peers/test_count_foreign.py

# Answers of other libraries, kept in tests/oracles, so that no test needs these libraries.
MAKE_ORACLE := tests/oracles/make
oracles: $(INSTALLED) $(PEERS)/.installed .venv-nest/.installed
	$(PEERS)/bin/python $(MAKE_ORACLE)/neurons.py tests/oracles/neurons.json
	OMP_NUM_THREADS=1 $(PEERS)/bin/python $(MAKE_ORACLE)/counts.py tests/oracles/counts.json
	OMP_NUM_THREADS=1 $(BIN)/python $(MAKE_ORACLE)/networks.py tests/oracles/networks.json
	$(PEERS)/bin/python $(MAKE_ORACLE)/lemaire.py tests/oracles/lemaire.json
	$(PEERS)/bin/python -W ignore $(MAKE_ORACLE)/energies.py tests/oracles/energies.json
	$(PEERS)/bin/python $(MAKE_ORACLE)/interchange.py tests/oracles/interchange.json

# Agreement with theory, loops, other libraries and file formats: docs/results. ARGS are the script's arguments.
$(CONFORMANCE): $(INSTALLED)
	$(BIN)/python benchmarks/conformance/$(subst -,_,$@).py $(ARGS)

round-trips: .venv-files/.installed

# torch's own operator database under the meter.
operators: $(INSTALLED)
	$(BIN)/python benchmarks/conformance/operator_database.py $(ARGS)

# Pictures and tables of the documents, from committed results.
$(FIGURES): $(INSTALLED)
	$(BIN)/python benchmarks/figures/$(subst -,_,$@).py $(ARGS)

tables: $(INSTALLED)
	$(BIN)/python docs/tables.py

# Timings: ratios measured side by side in one run, in benchmarks/out. The two settings slow numpy on some machines.
TIME := env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE
bench-simulate: .venv-nest/.installed
bench-predictive: .venv-jpc/.installed .venv-pcx/.installed
bench-files: .venv-files/.installed

bench-train bench-dictionary bench-coding: bench-%: $(PEERS)/.installed
	$(TIME) $(PEERS)/bin/python benchmarks/$*.py $(ARGS)

# Those that have goals, and their page, docs/performance.md: about 25 minutes on two cores of machine A of that page.
BENCHES := start train convolution lars predictive simulate files compiled
bench: $(BENCHES:%=bench-%) tables

bench-%: $(INSTALLED)
	$(TIME) $(BIN)/python benchmarks/$(subst -,_,$*).py $(ARGS)

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@
