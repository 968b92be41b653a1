# `make help` lists the targets. Everything runs in .venv, which the first of them creates.

PYTHON ?= python3
BIN := .venv/bin
# Snakemake's jobs call the commands of the environment by their names.
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Every job is a process: bytecode halves the time that its imports take, whatever the environment says.
export PYTHONDONTWRITEBYTECODE :=
# torch's thread pools spin while they wait; with two cells side by side that time belongs to the other cell.
export OMP_WAIT_POLICY := PASSIVE

.PHONY: help reproduce verify smoke sweep report demo test lint lock clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

reproduce: .venv/installed  ## run or continue the default matrix: download, train, evaluate, tables and plots
	dvc repro

verify: .venv/installed  ## read all versioned files and say which are damaged
	python workflow/verify.py

smoke: .venv/installed  ## the same workflow on a small slice of the data, in minutes
	snakemake --configfile workflow/config/smoke.yaml

sweep: .venv/installed  ## search the methods' learning rates on validation
	snakemake sweep --configfile workflow/config/sweep.yaml

report: .venv/installed  ## all results as one HTML page that opens offline: results/report.html
	crossmodal-peft report

demo: .venv/installed  ## search the trained cells in a browser on this machine
	crossmodal-peft demo

test: .venv/installed lint  ## lint and run all tests
	pytest

lint: .venv/installed  ## check style and types
	ruff check src tests benchmarks workflow notebooks
	ruff format --check src tests benchmarks workflow notebooks
	snakefmt --check Snakefile workflow
	mypy
	lint-imports

lock: .venv/installed  ## resolve the pinned packages again after a change of pyproject.toml
	$(BIN)/pip install --quiet uv
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --no-header --no-annotate \
		--output-file requirements.lock

clean:  ## delete what smoke and tests wrote
	rm -rf build

# uv takes one minute, pip four; where a site's settings of pip mean nothing to uv, pip does it.
.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check uv==0.13.9 && \
		$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --no-deps -r requirements.lock || \
		$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@
