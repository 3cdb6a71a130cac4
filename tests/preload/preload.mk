# preload.mk - tests of the malloc for LD_PRELOAD: what the texts decide, C++, and real
# programs. They run on any such library:
#
#   make test-preload LIBRARY=/usr/lib/x86_64-linux-gnu/libjemalloc.so.2
#
# LIBRARY=system is the C library's own malloc. CASES='fork_*' selects by a shell pattern.
LIBRARY ?= $(BUILD)/libloam.so
CASES ?= *

# Without sanitizers, and without what compilers think they know about malloc.
MALLOC_FAMILY := malloc calloc realloc reallocarray free aligned_alloc posix_memalign memalign \
  valloc pvalloc malloc_usable_size strdup
CONFORMANCE_FLAGS := -D_GNU_SOURCE -g -O1 -fPIC -MMD -MP -Wall -Wextra -Wpedantic -Wconversion \
  -Wsign-conversion -Wshadow -Wundef -Wcast-qual -Wvla -Wformat=2 -Wwrite-strings $(WERROR) \
  $(MALLOC_FAMILY:%=-fno-builtin-%)
CXX ?= g++
ifeq ($(origin CXX),default)
CXX := $(if $(findstring clang,$(CC)),$(CC:clang%=clang++%),g++)
endif

CONFORMANCE := $(BUILD)/conformance
PRELOAD_PROGRAMS := $(CONFORMANCE)/conformance_test $(CONFORMANCE)/cxx_test $(CONFORMANCE)/plugin.so

$(CONFORMANCE)/%.o: tests/preload/%.c
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -std=c11 -Wstrict-prototypes -Wmissing-prototypes $(CONFORMANCE_FLAGS) -c $< -o $@

$(CONFORMANCE)/%.o: tests/preload/%.cpp
	$(call say,CXX,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CXX) -std=c++20 -fsized-deallocation $(CONFORMANCE_FLAGS) -c $< -o $@
-include $(wildcard $(CONFORMANCE)/*.d)

$(CONFORMANCE)/conformance_test: $(patsubst tests/preload/%.c,$(CONFORMANCE)/%.o,\
  $(filter-out tests/preload/plugin.c,$(sort $(wildcard tests/preload/*.c))))
	$(call say,LINK,$@)
	$(Q)$(CC) $^ -ldl -lpthread -o $@

$(CONFORMANCE)/cxx_test: $(CONFORMANCE)/cxx_test.o $(CONFORMANCE)/conformance.o
	$(call say,LINK,$@)
	$(Q)$(CXX) $^ -ldl -lpthread -o $@

$(CONFORMANCE)/plugin.so: $(CONFORMANCE)/plugin.o
	$(call say,LINK,$@)
	$(Q)$(CC) -shared $^ -o $@

# preload_suites LIBRARY
preload_suites = --suite preload/conformance '$(CONFORMANCE)/conformance_test $(1) "$(CASES)"' \
  --suite preload/cxx '$(CONFORMANCE)/cxx_test $(1) "$(CASES)"' \
  --suite preload/programs 'tests/preload/programs.py $(1) "$(CASES)"'

.PHONY: test-preload
test-preload:
	@tools/deps.sh test
	$(PARALLEL) $(PRELOAD_PROGRAMS) $(filter $(BUILD)/%,$(LIBRARY))
	@python3 tests/run.py --jobs $(JOBS) $(call preload_suites,$(LIBRARY))

lint-build: $(PRELOAD_PROGRAMS)

ifneq ($(wildcard preload/preload.mk),)
TEST_BUILDS += $(PRELOAD_PROGRAMS) $(BUILD)/libloam.so
TEST_SUITES += $(call preload_suites,$(BUILD)/libloam.so)
endif
