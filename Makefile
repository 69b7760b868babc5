# `make demo` and `make test` need only Python 3.11 or newer, git and make. They install
# everything else, into .venv.

BIN := .venv/bin
STAMP := .venv/.mlpeft-setup
ARGS :=
ROW :=
SEEDS := 1

.DEFAULT_GOAL := help
.PHONY: help demo test setup lint format docs dist bench reproduce chaos proto picture lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' \
	  $(MAKEFILE_LIST)

demo: $(STAMP) ## Meta-learn handwritten digits on a coordinator and two workers
	@$(BIN)/mlpeft demo $(ARGS)

# A file stays in one process: its tests share what they train. In their order, as the
# last files by name are quick and the smallest by count are not.
test: lint ## Run all checks, then all tests; ARGS="-k name" goes to pytest
	$(call step,pytest,$(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS),read the first failure above)

setup: $(STAMP) ## Make .venv and install the pinned packages

# ------------------------------------------------------------------------------------

# $(call step,name,command,what to do when it fails)
define step
@printf '== %s\n' '$(1)'; $(2) || { \
  printf '\n%s failed: %s\n' '$(1)' '$(3)' >&2; exit 1; }
endef

lint: $(STAMP) ## Run the checks of `make test`, without the tests
	$(call step,ruff check,$(BIN)/ruff check --quiet,make format fixes what it can)
	$(call step,ruff format,$(BIN)/ruff format --check --quiet,run make format)
	$(call step,mypy,$(BIN)/mypy,fix the types above)
	$(call step,import-linter,$(BIN)/lint-imports --no-logo,an import breaks the order of the layers; see docs/architecture.md)
	$(call step,proto,$(BIN)/python tools/proto.py --check,run make proto and commit the result)
	$(call step,architecture,$(BIN)/python tools/architecture.py --check,run make picture and commit the result)
	$(call step,protocol,$(BIN)/python tools/protocol_tables.py --check,run tools/protocol_tables.py and commit the result)
	$(call step,codespell,$(BIN)/codespell,fix the spelling above)

format: $(STAMP) ## Fix layout, imports and simple findings
	$(BIN)/ruff check --fix-only --quiet
	$(BIN)/ruff format --quiet

docs: $(STAMP) ## Build the docs site in build/site
	@$(BIN)/python -m tools.site

dist: $(STAMP) ## Build wheel and sdist in dist
	@$(BIN)/python -m hatchling build --clean -d dist

bench: $(STAMP) ## Measure speed; ARGS goes to the benchmarks
	$(BIN)/python -m benchmarks $(ARGS)

reproduce: $(STAMP) ## Measure a published row: ROW=NAME SEEDS=3; without ROW, list them
	@$(BIN)/python -m benchmarks.reproduce $(if $(ROW),'$(ROW)' --seeds $(SEEDS)) $(ARGS)

chaos: $(STAMP) ## Train while processes die; ARGS="--minutes 10 --seed 3"
	@$(BIN)/mlpeft chaos $(ARGS)

proto: $(STAMP) ## Generate the protobuf code in mlpeft/transport/rpc from proto/
	$(BIN)/python tools/proto.py

picture: $(STAMP) ## Draw docs/images/architecture.svg from the imports
	$(BIN)/python tools/architecture.py

# We write the header, so that the file names no machine, folder or registry.
lock: ## Update all pins in constraints.txt (needs uv)
	@command -v uv >/dev/null || { echo 'make lock needs uv: pip install uv' >&2; exit 1; }
	@printf '%s\n' '# Everything that make installs, with digests. Made by `make lock`.' >$@.tmp
	@uv export --quiet --upgrade --format requirements-txt --extra demo --group dev \
	  --no-emit-project --no-header >>$@.tmp || { rm $@.tmp; exit 1; }
	@mv $@.tmp constraints.txt

clean: ## Remove .venv and the tools' caches
	rm -rf .venv build dist .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(STAMP): pyproject.toml constraints.txt models.txt tools/setup_env.sh
	@tools/setup_env.sh
	@touch $@
