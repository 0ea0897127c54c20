# `make` or `make help` lists the commands. Each of them sets up what it needs in .venv, once.

.DEFAULT_GOAL := help
.NOTPARALLEL:
PYTHON ?= python3
VENV ?= .venv
# CI tests other versions with another file of requirements
REQUIREMENTS ?= requirements.txt
# tests run on two cores, one thread each
WORKERS ?= 2
# for example: make pytest OPTIONS='-k losses'
OPTIONS ?=

BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help
help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Installed anew only when the requirements or the package's own description change.
$(READY): $(REQUIREMENTS) pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $(REQUIREMENTS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

.PHONY: setup
setup: $(READY)  ## install everything into .venv

.PHONY: book
book: $(READY)  ## build the book
	$(BIN)/jupyter-book build . --all -W --keep-going -n
	@echo "The book: file://$(CURDIR)/_build/html/index.html"

.PHONY: test
test: lint pytest  ## check everything: style, types, tests, notebooks

.PHONY: lint
lint: $(READY)  ## check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

.PHONY: pytest
pytest: $(READY)  ## run the tests, and every notebook at the budget `smoke`
	GENIMG_BUDGET=smoke OMP_NUM_THREADS=1 $(BIN)/python -m pytest \
	  -n $(WORKERS) --dist loadfile --durations 10 --nbval-lax --nbval-current-env \
	  $(OPTIONS) tests $(wildcard notebooks/*.ipynb solutions/*.ipynb)

.PHONY: notebooks
notebooks: $(READY)  ## regenerate the notebooks that are out of date, and run them
	$(BIN)/python tools/notebooks.py

.PHONY: notebooks-check
notebooks-check: $(READY)  ## say which notebooks are out of date, and why
	$(BIN)/python tools/notebooks.py --check

.PHONY: mutants
mutants: $(READY)  ## show how well the exercises tell right from wrong
	$(BIN)/python -m genimg_ref.exercises.mutants

# the folder, file or zip that was handed in; where results and reports go; what is graded
SUBMISSIONS ?= submissions
ASSIGNMENT ?=

.PHONY: grade
grade: OUT ?= grades
grade: $(READY)  ## grade SUBMISSIONS=folder into OUT=folder [ASSIGNMENT=file.toml] [OPTIONS='--isolation user']
	$(BIN)/python -m genimg_ref.grading "$(SUBMISSIONS)" --out "$(OUT)" \
	  $(if $(ASSIGNMENT),--assignment "$(ASSIGNMENT)") $(OPTIONS)

.PHONY: gradescope
gradescope: OUT ?= autograder.zip
gradescope: $(READY)  ## write OUT=autograder.zip for ASSIGNMENT=file.toml
	$(if $(ASSIGNMENT),,$(error Name what is graded: make gradescope ASSIGNMENT=assignment.toml))
	$(BIN)/python -m genimg_ref.grading.package gradescope --assignment "$(ASSIGNMENT)" --out "$(OUT)"

.PHONY: bench-grading
bench-grading: $(READY)  ## measure the grader beside nbgrader and otter
	$(BIN)/python benchmarks/grading.py $(OPTIONS)

.PHONY: bench-metrics
bench-metrics: $(READY)  ## measure the measures beside scipy, torchmetrics and torch-fidelity
	$(BIN)/python benchmarks/metrics.py $(OPTIONS)

# an environment which sees what is in .venv and adds what is compared
BENCH := .venv-bench/diffusion
$(BENCH)/ready: $(READY) benchmarks/requirements-diffusion.txt
	$(BIN)/python -m venv --clear $(BENCH)
	$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" \
	  > $$($(BENCH)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/course.pth
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
	  -r benchmarks/requirements-diffusion.txt
	touch $@

.PHONY: bench-diffusion
bench-diffusion: $(BENCH)/ready  ## measure the U-Net beside diffusers and denoising-diffusion-pytorch
	OMP_NUM_THREADS=1 PYTHONPATH=. $(BENCH)/bin/python benchmarks/diffusion.py $(OPTIONS)

.PHONY: clean
clean:  ## remove what was built; .venv stays
	rm -rf _build .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
