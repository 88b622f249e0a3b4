# A fresh machine needs Python 3.11 or newer, pip and make; the first target that needs packages installs them
# into .venv, and again when pyproject.toml has changed.

# The first of these that runs and is new enough. Another one: make PYTHON=/path/to/python
candidates := python3 python3.13 python3.12 python3.11
PYTHON ?= $(shell for p in $(candidates); do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo "$$p"; break; }; done)
PIP_INSTALL := .venv/bin/python -m pip install --quiet --quiet --disable-pip-version-check
PYTEST := .venv/bin/python -m pytest -n auto --maxprocesses 8 --dist worksteal

# Chromium or a browser like it; its driver must be on the path.
CHROMIUM ?= $(shell command -v chromium chromium-browser google-chrome | head -n 1)

extras_browser := browser,tests
extras_bench := models,peers,tests
extras_check := check
extras_demo := models
extras_docs := docs,models
extras_test := examples,peers,tests
extras_libraries := libraries,tests

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test harness attributes libraries browser bench check docs fuzz jacobians clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: .venv/.for-demo ## run examples/guide.py
	.venv/bin/python examples/guide.py

test: .venv/.for-test ## run the tests; arguments for pytest in ARGS, as in ARGS='-k scan'
	$(PYTEST) $(ARGS)

harness: .venv/.for-test ## JAX's primitive harness through brainir; ARGS='--per-group 2 --groups sort'
	.venv/bin/python -m tests.harness $(ARGS)

attributes: .venv/.for-test ## change each attribute of the programs of the tests: is it noticed?
	.venv/bin/python -m tests.attributes $(ARGS)

libraries: .venv/.for-libraries ## programs of Flax, Equinox, optax, numpyro, blackjax, Haiku, jax-md, jaxley
	$(PYTEST) tests/libraries

browser: .venv/.for-browser ## drive the page of `brainir view` in Chromium
	@test -n "$(CHROMIUM)" || { echo "make browser needs Chromium and chromedriver" >&2; exit 1; }
	BRAINIR_CHROMIUM="$(CHROMIUM)" .venv/bin/python -m pytest tests/browser

check: .venv/.for-check ## lint, formatting, types, import contracts
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports

fuzz: .venv/.for-test ## damage stored programs at random, as in ARGS='--count 200000 --seconds 600'
	.venv/bin/python -m tests.fuzz $(ARGS)

EXAMPLES ?= 2000

jacobians: .venv/.for-test ## what random programs depend on, against brute force; EXAMPLES=20000
	BRAINIR_EXAMPLES=$(EXAMPLES) $(PYTEST) tests/test_dependence_of_operations.py

docs: .venv/.for-docs ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict

# The benchmark of the page needs a browser; see there.
BENCHMARKS ?= $(filter-out benchmarks/page.py,$(wildcard benchmarks/*.py))

bench: .venv/.for-bench ## run the scripts in benchmarks/, or those in BENCHMARKS
	@for script in $(BENCHMARKS); do echo "$$script"; .venv/bin/python $$script || exit 1; done

clean: ## remove what the other targets and .ci/run made
	rm -rf .venv .venvs .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist site
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "brainir needs Python 3.11 or newer; tried: $(or $(PYTHON),$(candidates));" \
			"to name another: make PYTHON=/path/to/python" >&2; exit 1; }
	@echo "Creating .venv with $(PYTHON)"
	@# Some systems ship ensurepip apart from Python; an outer pip can fill the environment too.
	@if "$(PYTHON)" -c 'import ensurepip' 2>/dev/null; then \
		"$(PYTHON)" -m venv --clear .venv; \
	else \
		"$(PYTHON)" -m venv --clear --without-pip .venv && "$(PYTHON)" -m pip --python .venv install --quiet pip; \
	fi

.venv/.for-%: pyproject.toml | .venv/bin/python
	@echo "Installing brainir with the extras $(extras_$*) into .venv; this can take some minutes"
	@$(PIP_INSTALL) --editable '.[$(extras_$*)]'
	@touch $@
