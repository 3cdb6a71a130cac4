# malloc.mk - Loam's malloc beside other libraries to preload: `make bench-malloc`.
#
# Debian packages glibc, mimalloc 2, jemalloc and tcmalloc; the others are linked from what
# their crates build (bench/peers-malloc).
BENCH_MALLOC := $(BUILD)/bench-malloc
MALLOC_PEERS := mimalloc3 snmalloc rpmalloc hardened hardened-light
MALLOC_PAIRS := $(patsubst bench/malloc/pairs_%.h,%,$(wildcard bench/malloc/pairs_*.h))
MALLOC_FLAGS := $(BENCH_FLAGS) $(foreach call,malloc calloc realloc free,-fno-builtin-$(call))
MALLOC_TARGETS = $(BENCH_MALLOC)/programs $(BENCH_MALLOC)/run $(BENCH_MALLOC)/libempty.so \
  $(MALLOC_PAIRS:%=$(BENCH_MALLOC)/pairs-%) $(MALLOC_PEERS:%=$(BENCH_MALLOC)/lib%.so) \
  $(if $(wildcard preload/*.mk),$(BUILD)/libloam.so)

bench_malloc_report = python3 bench/malloc/report.py --bench $(BENCH_MALLOC) --cargo $(CARGO) \
  --loam $(BUILD)/libloam.so

.PHONY: bench-malloc bench-malloc-build
bench-malloc: bench-malloc-build
	@$(bench_malloc_report) --raw $(BUILD)/bench-malloc.raw --docs docs

bench-malloc-build:
	@tools/deps.sh bench-malloc
	$(PARALLEL) $(MALLOC_TARGETS)

FIGURES += '$(bench_malloc_report) --raw $(BUILD)/bench-malloc.short --short'
figures: bench-malloc-build

# ---- programs --------------------------------------------------------------------

$(BENCH_MALLOC)/%.o: bench/malloc/%.c
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(MALLOC_FLAGS) -c $< -o $@

$(BENCH_MALLOC)/programs: $(patsubst %,$(BENCH_MALLOC)/%.o,main single sizes threads) $(BENCH_HELP)
	$(call say,LINK,$@)
	$(Q)$(CC) $^ -lpthread -o $@

# Small: see bench/malloc/run.c.
$(BENCH_MALLOC)/run: $(BENCH_MALLOC)/run.o
	$(call say,LINK,$@)
	$(Q)$(CC) -static $^ -o $@

$(BENCH_MALLOC)/libempty.so: bench/malloc/empty.c
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(MALLOC_FLAGS) -fPIC -shared $< -o $@

# One for each header; objects that it calls are prerequisites, said elsewhere.
$(BENCH_MALLOC)/pairs-%: bench/malloc/pairs.c bench/malloc/pairs_%.h $(BENCH_HELP)
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(MALLOC_FLAGS) '-DPAIRS_HEADER="pairs_$*.h"' $< $(filter %.o %.a,$^) -o $@

-include $(wildcard $(BENCH_MALLOC)/*.d)

# ---- peers -----------------------------------------------------------------------

# As each is built to replace malloc(): what its crate leaves to whoever builds it.
$(BENCH_MALLOC)/rpmalloc/release/libpeers_malloc.a: export CFLAGS := -DENABLE_OVERRIDE=1
# Its C23 has alignas; gcc 12's and clang 14's has it in this header.
$(foreach peer,hardened hardened-light,$(BENCH_MALLOC)/$(peer)/release/libpeers_malloc.a): export CFLAGS := -include stdalign.h

.PRECIOUS: $(BENCH_MALLOC)/%/release/libpeers_malloc.a
$(BENCH_MALLOC)/%/release/libpeers_malloc.a: $(wildcard bench/peers-malloc/Cargo.* bench/peers-malloc/src/*.rs)
	$(call say,CARGO,$@)
	$(Q)mkdir -p $(@D)
	$(Q)CARGO_TARGET_DIR=$(abspath $(BENCH_MALLOC))/$* $(CARGO) build --release --locked --quiet \
		--features $* --manifest-path bench/peers-malloc/Cargo.toml
	$(Q)touch $@

# The functions of snmalloc's crate are named sn_malloc and so on. Calls within a library
# stay there, and what it takes of the C++ library is not for others.
$(BENCH_MALLOC)/lib%.so: $(BENCH_MALLOC)/%/release/libpeers_malloc.a
	$(call say,LINK,$@)
	$(Q)nm $< 2>/dev/null | sed -n 's/^[0-9a-f]* [TD] sn_//p' | grep -v '^rust_' | sort -u | \
		sed 's/.*/sn_& &/' >$(@:.so=.names)
	$(Q)objcopy --redefine-syms=$(@:.so=.names) $< $(@:.so=.a)
	$(Q)$(CXX) -shared -static-libstdc++ -static-libgcc -Wl,-O1 -Wl,-Bsymbolic -Wl,-u,malloc \
		-Wl,--exclude-libs,libstdc++.a:libgcc_eh.a:libgcc.a -Wl,--as-needed $(@:.so=.a) -o $@
	$(Q)rm $(@:.so=.a)
