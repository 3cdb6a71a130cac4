# preload.mk - $(BUILD)/libloam.so: the heap as the malloc of any program.
PRELOAD_NO_BUILTIN := malloc calloc realloc free memalign aligned_alloc posix_memalign
PRELOAD_CFLAGS := -std=c11 -D_GNU_SOURCE -g -O2 -fPIC -fvisibility=hidden -fexceptions \
  -ftls-model=initial-exec -fno-plt $(PRELOAD_NO_BUILTIN:%=-fno-builtin-%) \
  -Iinclude -Ipreload -DLOAM_CONFIG_HEADER='"loam_config.h"' -MMD -MP \
  -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wundef -Wcast-qual \
  -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 -Wwrite-strings \
  -Wframe-larger-than=1024 $(WERROR)

# Nothing is resolved late, nothing in the code is written to, nothing is missing.
PRELOAD_LDFLAGS := -shared -Wl,-soname,libloam.so -Wl,-z,now,-z,relro,-z,text,--no-undefined

$(BUILD)/preload/%.o: preload/%.c
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(PRELOAD_CFLAGS) -c $< -o $@
-include $(wildcard $(BUILD)/preload/*.d)

$(BUILD)/libloam.so: $(BUILD)/preload/libloam.o
	$(call say,LINK,$@)
	$(Q)$(CC) $(PRELOAD_LDFLAGS) $< -o $@

# The same, hardened: see heap.h.
$(BUILD)/preload/libloam-hardened.o: preload/libloam.c
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(PRELOAD_CFLAGS) -DLOAM_HEAP_MODE=1 -c $< -o $@

$(BUILD)/libloam-hardened.so: $(BUILD)/preload/libloam-hardened.o
	$(call say,LINK,$@)
	$(Q)$(CC) $(PRELOAD_LDFLAGS) $< -o $@

.PHONY: preload
preload:
	@tools/deps.sh preload
	$(PARALLEL) $(BUILD)/libloam.so $(BUILD)/libloam-hardened.so

# ---- tests -------------------------------------------------------------------------

LIBLOAM_PROGRAMS := $(patsubst tests/%.c,$(BUILD)/%,$(sort $(wildcard tests/libloam/*.c)))
LIBLOAM_CFLAGS := -std=c11 -D_GNU_SOURCE -g -O1 $(PRELOAD_NO_BUILTIN:%=-fno-builtin-%) -MMD -MP \
  -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wundef -Wcast-qual \
  -Wstrict-prototypes -Wvla -Wformat=2 -Wwrite-strings $(WERROR)

# libloam.so itself is there when a program names a function that no other library has.
$(LIBLOAM_PROGRAMS): $(BUILD)/%: tests/%.c $(BUILD)/libloam.so
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(LIBLOAM_CFLAGS) $< $(BUILD)/libloam.so -lpthread -o $@
-include $(wildcard $(BUILD)/libloam/*.d)

TEST_BUILDS += $(LIBLOAM_PROGRAMS)
TEST_SUITES += --suite preload/library \
  'tests/libloam/libloam_test.sh $(BUILD)/libloam.so $(BUILD)/libloam'
