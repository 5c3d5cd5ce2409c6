# make help lists the targets. Everything happens in .venv, build and runs; nothing outside this folder is touched.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# The tools of .venv (cmake, ninja, ...) come before the machine's own.
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Fixed when make starts, so that every run of one `make train` lands in one folder.
STAMP := $(shell date +%Y%m%d-%H%M%S)
TRAIN_OUT ?= runs/deepsea20-$(STAMP)
TRAIN_ARGS ?= --env DeepSea-v0 --seed 0 size=20 max_episodes=1500

.DEFAULT_GOAL := help
.PHONY: help setup train test test-slow test-cpp test-wheel test-wheel-snippets test-cuda test-metaworld test-integrations test-migration test-cleanrl-repository test-pythons tsan fuzz kill-test kill-runs drift-test soak chaos sanitize conformance lint format bench bench-cpp bench-cuda wheel wheels import-matrix docs clean

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

ifdef OFFLINE
# Only what is compiled is made anew: that needs no network.
$(VENV)/.dependencies:
	@echo "OFFLINE=1 needs a .venv that 'make setup' has made where there is a network" >&2; exit 1
else
$(VENV)/.dependencies: constraints.txt pyproject.toml tools/list_requirements.py
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade 'pip>=23.1'
	@echo "Installing the development dependencies into $(VENV) (a few minutes the first time) ..."
	$(BIN)/python tools/list_requirements.py dev > $(VENV)/requirements.txt
	$(PIP) install --quiet -c constraints.txt -r $(VENV)/requirements.txt
	touch $@
endif

# ON in .ci/run: a compiler that is newer than the code warns of things that stop nobody.
WERROR ?= OFF
# One build folder for the package and the C++ tests, so that the core is compiled once.
SHARED_BUILD := -C build-dir=build/cpp -C build.targets=metarl_package -C cmake.define.METARL_PYTHON=ON -C cmake.define.METARL_WERROR=$(WERROR)
DEFAULT_PRESET := cmake --preset default -DMETARL_PYTHON=ON -DMETARL_WERROR=$(WERROR)
CPP_SOURCES := $(shell find csrc cmake -type f) CMakeLists.txt
$(VENV)/.installed: $(VENV)/.dependencies $(CPP_SOURCES)
	@echo "Building the C++ core ..."
	$(PIP) install --quiet --no-build-isolation --no-deps $(SHARED_BUILD) -e .
	touch $@

setup: $(VENV)/.installed ## Make .venv, build the core, install the package

train: setup ## Train CDER and Double-DQN+PER on DeepSea 20, then write a report
	$(BIN)/metarl train cder $(TRAIN_ARGS) --out $(TRAIN_OUT)/cder
	$(BIN)/metarl train ddqn-per $(TRAIN_ARGS) --out $(TRAIN_OUT)/ddqn-per
	$(BIN)/metarl report $(TRAIN_OUT)/cder $(TRAIN_OUT)/ddqn-per --out $(TRAIN_OUT)/report.html

test: setup test-cpp test-wheel ## Run every test: C++ (plain and ASan+UBSan), wheel, Python
	$(BIN)/python -m pytest -n 2

test-cpp: setup
	$(DEFAULT_PRESET) >/dev/null && cmake --build --preset default && ctest --preset default
	cmake --preset asan >/dev/null && cmake --build --preset asan && ctest --preset asan

# CUDA_ARGS=--quick: some minutes in all, where a GPU is there for a short time only.
CUDA_ARGS ?=
test-cuda: setup ## On a GPU: tree, replay buffer and environments against the CPU's bit for bit, graphs, streams, compute-sanitizer
	$(BIN)/python tests/cuda/run.py $(CUDA_ARGS)

test-wheel: wheel
	tools/check_wheel.sh $(BIN)/python dist/*.whl

test-wheel-snippets: wheel ## Every Python example of README and docs with the installed wheel, outside of this folder
	tools/check_wheel_snippets.sh $(BIN)/python dist/*.whl

# Meta-World pins an old mujoco: in a venv of its own, which sees everything else in .venv.
METAWORLD := build/venv-metaworld
test-metaworld: setup ## Meta-World, MuJoCo and MiniGrid in a venv of their own (400 MB)
	test -x $(METAWORLD)/bin/python || $(BIN)/python -m venv $(METAWORLD)
	$(BIN)/python tools/list_requirements.py metaworld > $(METAWORLD)/requirements.txt
	$(METAWORLD)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -r $(METAWORLD)/requirements.txt minigrid
	tools/add_development_packages.sh $(METAWORLD)/bin/python $(BIN)/python
	$(METAWORLD)/bin/python -m pytest -n 2 tests/python/test_wrapped_metaworld.py tests/python/test_wrapped_packages.py tests/python/test_metaworld_training.py
	$(METAWORLD)/bin/python -m pytest -n 0 tests/python/test_reproduce_spec.py -k metaworld

# Each library in a venv of its own, which sees everything else in .venv: they pin what others need newer.
test-integrations: setup test-migration ## stable-baselines3, TorchRL, Tianshou, DataLoader, Minari, CleanRL, cpprb: the real libraries, no skips
	tools/test_integration.sh $(BIN)/python sb3 stable-baselines3 stable_baselines3
	tools/test_integration.sh $(BIN)/python torchrl torchrl torchrl
	tools/test_integration.sh $(BIN)/python tianshou tianshou tianshou
	tools/test_integration.sh $(BIN)/python agents torch torch_data
	tools/test_integration.sh $(BIN)/python minari minari,h5py -- tests/python/test_task_datasets.py tests/python/test_damaged_files.py -k "minari or dataset"

# CleanRL's scripts need Gymnasium 0.29. Gym 0.23 is what its released c51.py imports.
MIGRATION := build/venv-migration
test-migration: setup ## CleanRL's scripts on our replay and environments, cpprb beside ours, in a venv of their own
	test -x $(MIGRATION)/bin/python || $(BIN)/python -m venv $(MIGRATION)
	tools/add_development_packages.sh $(MIGRATION)/bin/python $(BIN)/python
	$(MIGRATION)/bin/python -m pip install --quiet --disable-pip-version-check -r bench/peers/cleanrl.txt -r bench/peers/cpprb.txt gym==0.23.1
	$(MIGRATION)/bin/python bench/peers/cleanrl_build.py
	METARL_REQUIRE=cleanrl,cpprb $(MIGRATION)/bin/python -m pytest -n 2 tests/python/test_integration_cleanrl.py tests/python/test_integration_cpprb.py

test-cleanrl-repository: setup ## Rainbow, C51, PPO and others of CleanRL's repository (fetched, or METARL_CLEANRL_REPOSITORY)
	tools/test_cleanrl_repository.sh $(BIN)/python $(MIGRATION)

test-slow: setup ## Run the long statistical, soak and training checks
	$(BIN)/python -m pytest -m slow --timeout=7200

test-pythons: ## pip install . into a fresh venv of every Python 3.10 ... 3.14 found, NumPy alone
	tools/check_pythons.sh

tsan: setup ## C++ tests under ThreadSanitizer
	cmake --preset tsan >/dev/null && cmake --build --preset tsan && ctest --preset tsan

FUZZ_INPUTS ?= 1000000
fuzz: setup ## Damaged checkpoints through the loader under ASan+UBSan (FUZZ_INPUTS=1000000)
	cmake --preset asan >/dev/null && cmake --build --preset asan --target fuzz_checkpoint
	build/asan/tests/cpp/fuzz_checkpoint $(FUZZ_INPUTS)

kill-test: setup ## Kill processes that save or write to mapped files, 200 times each (METARL_KILLS=200)
	$(BIN)/python -m pytest -n 0 -m slow -s -q --timeout=3600 tests/python/test_replay_checkpoint_crash.py tests/python/test_replay_mmap.py

kill-runs: setup ## Kill training again and again and resume it: the same bits as undisturbed (METARL_KILLS=100)
	$(BIN)/python -m pytest -n 0 -m slow -s -q --timeout=3600 tests/python/test_runs_killed.py

drift-test: setup ## A billion draws in range, a hundred million updates without drift, memory that stays flat
	$(BIN)/python -m pytest -n 0 -m slow -s -q --timeout=3600 tests/python/test_sum_tree.py tests/python/test_replay_soak.py

soak: setup ## Replay, environments and training for an hour: memory, files, threads stay flat (METARL_SOAK_SECONDS=3600)
	$(BIN)/python -m pytest -n 0 -m slow -s -q --timeout=0 tests/python/test_soak.py

chaos: setup ## Break things on purpose: kills, full disks, dying workers, forks, Ctrl-C; a table (METARL_KILLS=200)
	$(BIN)/python tools/chaos.py

sanitize: setup ## C++ tests under ASan+UBSan, then under ThreadSanitizer
	cmake --preset asan >/dev/null && cmake --build --preset asan --target all test_device_env && ctest --preset asan -C sanitize
	cmake --preset tsan >/dev/null && cmake --build --preset tsan && ctest --preset tsan

CONFORMANCE_RECORDS ?= build/conformance.jsonl
conformance: setup ## Compare a million steps of every environment with the package that defines it, print the table
	mkdir -p $(dir $(CONFORMANCE_RECORDS)) && rm -f $(CONFORMANCE_RECORDS)
	METARL_CONFORMANCE_RECORDS=$(CONFORMANCE_RECORDS) $(BIN)/python -m pytest -n 2 -q -m "slow or not slow" --timeout=7200 tests/conformance
	$(BIN)/python tools/conformance_table.py $(CONFORMANCE_RECORDS)

CPP_FORMATTED = $(shell git ls-files '*.h' '*.cpp' '*.cu' '*.inl')
lint: setup ## Check style, types, spelling, layering
	ruff check .
	ruff format --check .
	mypy
	codespell $$(git ls-files | grep -v -E '\.(csv|json|png|npz)$$')
	clang-format --dry-run --Werror $(CPP_FORMATTED)
	$(BIN)/python tools/check_layers.py

format: setup ## Rewrite the sources in the project's style
	ruff check --fix .
	ruff format .
	clang-format -i $(CPP_FORMATTED)

bench: setup ## Measure replay and environments against the peers (makes their venvs the first time)
	$(BIN)/python bench/run.py

bench-cuda: setup ## On a GPU: samples, updates, environment and training steps a second, beside torch, TorchRL's tree and gymnax
	$(BIN)/python bench/cuda/run.py $(CUDA_ARGS)

bench-cpp: setup ## Time tree and buffer from C++, the tree beside the floor that memory sets
	$(DEFAULT_PRESET) >/dev/null && cmake --build --preset default --target metarl_bench_tree metarl_bench_replay
	build/cpp/csrc/bench/metarl_bench_tree
	build/cpp/csrc/bench/metarl_bench_replay

wheel: setup ## Build the wheel into dist/
	rm -rf dist
	$(PIP) wheel --quiet --no-build-isolation --no-deps $(SHARED_BUILD) -w dist .

WHEELS_VENV := build/venv-wheels
WHEELS_ARGS ?=
$(WHEELS_VENV)/.installed: tools/requirements-wheels.txt
	test -x $(WHEELS_VENV)/bin/python || $(PYTHON) -m venv $(WHEELS_VENV)
	$(WHEELS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

wheels: $(WHEELS_VENV)/.installed ## manylinux wheels of every Python found and the source distribution into dist/, checked
	$(WHEELS_VENV)/bin/python tools/build_wheels.py $(WHEELS_ARGS)

MATRIX_ARGS ?=
import-matrix: ## The wheels of dist/ beside several NumPys and torches, at every instruction-set level
	$(PYTHON) tools/import_matrix.py $(MATRIX_ARGS) dist/*.whl

docs: setup ## Build the HTML documentation into docs/_build
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build

clean: ## Remove everything that make made, except runs/
	rm -rf $(VENV) build dist docs/_build .mypy_cache .pytest_cache .ruff_cache .hypothesis .benchmarks
