# Every developer action, and the only task runner. `make help` lists them; .ci/run calls `make test`.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/readingroom
TOOLS := $(CACHE)/tools/$(shell sha256sum infra/uv.txt 2>/dev/null | cut -c1-16)
UV := $(TOOLS)/bin/uv
export UV_PYTHON := /usr/bin/python3
export UV_PYTHON_DOWNLOADS := never
export PATH := $(CURDIR)/.venv/bin:$(PATH)
WITHOUT_CLUSTER := pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m "not cluster"

.PHONY: help setup demo stop clean check fix build test test-fast test-cluster test-beside bench plan measure

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(UV)  ## Debian packages, uv and the locked Python environment (done by every other target)
	@missing=$$(for p in $$(grep -v '^#' infra/debian-packages.txt); do \
	    [ "$$(dpkg-query -W -f='$${db:Status-Status}' $$p 2>/dev/null)" = installed ] || echo $$p; done); \
	if [ -n "$$missing" ]; then echo "installing Debian packages:" $$missing; \
	    [ "$$(id -u)" = 0 ] || { echo "not now: Debian packages are missing and this is not root. Next: run as root" >&2; exit 1; }; \
	    apt-get -qq update; DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $$missing >/dev/null; fi
	@$(UV) sync --quiet --frozen --all-extras

$(UV): infra/uv.txt
	@[ -e /usr/share/doc/python3-venv ] || { apt-get -qq update; apt-get -qq install -y --no-install-recommends python3-venv >/dev/null; }
	@rm -rf $(TOOLS); /usr/bin/python3 -m venv $(TOOLS).new
	@$(TOOLS).new/bin/pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r infra/uv.txt
	@mv $(TOOLS).new $(TOOLS); touch $(UV)

demo: setup  ## node, platform, real DICOM, one project: ends with the address where a researcher logs in
	@python -m infra.demo

stop: setup  ## ends what `make demo` started; data stays
	@readingroom node down

clean: setup  ## `make stop`, then removes data, keys and accounts (caches stay)
	@readingroom node down --remove-data

check: setup  ## lint, types, import contracts, lock
	@$(UV) lock --check --quiet
	@ruff check .
	@ruff format --check --quiet . || { ruff format --diff . 2>/dev/null | head -40; exit 1; }
	@lint-imports --no-cache
	@mypy

fix: setup  ## format, and write what is generated
	@ruff check --fix --quiet . || true
	@ruff format --quiet .

build: setup  ## the programs of the node and the images, from pinned sources
	@readingroom node build >/dev/null
	@python -m images.build >/dev/null

test-fast: setup  ## everything that needs no cluster
	@$(WITHOUT_CLUSTER)

test-beside: setup  ## `make check` and the same, yielding to what else runs, and told when it is done
	@nice -n 10 $(MAKE) check
	@said=$$(mktemp); status=0; nice -n 10 $(WITHOUT_CLUSTER) >$$said 2>&1 || status=$$?; cat $$said; rm $$said; exit $$status

test-cluster: build  ## the live node
	@pytest -q -m cluster -p no:randomly tests/cluster

# The live part waits for most of its time: the rest runs beside it.
test: build  ## everything CI runs
	@$(MAKE) -j2 test-beside test-cluster

bench: setup  ## spawn times beside a bare pod and stock KubeSpawner; de-identification beside its peers; damaged files
	@python -m tests.bench

plan: setup  ## simulates the scale plan of policies/scale and writes its page and picture
	@python -m tests.bench.scale

measure: setup  ## the table of figures that make us look again
	@python -m tests.measure
