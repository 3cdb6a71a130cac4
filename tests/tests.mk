# tests.mk - host tests. One program per tests/*_test.c, under the address and
# undefined-behaviour sanitizers; those with threads once more under the thread
# sanitizer; one per tests/death/*.c, which must die; one per fuzz/*_fuzz.c.
TEST_CFLAGS := -std=c11 -D_GNU_SOURCE -g -O1 -fno-omit-frame-pointer -Iinclude -Itests -I. -MMD -MP \
  -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wundef -Wcast-qual \
  -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 -Wwrite-strings \
  -DLOAM_X86_SIM=1 -DLOAM_TEST_HOOKS=1 -DLOAM_CHECK=2 $(WERROR)
ASAN := -fsanitize=address,undefined -fno-sanitize-recover=all
TSAN := -fsanitize=thread
FUZZ_CC ?= clang
FUZZ_FLAGS := -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all

# Everything in tests/ that is not a test is linked into each.
TEST_NAMES := $(patsubst tests/%_test.c,%,$(sort $(wildcard tests/*_test.c)))
TEST_SUPPORT := $(patsubst tests/%.c,%,$(filter-out %_test.c,$(sort $(wildcard tests/*.c)))) loam_all
THREAD_NAMES := $(patsubst tests/%_test.c,%,$(shell grep -l 'include <pthread.h>' \
  $(wildcard tests/*_test.c) /dev/null))
DEATH_NAMES := $(patsubst tests/death/%.c,%,$(sort $(wildcard tests/death/*.c)))
FUZZ_NAMES := $(patsubst fuzz/%_fuzz.c,%,$(sort $(wildcard fuzz/*_fuzz.c)))

# Those that stand on heap_world.h have the heap only, without the machine.
ALONE_NAMES := $(patsubst tests/%_test.c,%,$(shell grep -lE 'include "(heap|slab)_world.h"' \
  $(wildcard tests/*_test.c) /dev/null))
ALONE_DEATHS := $(patsubst tests/death/%.c,%,$(shell grep -l 'include "heap.h"' \
  $(wildcard tests/death/*.c) /dev/null))
ALONE_FUZZ := $(patsubst fuzz/%_fuzz.c,%,$(shell grep -l 'include "heap_world.h"' \
  $(wildcard fuzz/*_fuzz.c) /dev/null))
ALONE_SUPPORT := harness alone/heap
# One of them compiles the heap itself, with another guard.
BARE_NAMES := $(patsubst tests/%_test.c,%,$(shell grep -l 'include "alone/heap.c"' \
  $(wildcard tests/*_test.c) /dev/null))
# And these are of a hardened heap.
BARE_DEATHS := $(patsubst tests/death/%.c,%,$(shell grep -l 'include "heap_hard.h"' \
  $(wildcard tests/death/*.c) /dev/null))

# test_flavour FOLDER COMPILER FLAGS: objects of sources in any folder of sources
define test_flavour
$(BUILD)/$(1)/%.o: tests/%.c
	$$(call say,CC,$$@)
	$$(Q)mkdir -p $$(@D)
	$$(Q)$(2) $(TEST_CFLAGS) $(3) -c $$< -o $$@
$(BUILD)/$(1)/%.o: fuzz/%.c
	$$(call say,CC,$$@)
	$$(Q)mkdir -p $$(@D)
	$$(Q)$(2) $(TEST_CFLAGS) $(3) -c $$< -o $$@
$(BUILD)/$(1)/loam_all.o: loam_all.c
	$$(call say,CC,$$@)
	$$(Q)mkdir -p $$(@D)
	$$(Q)$(2) $(TEST_CFLAGS) $(3) -c $$< -o $$@
-include $(wildcard $(BUILD)/$(1)/*.d $(BUILD)/$(1)/*/*.d)
endef
$(eval $(call test_flavour,host,$(CC),$(ASAN)))
$(eval $(call test_flavour,tsan,$(CC),$(TSAN)))
$(eval $(call test_flavour,fuzz,$(FUZZ_CC),$(FUZZ_FLAGS)))
$(eval $(call test_flavour,soak,$(CC),-O2 -ULOAM_CHECK -DLOAM_CHECK=1))

TEST_PROGRAMS := $(TEST_NAMES:%=$(BUILD)/host/%_test)
THREAD_PROGRAMS := $(THREAD_NAMES:%=$(BUILD)/tsan/%_test)
DEATH_PROGRAMS := $(DEATH_NAMES:%=$(BUILD)/host/death/%)
FUZZ_PROGRAMS := $(FUZZ_NAMES:%=$(BUILD)/fuzz/%_fuzz)
TEST_BUILDS += $(TEST_PROGRAMS) $(THREAD_PROGRAMS) $(DEATH_PROGRAMS) $(FUZZ_PROGRAMS)
.SECONDARY: # keep objects

ALONE_PROGRAMS := $(ALONE_NAMES:%=$(BUILD)/host/%_test) $(ALONE_DEATHS:%=$(BUILD)/host/death/%)
BARE_PROGRAMS := $(BARE_NAMES:%=$(BUILD)/host/%_test) $(BARE_DEATHS:%=$(BUILD)/host/death/%)
ALONE_THREADS := $(filter $(ALONE_NAMES:%=$(BUILD)/tsan/%_test),$(THREAD_PROGRAMS))
ALONE_FUZZERS := $(ALONE_FUZZ:%=$(BUILD)/fuzz/%_fuzz)

$(BARE_PROGRAMS): %: %.o $(BUILD)/host/harness.o
	$(call say,LINK,$@)
	$(Q)$(CC) $(ASAN) $^ -lcmocka -lpthread -o $@

$(filter-out $(BARE_PROGRAMS),$(ALONE_PROGRAMS)): %: %.o $(ALONE_SUPPORT:%=$(BUILD)/host/%.o)
	$(call say,LINK,$@)
	$(Q)$(CC) $(ASAN) $^ -lcmocka -lpthread -o $@

$(ALONE_THREADS): %: %.o $(ALONE_SUPPORT:%=$(BUILD)/tsan/%.o)
	$(call say,LINK,$@)
	$(Q)$(CC) $(TSAN) $^ -lcmocka -lpthread -o $@

$(ALONE_FUZZERS): %: %.o $(ALONE_SUPPORT:%=$(BUILD)/fuzz/%.o)
	$(call say,LINK,$@)
	$(Q)$(FUZZ_CC) $(FUZZ_FLAGS) $^ -lcmocka -lpthread -o $@

$(filter-out $(ALONE_PROGRAMS),$(TEST_PROGRAMS)): %: %.o $(TEST_SUPPORT:%=$(BUILD)/host/%.o)
	$(call say,LINK,$@)
	$(Q)$(CC) $(ASAN) $^ -lcmocka -lpthread -o $@

$(filter-out $(ALONE_THREADS),$(THREAD_PROGRAMS)): %: %.o $(TEST_SUPPORT:%=$(BUILD)/tsan/%.o)
	$(call say,LINK,$@)
	$(Q)$(CC) $(TSAN) $^ -lcmocka -lpthread -o $@

$(filter-out $(ALONE_PROGRAMS) $(BARE_PROGRAMS),$(DEATH_PROGRAMS)): %: %.o $(TEST_SUPPORT:%=$(BUILD)/host/%.o)
	$(call say,LINK,$@)
	$(Q)$(CC) $(ASAN) $^ -lcmocka -lpthread -o $@

$(filter-out $(ALONE_FUZZERS),$(FUZZ_PROGRAMS)): %: %.o $(TEST_SUPPORT:%=$(BUILD)/fuzz/%.o)
	$(call say,LINK,$@)
	$(Q)$(FUZZ_CC) $(FUZZ_FLAGS) $^ -lcmocka -lpthread -o $@

$(BUILD)/soak/paging_soak_test: %: %.o $(TEST_SUPPORT:%=$(BUILD)/soak/%.o)
	$(call say,LINK,$@)
	$(Q)$(CC) -O2 $^ -lcmocka -lpthread -o $@

# ---- suites ------------------------------------------------------------------

UNIT_SUITES := $(foreach t,$(TEST_NAMES),--suite unit/$(t) $(BUILD)/host/$(t)_test)
TEST_SUITES += $(UNIT_SUITES) \
  $(foreach t,$(THREAD_NAMES),--suite threads/$(t) 'tests/tsan.sh $(BUILD)/tsan/$(t)_test') \
  --suite death 'tests/death/run.sh $(BUILD)/host/death' \
  $(foreach t,$(FUZZ_NAMES),--suite fuzz/$(t) 'fuzz/run.sh $(BUILD)/fuzz/$(t)_fuzz 2') \
  --suite embedding 'tools/lint.sh --tap headers objects' \
  --suite documents 'tools/check_docs.py && echo "ok - documents"'

.PHONY: fuzz mutants mutation-score check-deep soak-paging
fuzz:
	@tools/deps.sh fuzz
	$(PARALLEL) $(FUZZ_PROGRAMS)
	@python3 tests/run.py --jobs $(JOBS) \
		$(foreach t,$(FUZZ_NAMES),--suite fuzz/$(t) 'fuzz/run.sh $(BUILD)/fuzz/$(t)_fuzz $(SECONDS)')

# What takes minutes: every schedule with one change more, every state of the models.
check-deep: export DEEP := 1
check-deep:
	@tools/deps.sh test
	@tools/deps.sh deep
	$(PARALLEL) $(BUILD)/host/frame_schedule_test $(BUILD)/host/zero_schedule_test \
		$(BUILD)/host/record_schedule_test $(BUILD)/host/tlb_schedule_test
	@python3 tests/run.py --jobs $(JOBS) \
		--suite schedules/frame $(BUILD)/host/frame_schedule_test \
		--suite schedules/zero $(BUILD)/host/zero_schedule_test \
		--suite schedules/record $(BUILD)/host/record_schedule_test \
		--suite schedules/tlb $(BUILD)/host/tlb_schedule_test \
		--suite models 'tests/models/run.sh tests/models/frame_block.pml'

# Random operations on page tables for a quarter of an hour, without sanitizers.
STEPS ?= 10000000
soak-paging: $(BUILD)/soak/paging_soak_test
	PAGING_STEPS=$(STEPS) $<

mutants:
	@tools/deps.sh test
	@python3 tests/mutate.py listed --jobs $(JOBS)

mutation-score:
	@tools/deps.sh test
	@python3 tests/mutate.py sample --jobs $(JOBS) --seconds $(SECONDS)
