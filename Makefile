# `make` alone lists what there is. Works with GNU Make 3.81.
SHELL := /bin/bash
MAKEFLAGS += --no-print-directory
BIN := .venv/bin
ARGS ?=
REQUIRE ?=
FILES ?= .
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

setup: ## make .venv from requirements.lock (done at once when nothing changed)
	@scripts/setup

run: setup ## start the whole service, nothing else needed; Ctrl-C ends it
	@exec $(BIN)/notify up $(ARGS)

test: setup ## run all tests; REQUIRE=all: none may be skipped; ARGS='-k name': passed to pytest
	@REQUIRE='$(REQUIRE)' $(BIN)/python -m pytest $(ARGS)

test-embedded: setup ## only what needs no server, no browser and no process of its own: under a minute
	@$(BIN)/python -m pytest --numprocesses=auto --dist=worksteal -m 'not (processes or postgres or redis or kafka or rabbitmq or chromium)' $(ARGS)

check: setup ## formatting, lint, types, import rules, dead code
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/ty check src
	$(BIN)/lint-imports --no-logo --cache-dir .cache/import-linter
	$(BIN)/vulture

format: setup ## format the code and repair what ruff can repair; FILES='a b': only there
	$(BIN)/ruff format $(FILES)
	$(BIN)/ruff check --fix $(FILES)

migrate: setup ## bring the database to the newest schema
	@$(BIN)/notify migrate $(ARGS)

crash-test: setup ## kill the service again and again and count what was lost
	@$(BIN)/python -m tests.crash $(ARGS)

chaos: setup ## break every server and process, again and again, and count what was lost; about 5 minutes
	@$(BIN)/python -m tests.chaos $(ARGS)

chaos-full: setup ## the same with 100,000 notifications and 25 kills of each kind; ARGS='--broker kafka'
	@$(BIN)/python -m tests.chaos --full $(ARGS)

rolling: setup ## restart all processes in turns under load: nothing lost, nothing repeated
	@$(BIN)/python -m tests.chaos rolling $(ARGS)

fuzz: setup ## send generated requests to the API
	@$(BIN)/python -m tests.fuzz $(ARGS)

load-test: setup ## measure the service under load
	@$(BIN)/python -m tests.load $(ARGS)

settings-docs: setup ## write docs/settings.md from the code
	@$(BIN)/python -m notification_service.settings > .cache/settings.md
	@mkdir -p docs && cp .cache/settings.md docs/settings.md

lock: setup ## write requirements.lock from pyproject.toml; ARGS=--upgrade: with the newest versions
	@scripts/lock $(ARGS)

build: setup ## build the wheel into dist/
	@rm -rf dist && mkdir dist && PATH="$$PWD/$(BIN):$$PATH" python -c 'import uv_build; print("dist/" + uv_build.build_wheel("dist"))'

clean: ## remove everything that was made, .venv too
	rm -rf .venv .cache build dist .hypothesis

.PHONY: help setup run test test-embedded check format migrate crash-test chaos chaos-full rolling fuzz load-test settings-docs lock build clean
