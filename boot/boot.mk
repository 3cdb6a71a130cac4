# boot.mk - the loader shim. Include it, or alone: make -f boot/boot.mk build/boot/shim.elf
CC ?= gcc
BUILD ?= build

SHIM := $(BUILD)/boot/shim.elf
SHIM_OBJECTS := $(patsubst boot/%,$(BUILD)/boot/%.o,$(wildcard boot/*.c boot/*.S))
SHIM_VERSION := $(shell awk '/define LOAM_VERSION_(MAJOR|MINOR|PATCH)/ \
  { v = v (v == "" ? "" : ".") $$3 } END { print v }' include/loam/loam.h)

SHIM_CFLAGS := -std=c11 -O2 -g -ffreestanding -mno-red-zone -mgeneral-regs-only -fno-pic \
  -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables -Iinclude -MMD -MP \
  -DSHIM_VERSION='"$(SHIM_VERSION)"' \
  -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wundef -Wcast-qual \
  -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 -Wwrite-strings \
  -Wnull-dereference -Wframe-larger-than=1024 -Werror

SHIM_LD := ld -m elf_x86_64 -nostdlib -z max-page-size=0x1000 -z noexecstack

.PHONY: shim
shim: $(SHIM)

$(BUILD)/boot/%.c.o: boot/%.c
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(SHIM_CFLAGS) -c $< -o $@

$(BUILD)/boot/%.S.o: boot/%.S
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(SHIM_CFLAGS) -c $< -o $@

$(SHIM): $(SHIM_OBJECTS) boot/shim.ld
	$(call say,LINK,$@)
	$(Q)$(SHIM_LD) -static -T boot/shim.ld $(SHIM_OBJECTS) -o $@

# The probe kernel that the shim's tests boot: at a fixed address, and relocatable.
PROBES := $(BUILD)/boot/probe.elf $(BUILD)/boot/probe_pie.elf

$(BUILD)/boot/probe.o: tests/boot/probe.c
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(SHIM_CFLAGS) -mcmodel=kernel -c $< -o $@

$(BUILD)/boot/probe_pie.o: tests/boot/probe.c
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(SHIM_CFLAGS) -fpie -fvisibility=hidden -c $< -o $@

$(BUILD)/boot/probe.elf: $(BUILD)/boot/probe.o tests/boot/probe.ld
	$(call say,LINK,$@)
	$(Q)$(SHIM_LD) -static -T tests/boot/probe.ld $< -o $@

$(BUILD)/boot/probe_pie.elf: $(BUILD)/boot/probe_pie.o tests/boot/probe.ld
	$(call say,LINK,$@)
	$(Q)$(SHIM_LD) -pie --no-dynamic-linker --defsym image_base=0 -T tests/boot/probe.ld $< -o $@

# The memory map's property test runs on the host; absolute symbols want no PIE.
MAP_TEST := $(BUILD)/boot/map_test

$(MAP_TEST): tests/boot/map_test.c boot/map.c boot/shim.h
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE -O1 -g -Wall -Wextra -fno-pie -no-pie -fsanitize=undefined \
	  -fno-sanitize-recover=all -Iinclude tests/boot/map_test.c boot/map.c -o $@

.PHONY: shim-test
shim-test: $(SHIM) $(PROBES) $(MAP_TEST)
	$(MAP_TEST)
	tests/boot/shim_test.py --build $(BUILD)

TEST_BUILDS += $(SHIM) $(PROBES) $(MAP_TEST)
TEST_SUITES += --suite boot/map $(MAP_TEST) \
  --suite boot/shim 'tests/boot/shim_test.py --build $(BUILD)'

-include $(wildcard $(BUILD)/boot/*.d)
