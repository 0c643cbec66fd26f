# Everything is installed into $(VENV); `make VENV=/somewhere/else test` leaves .venv alone. Modules are compiled when they
# are first used, which few of them are, and stay so: torch takes longer to compile than most tests to run.
unexport PYTHONDONTWRITEBYTECODE
VENV ?= .venv
PYTHON ?= python3
INSTALL = $(VENV)/bin/pip install --quiet --no-compile --constraint constraints.txt --editable

.PHONY: help demo install test test-slow lint docs tensorboard

help:  ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

$(VENV)/bin/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV)/developed: pyproject.toml constraints.txt | $(VENV)/bin/pip
	$(INSTALL) '.[dev]'
	touch $@

install: $(VENV)/developed  ## Install with all that tests, checks and the site need

demo: $(VENV)/bin/pip  ## Install, then run the demo: no download of data or weights
	$(INSTALL) .
	$(VENV)/bin/lightning test --config configs/demo.yaml

test: install  ## Install, then run the tests
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

test-slow: install  ## Install, then run the tests that take minutes
	$(VENV)/bin/python -m pytest -m slow

lint: install  ## Install, then check style and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

docs: install  ## Install, then build the site into site/; warnings are errors
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict

TENSORBOARD_PORT ?= 6006

tensorboard:  ## Look at the runs, with curves as they were measured
	@echo 'Open http://localhost:$(TENSORBOARD_PORT)/?smoothing=0#text&_smoothingWeight=0'
	$(VENV)/bin/tensorboard --logdir runs --port $(TENSORBOARD_PORT)
