# make help lists the targets. Everything happens in .venv; nothing outside this folder is touched.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help setup train test test-slow test-cpp sanitize lint format bench bench-peers wheel docs clean

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.dependencies: constraints.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade 'pip>=23.1'
	$(PIP) install --quiet -c constraints.txt $$($(BIN)/python tools/list_requirements.py dev)
	touch $@

CPP_SOURCES := $(shell find csrc cmake -type f) CMakeLists.txt
$(VENV)/.installed: $(VENV)/.dependencies $(CPP_SOURCES) pyproject.toml
	$(PIP) install --quiet --no-build-isolation --no-deps -e .
	touch $@

setup: $(VENV)/.installed ## Make .venv, build the core, install the package
