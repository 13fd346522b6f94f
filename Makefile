# make help        what can be made
#
# Variables: PYTHON (3.10 to 3.12), VENV, PIP_ARGS (options of pip install; -vv shows its progress),
# PYTEST_ARGS, PYTEST_WORKERS (processes that share the tests, 2 GB each), and those below.

PYTHON ?= python3
VENV ?= .venv
PIP_ARGS ?=
PYTEST_WORKERS ?= 2
DEMO_CONFIG ?= configs/sta_vit_motions.py
DEMO_CHECKPOINT ?= checkpoints/sta_vit_motions.safetensors
DEMO_ARGS ?= --schedules 0 4 8 12 16 --pruners sta random tome
DEMO_SWIN_CONFIG ?= configs/sta_swin_motions.py
DEMO_SWIN_CHECKPOINT ?= checkpoints/sta_swin_motions.safetensors
DEMO_SWIN_ARGS ?= --pruners sta random
TRAIN_DATA_ARGS ?= --out data/motions

PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --no-input
STAMP := $(VENV)/.installed
TRY_CV2 := import cv2; cv2.__version__
REQUIREMENTS := requirements.txt requirements-dev.txt constraints.txt setup.py

.DEFAULT_GOAL := help
.PHONY: help install test check lint types docs pytest demo train-data doctor clean

help:  ## this list
	@echo 'Targets:'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP)  ## .venv with the tested versions; runs again only when the requirements change

test: install check  ## install what is missing, lint, run the tests

check: $(STAMP) lint types docs pytest  ## lint, types, documentation and tests, as CI runs them

pytest: $(STAMP)  ## the tests alone
	OMP_NUM_THREADS=1 $(PY) -m pytest -n $(PYTEST_WORKERS) --dist loadfile $(PYTEST_ARGS)

lint: $(STAMP)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: $(STAMP)  ## mypy over sta/, strict
	$(PY) -m mypy

# From nothing each time: a warning of a page that has not changed since would not be seen again.
docs: $(STAMP)  ## the documentation as a site in site/; a dead link or a missing reference is an error
	rm -rf site
	OMP_NUM_THREADS=1 $(PY) -m sphinx -q -E -W --keep-going -j auto -c docs -d build/doctrees . site
	@echo 'The site: site/index.html'

demo: install  ## accuracy next to GFLOPs on the embedded videos, ViT and VideoSwin: tables and plots
	$(PY) tools/test.py $(DEMO_CONFIG) $(DEMO_CHECKPOINT) $(DEMO_ARGS)
	$(PY) tools/test.py $(DEMO_SWIN_CONFIG) $(DEMO_SWIN_CHECKPOINT) $(DEMO_SWIN_ARGS)

train-data: install  ## render the training videos of the embedded data set
	$(PY) tools/make_motions.py --split train_easy $(TRAIN_DATA_ARGS)
	$(PY) tools/make_motions.py --split train $(TRAIN_DATA_ARGS)

doctor:  ## versions, what is broken and the command that mends it; installs nothing
	@python='$(PY)'; [ -x "$$python" ] || { python='$(PYTHON)'; \
		echo "No $(VENV) here: make install makes it. This is about $$python."; }; \
	"$$python" -m sta.doctor

clean:  ## remove .venv and what tools left behind; data and results stay
	rm -rf $(VENV) build site docs/reference/api sta.egg-info .pytest_cache .ruff_cache .mypy_cache
	find sta tools tests configs docs -name __pycache__ -type d -prune -exec rm -rf {} +

# A machine without a venv module, or with too old a Python, gets one line instead of a traceback.
$(PY):
	@command -v $(PYTHON) > /dev/null \
		|| { echo '$(PYTHON) not found. Mend: make install PYTHON=python3.11'; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo "$$($(PYTHON) --version) is too old, 3.10 to 3.12 will do. Mend: make install PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null \
		|| { echo '$(PYTHON) has no venv module. Mend (Debian, Ubuntu): apt-get install python3-venv'; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The stamp is written last: an interrupted installation is taken up again.
$(STAMP): $(REQUIREMENTS) | $(PY)
	@echo 'Installing into $(VENV): about 2 minutes with a CPU build of PyTorch, longer with CUDA.'
	$(PIP) install -qq $(PIP_ARGS) -c constraints.txt -r requirements.txt -r requirements-dev.txt
	$(PIP) install -qq --no-deps --no-build-isolation -e .
	@$(PY) -c '$(TRY_CV2)' 2> /dev/null || $(MAKE) --no-print-directory headless-opencv
	@touch $@

# The usual OpenCV wheels need a desktop's libGL.so.1 and glib, which a bare server lacks. The
# headless wheel of the same version is the same library without windows and needs neither. It goes
# over the others: their metadata stay, which mmengine and mmaction2 ask for, and nothing is lost
# where it cannot be fetched.
.PHONY: headless-opencv
headless-opencv:
	@echo 'import cv2 fails (no libGL.so.1 or glib here): adding the headless OpenCV wheel.'
	@version=$$($(PY) -c 'from importlib.metadata import version; print(version("opencv-contrib-python"))') \
	&& $(PIP) install -qq $(PIP_ARGS) --force-reinstall --no-deps "opencv-contrib-python-headless==$$version"
	@$(PY) -c '$(TRY_CV2)' || { echo 'OpenCV still does not import. See: $(PY) -m sta.doctor'; exit 1; }
