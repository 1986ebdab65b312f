# Front door; Meson does the work. `make check` and `make quickstart` install and fetch what they need.
BUILD   ?= build
PREFIX  ?= /usr/local
MODELS   = smollm2-135m minilm
ALL_MODELS = $(MODELS) gemma3-270m qwen2.5-coder-0.5b
.PHONY: all deps build models all-models quickstart check check-peers bench lint format fuzz install clean

all: build

deps:                   # Debian packages: lists what is missing, then installs it (with sudo when not root)
	@tools/deps

build: deps             # the program build/trawl and the library
	@test -e $(BUILD)/build.ninja || meson setup $(BUILD) --prefix $(PREFIX)
	@ninja -C $(BUILD)

models:                 # the models that quickstart uses, verified, under ~/.cache/trawl or $$TRAWL_MODELS
	@tools/fetch $(MODELS)

all-models:             # those of the tests and benchmarks too, 0.9 GB together
	@tools/fetch $(ALL_MODELS)

quickstart: build models # index, search and score a real collection
	@tools/quickstart $(BUILD)/trawl

check: build all-models # all tests
	@tools/layers
	@tools/check $(BUILD)

check-peers: build all-models # against other programs, in an environment of their own; results go to bench/
	@tools/peers check $(BUILD)

bench: build all-models # the figures of the README; TABLE=flat for one of bench/*, SMALL=1 to see that it runs
	@tools/peers bench $(BUILD) $(if $(SMALL),--small) $(TABLE)

lint:
	@tools/deps ci && tools/lint $(BUILD)

format:
	@tools/deps ci && tools/format

fuzz:                   # SECONDS for each harness
	@tools/deps ci && tools/fuzz $(or $(SECONDS),60)

install: build
	@meson configure $(BUILD) --prefix $(abspath $(PREFIX)) && meson install -C $(BUILD)

clean:
	@rm -rf $(BUILD) build-*
