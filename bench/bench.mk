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
, := ,

# bench NAME,PEERS,OBJECTS,LIBRARIES: $(BUILD)/bench-NAME of bench/NAME/*.c, other objects
# and the Rust library of bench/PEERS. `make bench-NAME` writes the tables and pictures of
# docs/bench-NAME.md; a short form is among the figures.
#
#   BENCH_NAME_FLAGS   more flags for bench/NAME/*.c
#   BENCH_NAME_REPORT  more options for bench/NAME/report.py
define bench
bench_$(1)_lib := $$(BUILD)/bench/$(2)/release/lib$(subst -,_,$(2)).a
bench_$(1)_report = python3 bench/$(1)/report.py --bench $$(BUILD)/bench-$(1) --cargo $$(CARGO)$$(BENCH_$(1)_REPORT:%= %)

.PHONY: bench-$(1) bench-$(1)-build
bench-$(1): bench-$(1)-build
	@$$(bench_$(1)_report) --raw $$(BUILD)/bench-$(1).raw --docs docs

bench-$(1)-build:
	@tools/deps.sh bench
	$$(PARALLEL) $$(BUILD)/bench-$(1) $$(BENCH_$(1)_ALSO)

FIGURES += '$$(bench_$(1)_report) --raw $$(BUILD)/bench-$(1).short --short'
figures: bench-$(1)-build

$$(BUILD)/bench/$(1)/%.o: bench/$(1)/%.c
	$$(call say,CC,$$@)
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(CC) $$(BENCH_FLAGS) $$(BENCH_$(1)_FLAGS) -c $$< -o $$@

$$(bench_$(1)_lib): $$(wildcard bench/$(2)/Cargo.* bench/$(2)/src/*.rs)
	$$(call say,CARGO,$$@)
	$$(Q)mkdir -p $$(@D)
	$$(Q)CARGO_TARGET_DIR=$$(abspath $$(BUILD))/bench/$(2) $$(CARGO) build --release --locked --quiet \
		--manifest-path bench/$(2)/Cargo.toml
	$$(Q)touch $$@

$$(BUILD)/bench-$(1): $$(patsubst %.c,$$(BUILD)/%.o,$$(wildcard bench/$(1)/*.c)) $(3) $$(bench_$(1)_lib)
	$$(call say,LINK,$$@)
	$$(Q)$$(CC) $$^ $(4) -lm -o $$@

-include $$(wildcard $$(BUILD)/bench/$(1)/*.d)
endef

# bench_loam FOLDER,FLAGS: the library below $(BUILD)/bench/FOLDER
define bench_loam
$$(BUILD)/bench/$(1)/%.o: %.c
	$$(call say,CC,$$@)
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(CC) $$(BENCH_LOAM_FLAGS) $(2) -c $$< -o $$@

-include $$(wildcard $$(BUILD)/bench/$(1)/*.d $$(BUILD)/bench/$(1)/src/*.d)
endef

BENCH_HELP := $(BUILD)/bench/arena/help.o
BENCH_DRAW := $(BUILD)/bench/arena/actions.o
BENCH_HOOKS := $(BUILD)/bench/hooks.o

$(BENCH_HOOKS): bench/hooks.c
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(BENCH_FLAGS) -c $< -o $@

-include $(BENCH_HOOKS:.o=.d)

# ---- the heaps, ten minutes --------------------------------------------------

$(eval $(call bench_loam,loam,))
$(eval $(call bench,arena,peers,$(BENCH_HOOKS) $(BENCH_LOAM:%.c=$(BUILD)/bench/loam/%.o),))

# ---- the interval map, five minutes --------------------------------------------

# A program may not turn interrupts off: bench/usage/maps.c has what it may. What it does
# not need of the library goes, and with it what that would need.
BENCH_usage_FLAGS := -DLOAM_X86_SIM=1
$(eval $(call bench_loam,sim,-DLOAM_X86_SIM=1 -ffunction-sections))
$(eval $(call bench,usage,peers-usage,$(BENCH_HELP) $(BENCH_HOOKS) $(BUILD)/bench/sim/loam_all.o,\
  -Wl$(,)--gc-sections))

# ---- page frames, five minutes -------------------------------------------------

# With LLFREE=DIRECTORY, a copy of github.com/luhsra/llfree-rs, LLFree is measured too:
# it is not on crates.io. Its library, loaded, calls loam_port_cpu() of the program.
LLFREE ?=
BENCH_LLFREE := $(if $(LLFREE),$(BUILD)/bench/llfree/release/libllfree_peer.so)
BENCH_frames_ALSO = $(BENCH_LLFREE)
BENCH_frames_REPORT := $(if $(LLFREE),--llfree $(abspath $(BENCH_LLFREE)))
$(eval $(call bench_loam,frames/loam,-Ibench/frames '-DLOAM_CONFIG_HEADER="loam_config.h"'))
$(eval $(call bench,frames,peers-frames,$(BENCH_HELP) $(BENCH_DRAW) $(BENCH_HOOKS) \
  $(BUILD)/bench/frames/loam/loam_all.o,-rdynamic -lpthread -ldl))

# What stands for a kernel's code is built as one: linux.c loses a quarter of its speed
# where gcc keeps its links in vector registers.
$(BUILD)/bench/frames/linux.o $(BUILD)/bench/frames/loam.o $(BUILD)/bench/frames/stack.o: \
  BENCH_FLAGS += -mgeneral-regs-only

$(BENCH_LLFREE): $(wildcard bench/peers-frames/llfree/Cargo.toml bench/peers-frames/llfree/src/*.rs)
	$(call say,CARGO,$@)
	$(Q)mkdir -p $(@D)
	$(Q)CARGO_TARGET_DIR=$(abspath $(BUILD))/bench/llfree $(CARGO) build --release --quiet \
		--config 'patch.crates-io.llfree.path="$(abspath $(LLFREE))/core"' \
		--manifest-path bench/peers-frames/llfree/Cargo.toml
	$(Q)touch $@

# ---- page tables, one minute ---------------------------------------------------

# As the interval map; bench/paging/loam.c has its own hooks.
BENCH_paging_FLAGS := -DLOAM_X86_SIM=1
$(eval $(call bench,paging,peers-paging,$(BENCH_HELP) $(BENCH_DRAW) $(BENCH_HOOKS) \
  $(BUILD)/bench/sim/loam_all.o,\
  -Wl$(,)--gc-sections))

# The limit is a kernel's: no vector registers.
$(BUILD)/bench/paging/limit.o: BENCH_FLAGS += -mgeneral-regs-only
