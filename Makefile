# Canter, by hand:
#
#   make serve    the examples on http://127.0.0.1:8000/ (Ctrl-C ends it)
#   make test     the tests           make test ARGS='tests/http -k chunk'
#   make lint     style, types, doors make format  puts the style right
#   make bench    measures the cost of a request      make bench ARGS='--rounds 5 hello'
#   make comparison  every worker class and peer again, for docs/benchmarks.md (eleven minutes)
#   make peers    installs the servers that it is held against (apart, in build/peers-venv)
#   make fuzz     the parsers fuzzed, for a bounded time
#   make clients  the suite of the requests library against httpbin on Canter
#   make soak     the long form of the tests under load and faults
#   make build    compiles what changed in a .pyx or .pxd
#   make clean    removes what was made, the virtual environment too
#
# Each makes the virtual environment and compiles first, where that is needed.
# All it takes is Python 3.10 or newer and a C compiler; PYTHON names the one to use.

PYTHON ?= python3
VENV   ?= .venv
BIND   ?= 127.0.0.1:8000
ARGS   ?=

# Absolute, for recipes that work in another folder.
PY  := $(abspath $(VENV))/bin/python
PIP := $(PY) -m pip --quiet --disable-pip-version-check
APART := $(VENV)/apart

.PHONY: help serve test lint format bench comparison peers fuzz clients soak build clean
.DELETE_ON_ERROR:

help:
	@sed -n '3,/^$$/s/^# \{0,1\}//p' Makefile

serve: $(VENV)/.has-examples build
	@$(PY) examples/django_site/manage.py migrate --verbosity 0
	@$(PY) -m canter --chdir examples --pythonpath django_site --bind $(BIND) --workers 2 demo:app $(ARGS)

test: $(VENV)/.has-test $(APART)/kosoku/made $(APART)/pyramid/made build
	$(PY) -m pytest $(ARGS)

lint: $(VENV)/.has-lint build
	$(PY) tests/lint $(ARGS)

format: $(VENV)/.has-lint
	$(PY) -m ruff check --fix-only --quiet
	$(PY) -m ruff format

bench: $(VENV)/.has-bench build
	$(PY) -m canter.bench.cost $(ARGS)

comparison: $(VENV)/.has-test build
	$(PY) -m canter.bench.comparison $(ARGS)

# One that cannot be built here is left out: the measurements say so in its row.
peers:
	@$(PYTHON) -m venv build/peers-venv
	@sed '/^#/d' bench/peers.txt | while read -r peer; do echo "$$peer"; \
		build/peers-venv/bin/pip install --quiet --disable-pip-version-check "$$peer" || echo "$$peer: not installed"; done

fuzz: $(VENV)/.has-fuzz build
	$(PY) tests/fuzz $(ARGS)

clients: $(VENV)/.has-test $(APART)/requests/made build
	$(PY) -m tests.clients.requests_suite $(ARGS)

soak: $(VENV)/.has-test $(APART)/kosoku/made build
	$(PY) -m pytest -m soak --timeout 0 $(ARGS)

# Compiles in place what is newer than its extension.
build: $(VENV)/.has-build
	@$(PY) setup.py -q build_ext --inplace

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find core workers bench tests examples -name __pycache__ -prune -exec rm -rf {} +
	find core \( -name '*.so' -o -name '*.c' \) -delete

# $(VENV)/.has-EXTRA: Canter is installed in the environment, editable, with that
# extra of pyproject.toml; done again whenever that file changes.
$(VENV)/.has-%: $(VENV)/.has-build pyproject.toml setup.py
	@echo "Installing what '$*' needs into $(VENV); compiling takes a minute or two the first time ..."
	@$(PIP) install --no-build-isolation --editable '.[$*]'
	@touch $@

# $(APART)/NAME: an environment for what cannot be beside the rest, as tests/pins/NAME.txt
# has it; made again whenever that file changes. tests/apart.py says where it is.
$(APART)/%/made: tests/pins/%.txt | $(VENV)/.has-build
	@echo "Installing what $< pins into $(@D) ..."
	@$(PY) -m venv --clear $(@D)
	@timeout -k 10 5m $(@D)/bin/python -m pip --quiet --disable-pip-version-check install --requirement $<
	@touch $@

# The tools of [build-system] in pyproject.toml: in the environment itself, so that
# 'make build' is quick.
$(VENV)/.has-build: .ci/preflight
	@sh .ci/preflight '$(PYTHON)'
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install 'setuptools>=77' 'Cython>=3.1'
	@touch $@
