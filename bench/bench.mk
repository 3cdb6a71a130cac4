# bench.mk - benchmarks that need more than a script, and their peers.
#
# Loam is built as a kernel builds it, its peers as their authors release them
# (bench/peers*/Cargo.toml).
BENCH := $(BUILD)/bench-arena
CARGO ?= $(firstword $(shell command -v cargo 2>/dev/null) $(wildcard $(HOME)/.cargo/bin/cargo) cargo)
BENCH_LOAM ?= loam_all.c
BENCH_LOAM_FLAGS := -std=c11 -Iinclude -O2 -ffreestanding -fno-stack-protector -mno-red-zone \
  -mgeneral-regs-only -Wall -Wextra -MMD -MP
BENCH_FLAGS := -std=c11 -D_GNU_SOURCE -Iinclude -O2 -g -MMD -MP -Wall -Wextra -Wpedantic -Wconversion \
  -Wsign-conversion -Wshadow -Wundef -Wcast-qual -Wstrict-prototypes -Wmissing-prototypes -Wvla \
  -Wformat=2 -Wwrite-strings $(WERROR)
BENCH_OBJECTS := $(patsubst bench/arena/%.c,$(BUILD)/bench/%.o,$(wildcard bench/arena/*.c)) \
  $(BENCH_LOAM:%.c=$(BUILD)/bench/loam/%.o)
BENCH_PEERS := $(BUILD)/bench/peers/release/libpeers.a

BENCH_REPORT = python3 bench/arena/report.py --bench $(BENCH) --cargo $(CARGO)

# Ten minutes; the tables and pictures of docs/bench-arena.md.
.PHONY: bench-arena bench-arena-build
bench-arena: bench-arena-build
	@$(BENCH_REPORT) --raw $(BUILD)/bench-arena.raw --docs docs

bench-arena-build:
	@tools/deps.sh bench
	$(PARALLEL) $(BENCH)

FIGURES += '$(BENCH_REPORT) --raw $(BUILD)/bench-arena.short --short'

$(BUILD)/bench/%.o: bench/arena/%.c
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(BENCH_FLAGS) -c $< -o $@

$(BUILD)/bench/loam/%.o: %.c
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(BENCH_LOAM_FLAGS) -c $< -o $@

$(BENCH_PEERS): $(wildcard bench/peers/Cargo.* bench/peers/src/*.rs)
	$(call say,CARGO,$@)
	$(Q)mkdir -p $(@D)
	$(Q)CARGO_TARGET_DIR=$(abspath $(BUILD))/bench/peers $(CARGO) build --release --locked --quiet \
		--manifest-path bench/peers/Cargo.toml
	$(Q)touch $@

$(BENCH): $(BENCH_OBJECTS) $(BENCH_PEERS)
	$(call say,LINK,$@)
	$(Q)$(CC) $(BENCH_OBJECTS) $(BENCH_PEERS) -lm -o $@

-include $(wildcard $(BUILD)/bench/*.d $(BUILD)/bench/loam/*.d $(BUILD)/bench/loam/src/*.d)

# ---- the interval map --------------------------------------------------------

# A program may not turn interrupts off: bench/usage/maps.c has what it may.
BENCH_USAGE := $(BUILD)/bench-usage
BENCH_USAGE_OBJECTS := $(patsubst bench/usage/%.c,$(BUILD)/bench/usage/%.o,$(wildcard bench/usage/*.c)) \
  $(BUILD)/bench/usage/loam/loam_all.o
BENCH_USAGE_PEERS := $(BUILD)/bench/peers-usage/release/libpeers_usage.a
BENCH_USAGE_REPORT = python3 bench/usage/report.py --bench $(BENCH_USAGE) --cargo $(CARGO)

# Five minutes; the tables and pictures of docs/bench-usage.md.
.PHONY: bench-usage bench-usage-build
bench-usage: bench-usage-build
	@$(BENCH_USAGE_REPORT) --raw $(BUILD)/bench-usage.raw --docs docs

bench-usage-build:
	@tools/deps.sh bench
	$(PARALLEL) $(BENCH_USAGE)

FIGURES += '$(BENCH_USAGE_REPORT) --raw $(BUILD)/bench-usage.short --short'
figures: bench-usage-build

$(BUILD)/bench/usage/%.o: bench/usage/%.c
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(BENCH_FLAGS) -DLOAM_X86_SIM=1 -c $< -o $@

$(BUILD)/bench/usage/loam/%.o: %.c
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(BENCH_LOAM_FLAGS) -DLOAM_X86_SIM=1 -ffunction-sections -c $< -o $@

$(BENCH_USAGE_PEERS): $(wildcard bench/peers-usage/Cargo.* bench/peers-usage/src/*.rs)
	$(call say,CARGO,$@)
	$(Q)mkdir -p $(@D)
	$(Q)CARGO_TARGET_DIR=$(abspath $(BUILD))/bench/peers-usage $(CARGO) build --release --locked \
		--quiet --manifest-path bench/peers-usage/Cargo.toml
	$(Q)touch $@

# What the map does not need of the library goes, and with it what that would need.
$(BENCH_USAGE): $(BENCH_USAGE_OBJECTS) $(BENCH_USAGE_PEERS)
	$(call say,LINK,$@)
	$(Q)$(CC) $(BENCH_USAGE_OBJECTS) $(BENCH_USAGE_PEERS) -Wl,--gc-sections -lm -o $@

-include $(wildcard $(BUILD)/bench/usage/*.d $(BUILD)/bench/usage/loam/*.d)

# ---- page frames -------------------------------------------------------------

# With LLFREE=DIRECTORY, a copy of github.com/luhsra/llfree-rs, LLFree is measured too:
# it is not on crates.io.
LLFREE ?=
BENCH_FRAMES := $(BUILD)/bench-frames
BENCH_FRAMES_OBJECTS := $(patsubst bench/frames/%.c,$(BUILD)/bench/frames/%.o,$(wildcard bench/frames/*.c)) \
  $(BUILD)/bench/actions.o $(BUILD)/bench/help.o $(BUILD)/bench/frames/loam/loam_all.o
BENCH_FRAMES_PEERS := $(BUILD)/bench/peers-frames/release/libpeers_frames.a
BENCH_LLFREE := $(if $(LLFREE),$(BUILD)/bench/llfree/release/libllfree_peer.so)
BENCH_FRAMES_REPORT = python3 bench/frames/report.py --bench $(BENCH_FRAMES) --cargo $(CARGO) \
  $(if $(LLFREE),--llfree $(abspath $(BENCH_LLFREE)))

# Five minutes; the tables and pictures of docs/bench-frames.md.
.PHONY: bench-frames bench-frames-build
bench-frames: bench-frames-build
	@$(BENCH_FRAMES_REPORT) --raw $(BUILD)/bench-frames.raw --docs docs

bench-frames-build:
	@tools/deps.sh bench
	$(PARALLEL) $(BENCH_FRAMES) $(BENCH_LLFREE)

FIGURES += '$(BENCH_FRAMES_REPORT) --raw $(BUILD)/bench-frames.short --short'
figures: bench-frames-build

# What stands for a kernel's code is built as one: linux.c loses a quarter of its speed
# where gcc keeps its links in vector registers.
$(BUILD)/bench/frames/linux.o $(BUILD)/bench/frames/loam.o $(BUILD)/bench/frames/stack.o: \
  BENCH_FLAGS += -mgeneral-regs-only

$(BUILD)/bench/frames/%.o: bench/frames/%.c
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(BENCH_FLAGS) -c $< -o $@

$(BUILD)/bench/frames/loam/%.o: %.c
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(BENCH_LOAM_FLAGS) -Ibench/frames '-DLOAM_CONFIG_HEADER="loam_config.h"' -c $< -o $@

$(BENCH_FRAMES_PEERS): $(wildcard bench/peers-frames/Cargo.* bench/peers-frames/src/*.rs)
	$(call say,CARGO,$@)
	$(Q)mkdir -p $(@D)
	$(Q)CARGO_TARGET_DIR=$(abspath $(BUILD))/bench/peers-frames $(CARGO) build --release --locked \
		--quiet --manifest-path bench/peers-frames/Cargo.toml
	$(Q)touch $@

$(BENCH_LLFREE): $(wildcard bench/peers-frames/llfree/Cargo.toml bench/peers-frames/llfree/src/*.rs)
	$(call say,CARGO,$@)
	$(Q)mkdir -p $(@D)
	$(Q)CARGO_TARGET_DIR=$(abspath $(BUILD))/bench/llfree $(CARGO) build --release --quiet \
		--config 'patch.crates-io.llfree.path="$(abspath $(LLFREE))/core"' \
		--manifest-path bench/peers-frames/llfree/Cargo.toml
	$(Q)touch $@

# LLFree's library, loaded, calls loam_port_cpu() here.
$(BENCH_FRAMES): $(BENCH_FRAMES_OBJECTS) $(BENCH_FRAMES_PEERS)
	$(call say,LINK,$@)
	$(Q)$(CC) $(BENCH_FRAMES_OBJECTS) $(BENCH_FRAMES_PEERS) -rdynamic -lm -lpthread -ldl -o $@

-include $(wildcard $(BUILD)/bench/frames/*.d $(BUILD)/bench/frames/loam/*.d)

# ---- page tables -------------------------------------------------------------

BENCH_PAGING := $(BUILD)/bench-paging
BENCH_PAGING_OBJECTS := $(patsubst bench/paging/%.c,$(BUILD)/bench/paging/%.o,$(wildcard bench/paging/*.c)) \
  $(BUILD)/bench/actions.o $(BUILD)/bench/help.o $(BUILD)/bench/usage/loam/loam_all.o
BENCH_PAGING_PEERS := $(BUILD)/bench/peers-paging/release/libpeers_paging.a
BENCH_PAGING_REPORT = python3 bench/paging/report.py --bench $(BENCH_PAGING) --cargo $(CARGO)

# One minute; the tables and pictures of docs/bench-paging.md.
.PHONY: bench-paging bench-paging-build
bench-paging: bench-paging-build
	@$(BENCH_PAGING_REPORT) --raw $(BUILD)/bench-paging.raw --docs docs

bench-paging-build:
	@tools/deps.sh bench
	$(PARALLEL) $(BENCH_PAGING)

FIGURES += '$(BENCH_PAGING_REPORT) --raw $(BUILD)/bench-paging.short --short'
figures: bench-paging-build

# The limit is a kernel's: no vector registers.
$(BUILD)/bench/paging/limit.o: BENCH_FLAGS += -mgeneral-regs-only

$(BUILD)/bench/paging/%.o: bench/paging/%.c
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(BENCH_FLAGS) -DLOAM_X86_SIM=1 -c $< -o $@

$(BENCH_PAGING_PEERS): $(wildcard bench/peers-paging/Cargo.* bench/peers-paging/src/*.rs)
	$(call say,CARGO,$@)
	$(Q)mkdir -p $(@D)
	$(Q)CARGO_TARGET_DIR=$(abspath $(BUILD))/bench/peers-paging $(CARGO) build --release --locked \
		--quiet --manifest-path bench/peers-paging/Cargo.toml
	$(Q)touch $@

# What the page tables do not need of the library goes, and with it what that would need.
$(BENCH_PAGING): $(BENCH_PAGING_OBJECTS) $(BENCH_PAGING_PEERS)
	$(call say,LINK,$@)
	$(Q)$(CC) $(BENCH_PAGING_OBJECTS) $(BENCH_PAGING_PEERS) -Wl,--gc-sections -lm -o $@

-include $(wildcard $(BUILD)/bench/paging/*.d)
