# kernel.mk - the reference kernel, $(BUILD)/kernel.elf. Included by the Makefile,
# or alone: make -f kernel/kernel.mk BUILD=/tmp/k /tmp/k/kernel.elf
BUILD ?= build
ifeq ($(origin CC),default)
CC := gcc
endif

KERNEL_WARNINGS := -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wundef \
  -Wcast-qual -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 -Wwrite-strings \
  -Wnull-dereference -Wframe-larger-than=1024 $(WERROR)
# Frame pointers and no sibling calls: every caller can be seen in a backtrace.
KERNEL_CFLAGS := -std=c11 -O2 -g -ffreestanding -mno-red-zone -mgeneral-regs-only -mcmodel=kernel \
  -fno-pic -fno-stack-protector -fno-omit-frame-pointer -fno-optimize-sibling-calls \
  -fno-asynchronous-unwind-tables -fcf-protection=none -Iinclude -MMD -MP \
  $(KERNEL_WARNINGS) $(KERNEL_EXTRA_CFLAGS)
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

$(BUILD)/kernel/loam_all.o: loam_all.c
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(KERNEL_CFLAGS) -c $< -o $@

TEST_BUILDS += $(BUILD)/kernel.elf
TEST_SUITES += --suite boot/kernel 'tests/boot/kernel_test.py --build $(BUILD)'

-include $(wildcard $(BUILD)/kernel/*.d)
