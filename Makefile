# Every target makes and reuses its own environment in .venv/ from requirements.lock.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: install demo test lint clients look real bench clean

install: .venv/.installed

.venv/.installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

demo: install
	$(BIN)/synthrelease demo

test: install
	$(BIN)/python -m pytest -n auto --dist worksteal

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Orthanc, OHIF in a browser, dcmqi, dcmjs, DCMTK: all fetched, all demanded; about ten minutes.
clients: install
	clients/install servers browser python driver viewer
	SYNTHRELEASE_CLIENTS=all $(BIN)/python -m pytest tests/clients

# An archive in a local Orthanc and in OHIF, until Ctrl-C; the newest run's unless ARCHIVE=FOLDER says another.
look: ARCHIVE ?= $(firstword $(shell ls -dt runs/*/archive 2>/dev/null))
look: install
	$(if $(ARCHIVE),,$(error There is no archive in runs/: make demo writes one, or say ARCHIVE=FOLDER))
	-clients/install servers viewer
	$(BIN)/python -m clients "$(ARCHIVE)"

real: install
	$(BIN)/python -m benchmarks.real

bench: install
	$(BIN)/python -m benchmarks.dp_step
	$(BIN)/python -m benchmarks.archive_write
	$(BIN)/python -m benchmarks.ingest
	$(BIN)/python -m benchmarks.verify_pack
	$(BIN)/python -m benchmarks.header_scan
	$(BIN)/python -m benchmarks.copy_search
	$(BIN)/python -m benchmarks.audit_power
	$(BIN)/python -m benchmarks.uld

clean:
	rm -rf .venv build *.egg-info clients/web/node_modules
