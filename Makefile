# Every target sets up what it needs; a second run costs seconds.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
OLD := .venv-compat
CORES := $(shell env -u OMP_NUM_THREADS nproc)
export RAY_USAGE_STATS_ENABLED := 0
export MLFLOW_DISABLE_TELEMETRY := true
# Without bytecode every process of a test compiles what it imports: a third of the time goes into that.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: setup demo quick test faults gpu compat check fmt bench lock clean

setup: $(STAMP)

# uv lives inside the environment, so nothing but python3-venv and make has to be there before. Compiled once: a run
# starts half a dozen processes that import torch or Ray, and where Python may not write bytecode each would compile it.
$(STAMP): requirements.lock pyproject.toml
	@test -x "$(BIN)/python" || { echo "creating $(VENV)"; $(PYTHON) -m venv "$(VENV)"; }
	@test -x "$(BIN)/uv" || "$(BIN)/python" -m pip install --quiet --disable-pip-version-check uv
	@echo "installing the packages (half a minute on a fast line, 6 GB on disk) and compiling them (a minute)"
	@VIRTUAL_ENV="$(CURDIR)/$(VENV)" "$(BIN)/uv" pip sync --quiet --compile-bytecode requirements.lock
	@VIRTUAL_ENV="$(CURDIR)/$(VENV)" "$(BIN)/uv" pip install --quiet --no-deps --editable .
	@"$(BIN)/python" -m compileall -q jobs platform model cluster
	@touch "$(STAMP)"

demo: setup
	@"$(BIN)/rayox" demo

# For every change: no Ray, and nothing that takes seconds.
quick: setup
	@OMP_NUM_THREADS=1 "$(BIN)/python" -m pytest -n $(CORES) --ignore=tests/ray --ignore=tests/bench \
	  --ignore=tests/gpu \
	  -m "not ray and not slow and not gpu and not bench and not faults"

# Those on Ray after the others: beside them each start of a cluster takes several times as long.
test: setup
	@OMP_NUM_THREADS=1 "$(BIN)/python" -m pytest -n $(CORES) --durations=25 \
	  -m "not ray and not gpu and not bench and not faults"
	@OMP_NUM_THREADS=1 "$(BIN)/python" -m pytest -n $(CORES) --durations=25 \
	  -m "ray and not gpu and not bench and not faults"

# Then once more what a fault has to leave exact, on Ray's public interface alone.
faults: setup
	@"$(BIN)/python" -m pytest -m faults
	@RAYOX_PLAIN_RAY=1 "$(BIN)/python" -m pytest -m "ray and not bench" tests/ray/test_stream.py tests/ray/test_stall.py \
	  tests/ray/test_training.py tests/ray/test_faults.py tests/ray/test_resume.py

# The tests on Ray and MLflow with the oldest of both that pyproject.toml allows, in an environment beside the pinned one.
# Older Rays leave files open, of which Python warns.
compat: setup
	@test -x "$(OLD)/bin/python" || "$(BIN)/uv" venv --quiet --seed --python "$(BIN)/python" "$(OLD)"
	@grep -E '^(torch|torchvision)==' requirements.lock >"$(OLD)/torch.txt"
	@sed -nE 's/^    "((ray|mlflow)[^>]*)>=([0-9.]+),.*/\1==\3/p' pyproject.toml >"$(OLD)/oldest.txt"
	@"$(BIN)/uv" pip install --quiet --python "$(OLD)/bin/python" --constraint "$(OLD)/torch.txt" \
	  --requirement "$(OLD)/oldest.txt" --group dev --editable .
	@OMP_NUM_THREADS=1 "$(OLD)/bin/python" -m pytest -n $(CORES) -m "not gpu and not bench and not faults" \
	  -W ignore::ResourceWarning -W ignore::pytest.PytestUnraisableExceptionWarning \
	  tests/ray tests/platform/test_tracking.py tests/platform/test_registry.py tests/platform/test_sender.py

# At most eight minutes on a machine with a CUDA device, with a table at the end. GPU_PYTHON names another Python that has
# the packages, for a machine without a registry to set up from: make gpu GPU_PYTHON=python3.
ifdef GPU_PYTHON
gpu:
	@"$(GPU_PYTHON)" tests/gpu/on_gpu.py
else
gpu: setup
	@"$(BIN)/python" tests/gpu/on_gpu.py
endif

check: setup
	@"$(BIN)/ruff" format --check .
	@"$(BIN)/ruff" check .
	@"$(BIN)/mypy"
	@"$(BIN)/deptry" jobs platform model cluster

fmt: setup
	@"$(BIN)/ruff" format .
	@"$(BIN)/ruff" check --fix .

bench: setup
	@"$(BIN)/python" -m pytest -m bench -s

# Pins every package for Python 3.11 on Linux; the file carries no index address.
lock: setup
	@VIRTUAL_ENV="$(CURDIR)/$(VENV)" "$(BIN)/uv" pip compile --quiet --upgrade --python-version 3.11 \
	  --no-emit-index-url --no-emit-find-links --no-header --no-annotate --group dev pyproject.toml -o requirements.lock

clean:
	rm -rf "$(VENV)" "$(OLD)" .mypy_cache .ruff_cache .pytest_cache
