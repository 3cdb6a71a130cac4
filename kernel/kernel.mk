# kernel.mk - the reference kernel, $(BUILD)/kernel.elf. Included by the Makefile,
# or alone: make -f kernel/kernel.mk BUILD=/tmp/k /tmp/k/kernel.elf
BUILD ?= build
ifeq ($(origin CC),default)
CC := gcc
endif

# The kernel's heap; empty: what config.h says.
HEAP ?=
HEAP_KINDS := bump freelist block arena heap
ifneq ($(HEAP),)
ifneq ($(words $(HEAP)) $(filter $(HEAP_KINDS),$(HEAP)),1 $(HEAP))
$(error HEAP=$(HEAP): must be one of $(HEAP_KINDS))
endif
HEAP_CFLAGS := -DLOAM_HEAP_DEFAULT=LOAM_ALLOCATOR_$(shell echo $(HEAP) | tr a-z A-Z)
endif

KERNEL_WARNINGS := -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wundef \
  -Wcast-qual -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 -Wwrite-strings \
  -Wnull-dereference -Wframe-larger-than=1024 $(WERROR)
# Frame pointers and no sibling calls: every caller can be seen in a backtrace.
KERNEL_CFLAGS := -std=c11 -O2 -g -ffreestanding -mno-red-zone -mgeneral-regs-only -mcmodel=kernel \
  -fno-pic -fno-stack-protector -fno-omit-frame-pointer -fno-optimize-sibling-calls \
  -fno-asynchronous-unwind-tables -fcf-protection=none -Iinclude -MMD -MP \
  '-DLOAM_CONFIG_HEADER="../../kernel/loam_config.h"' $(KERNEL_WARNINGS) $(KERNEL_EXTRA_CFLAGS)
KERNEL_LD := ld -m elf_x86_64 -nostdlib -static -z max-page-size=0x1000 -z noexecstack

KERNEL_SOURCES := $(sort $(wildcard kernel/*.c kernel/*.S))
KERNEL_OBJECTS := $(KERNEL_SOURCES:kernel/%=$(BUILD)/kernel/%.o) $(BUILD)/kernel/loam_all.o

$(BUILD)/kernel.elf: $(KERNEL_OBJECTS) kernel/kernel.ld
	$(call say,LINK,$@)
	$(Q)$(KERNEL_LD) -T kernel/kernel.ld $(KERNEL_OBJECTS) -o $@

$(BUILD)/kernel/%.c.o: kernel/%.c
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(KERNEL_CFLAGS) -c $< -o $@

$(BUILD)/kernel/%.S.o: kernel/%.S
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(KERNEL_CFLAGS) -c $< -o $@

# A section per function: kernel.ld puts those of the heap side by side, and
# those of the frame allocator.
$(BUILD)/kernel/loam_all.o: loam_all.c $(BUILD)/kernel/heap.stamp
	$(call say,CC,$@)
	$(Q)$(CC) $(KERNEL_CFLAGS) $(HEAP_CFLAGS) -ffunction-sections -c $< -o $@

# Changes when HEAP does.
.PHONY: heap-kind
$(BUILD)/kernel/heap.stamp: heap-kind
	$(Q)mkdir -p $(@D)
	$(Q)echo '$(HEAP)' | cmp -s - $@ || echo '$(HEAP)' >$@

TEST_BUILDS += $(BUILD)/kernel.elf
TEST_SUITES += --suite boot/kernel 'tests/boot/kernel_test.py --build $(BUILD)'

-include $(wildcard $(BUILD)/kernel/*.d)
