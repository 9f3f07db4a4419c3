# Every verb makes what it needs first: a virtual environment in .venv, from the package registry.
# PYTHON chooses the interpreter (3.11 or newer).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NOTEBOOKS := $(wildcard notebooks/*.ipynb)

.PHONY: help quickstart lab lint types test notebooks docs bench soak peers sample clean

help:
	@echo "make quickstart   transcribe on this machine, no key needed: prints the words, renders the notebook"
	@echo "make lab          open the notebooks in JupyterLab"
	@echo "make test         everything that is checked: lint, types, tests, notebooks"
	@echo "make docs         the site, in build/docs; make docs EXECUTE=1   with what the notebooks' cells give: two minutes"
	@echo "make lint types notebooks   its parts;  make bench   the figures of the README;  make soak   a quarter of an hour of faults;  make peers   foreign clients"

# Two stamps: the notebooks' needs come first and fast, the developers' only when asked for.
$(VENV)/notebook: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "dgnb needs Python 3.11 or newer: make PYTHON=python3.12 …")'
	@echo "Installing into $(VENV) (a minute or two, once) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[notebook]'
	@touch $@

$(VENV)/dev: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "dgnb needs Python 3.11 or newer: make PYTHON=python3.12 …")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/notebook

# What the tests of kernels and of the panel need beside that: the kernels that differ, each in a folder of its own, and
# Chromium.
$(VENV)/kernels/ready: $(VENV)/dev
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target $(VENV)/kernels/ipykernel-6 'ipykernel<7'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target $(VENV)/kernels/ipykernel-7.3 'ipykernel==7.3.*'
	@touch $@

$(VENV)/browser: $(VENV)/kernels/ready
	@test -x /usr/bin/chromium || { test "$$(id -u)" = 0 && apt-get update -qq && apt-get install -y -qq chromium >/dev/null; } \
	  || { echo "The panel's tests need Debian's Chromium: apt-get install chromium"; exit 1; }
	@touch $@

quickstart: $(VENV)/notebook
	@$(BIN)/python tools/quickstart.py

lab: $(VENV)/notebook
	$(BIN)/jupyter lab notebooks/01_quickstart.ipynb

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python tools/house.py

types: $(VENV)/dev
	$(BIN)/mypy

# Two workers, as much of the suite waits for real time. A file's tests stay together: its fixtures are made once. Files
# start in the order of tests/conftest.py, and not those with many tests first: the longest have few.
test: lint types $(VENV)/browser
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

notebooks: $(VENV)/kernels/ready
	$(BIN)/python -m pytest tests/notebooks

# Warnings are errors (and --quiet would keep them from being counted). The variable spares us an advertisement by the theme.
docs: $(VENV)/dev
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build -f docs/mkdocs.yml
	@echo "The site: build/docs/index.html"

bench: $(VENV)/dev
	$(BIN)/python -m benchmarks

# A quarter of an hour of faults: for whoever changes what a session does when its connection is lost.
soak: $(VENV)/dev
	$(BIN)/python -m tests.support.sim.soak --seeds 10000 --workers 2
	$(BIN)/python -m tests.support.sim.soak --seeds 10000 --workers 2 --flux --hours 0
	$(BIN)/python -m tests.support.sim.cycles
	$(BIN)/python -m tests.support.sim.cycles --sources

# Foreign clients, many versions of Deepgram's own among them, in environments of their own (1 GB); those for Node need npm.
peers: $(VENV)/dev
	$(BIN)/python -m tests.support.peers

sample: $(VENV)/dev
	$(BIN)/python tools/make_sample.py

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
