# `make help` lists the targets. Everything runs in .venv, which the first of them creates.

PYTHON ?= python3
BIN := .venv/bin
# Snakemake's jobs call the environment's commands by name.
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Each job is a new process: cached bytecode halves its import time, so it is always enabled.
export PYTHONDONTWRITEBYTECODE :=
# torch's thread pools spin while waiting; with two cells in parallel, that takes time from the other cell.
export OMP_WAIT_POLICY := PASSIVE

.PHONY: help reproduce verify smoke sweep report demo docs test lint lock clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

reproduce: .venv/installed  ## run or continue the default matrix: download, train, evaluate, tables and plots
	dvc repro

verify: .venv/installed  ## check all versioned files and list the damaged ones
	python workflow/verify.py

smoke: .venv/installed  ## the same workflow on a small slice of the data, in minutes
	snakemake --configfile workflow/config/smoke.yaml

sweep: .venv/installed  ## tune the methods' learning rates on validation
	snakemake sweep --configfile workflow/config/sweep.yaml

report: .venv/installed  ## write all results as one HTML page that opens offline: results/report.html
	crossmodal-peft report

demo: .venv/installed  ## search with the trained cells in a local browser
	crossmodal-peft demo

# The variable is Material's own switch for its announcement, which has no other.
docs: .venv/installed  ## build the documentation: build/docs/index.html
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet

test: .venv/installed lint  ## lint and run all tests
	pytest

lint: .venv/installed  ## check style and types
	ruff check src tests benchmarks workflow notebooks docs
	ruff format --check src tests benchmarks workflow notebooks docs
	snakefmt --check Snakefile workflow
	mypy
	lint-imports

lock: .venv/installed  ## update the pinned packages after a change to pyproject.toml
	$(BIN)/pip install --quiet uv
	uv pip compile pyproject.toml --extra phrases --group dev --universal --python-version 3.11 --no-header \
		--no-annotate --output-file requirements.lock

clean:  ## delete the output of smoke and tests
	rm -rf build

# uv takes one minute, pip four; pip takes over where a site's pip configuration does not work with uv.
.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check uv==0.13.9 && \
		$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --no-deps -r requirements.lock || \
		$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@
