# make demo   sets up .venv, then lets MGRAL choose images on a synthetic pool and compares it with random choice
# make test   sets up what is missing, then runs the tests
# make setup  only sets up .venv
# make label-studio   sets up a Label Studio of its own in .label-studio: for annotators, and for the tests that want one
# make up     a Prefect server and a worker on 127.0.0.1 (PORT=4201: on another port); make down stops them
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DO_NOT_TRACK := 1
export DVC_NO_ANALYTICS := 1

.PHONY: demo test setup lint up down label-studio

demo: setup
	mgral run

test: setup
	lint-imports
	ruff check .
	pytest -n 2 --dist loadfile --no-loadscope-reorder

setup: .venv/ready

.venv/ready: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"mgral needs Python 3.11 or newer, got {v[0]}.{v[1]}: make PYTHON=python3.11 …")'
	@echo "Setting up .venv: about 260 packages, 6 GB with torch's CUDA libraries; a few minutes."
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --requirement requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

up: setup
	@python -m flows.services up $(if $(PORT),--port $(PORT))

down:
	@python -m flows.services down

label-studio: .label-studio/bin/label-studio

# In an environment of its own: it pins Django, numpy and much else.
.label-studio/bin/label-studio:
	@echo "Setting up .label-studio: about 160 packages, 1 GB; a minute or two."
	$(PYTHON) -m venv .label-studio
	.label-studio/bin/pip install --quiet --disable-pip-version-check label-studio==1.23.2
