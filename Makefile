# Chores of a checkout. Needs Python 3.11 or newer, git and make; the rest comes into $(VENV).

VENV ?= .venv
BIN := $(VENV)/bin
export PYTHON

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help up test lint format docs agent.toml clean

help:
	@echo 'make up          run receiver and agent together, print incidents; Ctrl-C ends both'
	@echo 'make test        run the tests with coverage (ARGS=... goes to pytest)'
	@echo 'make lint        style, types, layers, and that the documentation is in step'
	@echo 'make format      put the code into shape'
	@echo 'make docs        write agent.toml and the generated reference anew'
	@echo 'make agent.toml  write the commented default configuration alone'
	@echo 'make clean       remove what the chores made'
	@echo
	@echo 'PYTHON=...       the interpreter to build $(VENV) with (default: the newest that works)'

# The environment knows its extra by a stamp; the larger one, dev, contains the smaller.
$(VENV)/.receiver: pyproject.toml packaging/bootstrap.sh
	@if [ -e $(VENV)/.dev ]; then packaging/bootstrap.sh $(VENV) dev && touch $(VENV)/.dev; \
	else packaging/bootstrap.sh $(VENV) receiver; fi
	@touch $@

$(VENV)/.dev: pyproject.toml packaging/bootstrap.sh
	@packaging/bootstrap.sh $(VENV) dev
	@touch $@ $(VENV)/.receiver

up: $(VENV)/.receiver
	@OPENBLAS_NUM_THREADS=1 exec $(BIN)/vedette up

# A slow machine gets the same result: nothing in the tests depends on wall time.
test: $(VENV)/.dev
	@$(BIN)/coverage erase
	@OPENBLAS_NUM_THREADS=1 $(BIN)/coverage run --rcfile=.ci/coverage.toml -m pytest -q -n 2 $(ARGS)
	@$(BIN)/coverage combine -q --rcfile=.ci/coverage.toml
	@$(BIN)/coverage report --rcfile=.ci/coverage.toml --skip-covered

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(BIN)/vedette config default | diff -u agent.toml - || \
	  { echo 'agent.toml is not what `vedette config default` prints: make agent.toml' >&2; exit 1; }
	$(BIN)/cog --check --diff docs/reference.md
	$(BIN)/python .ci/links.py

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: agent.toml
	@$(BIN)/cog -r docs/reference.md

agent.toml: $(VENV)/.dev
	@$(BIN)/vedette config default > agent.toml.new && mv agent.toml.new agent.toml
	@echo 'agent.toml written'

clean:
	rm -rf $(VENV) .run build dist .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache \
	  .hypothesis .import_linter_cache
	find agent plugins tests -name __pycache__ -type d -prune -exec rm -rf {} +
