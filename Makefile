# Tasks to run in a checkout; `make help` lists them. Each target first creates the environment that it needs.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# Python 3.11 is preferred, because the constraints were tested with it.
PYTHON ?= $(shell for python in python3.11 python3 python3.12 python3.13; do \
	$$python -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV := .venv
# SevenNet, and the extras for the tests that are compatible with it.
EXTRAS := sevennet,chgnet,gpaw,generation,molecules,materials-project,fairchem,hdf5,espresso
MACE_VENV := .venv-mace
# The simulation loop is serial: two processes with one thread each are faster than one process with two threads.
WORKERS ?= 2
# Vulnerabilities that do not affect this program; docs/topics/security.md gives the reasons.
KNOWN_VULNERABILITIES := CVE-2024-36039
export OMP_NUM_THREADS ?= 1
export MLIP_AUTOPIPE_MACE_PYTHON ?= $(CURDIR)/$(MACE_VENV)/bin/python
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# pip builds GPAW with these options, which a plain installation guesses wrongly.
export GPAW_CONFIG := $(CURDIR)/aiida_mlip_autopipe/installation/gpaw_siteconfig.py
# The daemon and jobs find the programs of the environment, even if it is not activated.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

USER_STAMP := $(VENV)/installed
TOOLS_STAMP := $(VENV)/installed-tools
MACE_STAMP := $(MACE_VENV)/installed

# Each folder of tests has a separate AiiDA profile, and a process can load only one at a time. Workers therefore take
# complete files in the order of the folders and never return to an earlier profile.
SPREAD := --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

# AiiDA waits for the disk after each of about a thousand small writes, so the tests keep their profiles in memory. They
# use the disk if memory is short.
IN_MEMORY := scratch=$$(mktemp -d -p $$([ "$$(df --output=avail /dev/shm 2>/dev/null | tail -n 1)" -gt 8000000 ] 2>/dev/null \
	&& echo /dev/shm || echo $${TMPDIR:-/tmp})); trap 'rm -rf "$$scratch"' EXIT; trap 'exit 130' INT TERM; TMPDIR=$$scratch

.PHONY: help
help:  ## show this list
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

.PHONY: run
run: $(USER_STAMP)  ## set up an environment, a profile and a calculator, and run the example: cu_au.db
	mlip-autopipe setup
	# --force replaces the file of an earlier `make run`.
	mlip-autopipe run workchains/configs/cu_au.yaml --force

.PHONY: test
test: $(TOOLS_STAMP)  ## run all checks except the cluster tests and the long tests: lint, types, documentation, tests, wheel
	# Installing MACE mostly waits for the network and the disk, so the checks run meanwhile.
	$(MAKE) --jobs 2 --output-sync=target mace lint docs audit
	$(MACE_VENV)/bin/pytest -m '' tests/calculators/kinds/test_mace.py tests/descriptors/test_learned.py
	$(IN_MEMORY) pytest -m 'not cluster and not long' $(SPREAD) --durations 15

.PHONY: test-cluster
test-cluster: $(TOOLS_STAMP) $(MACE_STAMP)  ## set up Slurm, SSH and Apptainer here and run the tests on them; needs root on Debian 12
	tests/cluster/up.sh
	tests/cluster/stack/images.sh base sevennet
	status=0; \
	pytest -m 'cluster and not alone and not long' tests/cluster --numprocesses $(WORKERS) --dist loadfile --durations 15 || status=$$?; \
	pytest -m 'cluster and alone and not long' tests/cluster --durations 15 || status=$$?; \
	tests/cluster/down.sh; exit $$status

.PHONY: test-long
test-long: $(TOOLS_STAMP) $(MACE_STAMP)  ## run the tests that are too slow to run after each change: kills, full campaigns, four images
	$(IN_MEMORY) pytest -m 'long and not cluster' $(SPREAD) --durations 15
	tests/cluster/up.sh
	tests/cluster/stack/images.sh base sevennet mace gpaw
	status=0; pytest -m 'cluster and long' tests/cluster --durations 15 || status=$$?; tests/cluster/down.sh; exit $$status

.PHONY: lint
lint: $(TOOLS_STAMP)  ## run ruff, mypy, the import contracts and bandit
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	bandit --quiet --recursive --configfile pyproject.toml aiida_mlip_autopipe workchains

# PyMySQL 0.9.3 has a known vulnerability. If none is reported for it, the service cannot be reached or has no data, and
# the audit would prove nothing.
AUDIT := pip-audit --disable-pip --no-deps --progress-spinner off
.PHONY: audit
audit: $(TOOLS_STAMP)  ## check the packages in the constraints files for known vulnerabilities, if their database can be reached
	@known=$$(mktemp); trap 'rm -f "$$known"' EXIT; echo 'PyMySQL==0.9.3' >"$$known"; \
	if $(AUDIT) --requirement "$$known" 2>&1 | grep -qE 'CVE-|GHSA-|PYSEC-'; then \
		$(AUDIT) --requirement constraints.txt $(patsubst %,--ignore-vuln %,$(KNOWN_VULNERABILITIES)) && \
		$(AUDIT) --requirement constraints-mace.txt $(patsubst %,--ignore-vuln %,$(KNOWN_VULNERABILITIES)); \
	else \
		echo 'THE AUDIT DID NOT RUN: the database of vulnerabilities cannot be reached or does not answer.'; \
	fi

.PHONY: docs
docs: $(TOOLS_STAMP)  ## build the documentation (warnings are errors): docs/_build/html/index.html
	sphinx-build --fail-on-warning --keep-going --nitpicky --fresh-env --quiet docs docs/_build/html

.PHONY: bench
bench: $(TOOLS_STAMP)  ## run the benchmarks; nothing else should run on the machine
	pytest benchmarks --override-ini 'python_files=bench_*.py' --override-ini 'python_functions=bench_*' --override-ini timeout=0 -m '' --benchmark-only -s

.PHONY: environment
environment: $(TOOLS_STAMP)  ## create the development environment: .venv

.PHONY: mace
mace: $(MACE_STAMP)  ## create a second environment with MACE, which is incompatible with SevenNet: .venv-mace

.PHONY: constraints
constraints:  ## resolve all versions except that of torch, and write both constraints files
	$(call renew,constraints.txt,$(EXTRAS),--group dev)
	$(call renew,constraints-mace.txt,mace,--group test)

.PHONY: clean
clean:  ## remove build products and environments
	rm -rf $(VENV) $(MACE_VENV) build dist docs/_build docs/reference/generated .benchmarks
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

# A stamp is newer than its prerequisites, so a second call installs nothing. `-qq`: pip prints errors only.
define install
	@test -n '$(PYTHON)' || { echo 'Python 3.11 or newer is required: set its path with PYTHON=…'; exit 1; }
	test -x $(1)/bin/pip || $(PYTHON) -m venv $(1)
	$(1)/bin/pip install -qq --upgrade 'pip>=25.1'
	$(1)/bin/pip install -qq --constraint $(2) torch
	$(1)/bin/pip install -qq --constraint $(2) $(3)
	@touch $@
endef

define renew
	rm -rf build/renew && $(PYTHON) -m venv build/renew
	build/renew/bin/pip install -qq --upgrade 'pip>=25.1'
	build/renew/bin/pip install -qq $$(grep '^torch==' $(1))
	build/renew/bin/pip install -qq --editable '.[$(2)]' $(3)
	{ grep '^#' $(1); build/renew/bin/pip freeze --exclude-editable | sed 's/+cpu$$//'; } > build/renew.txt
	mv build/renew.txt $(1) && rm -rf build/renew
endef

$(USER_STAMP): pyproject.toml constraints.txt
	@echo 'Installing into $(VENV), which takes about two minutes …'
	$(call install,$(VENV),constraints.txt,--editable '.[sevennet]')

$(TOOLS_STAMP): $(USER_STAMP)
	@echo 'Installing the developer tools into $(VENV) …'
	$(VENV)/bin/pip install -qq --constraint constraints.txt --editable '.[$(EXTRAS)]' --group dev
	@touch $@

$(MACE_STAMP): pyproject.toml constraints-mace.txt
	@echo 'Installing into $(MACE_VENV), which takes about two minutes …'
	$(call install,$(MACE_VENV),constraints-mace.txt,--editable '.[mace]' --group test)
