# embed.mk - the README's example as a bootable kernel, $(BUILD)/embed.elf. Included
# by the Makefile, or alone: make -f examples/embed.mk BUILD=/tmp/e /tmp/e/embed.elf
BUILD ?= build
ifeq ($(origin CC),default)
CC := gcc
endif

EMBED_CFLAGS := -std=c11 -O2 -g -ffreestanding -mno-red-zone -mgeneral-regs-only -mcmodel=kernel \
  -fno-pic -fno-stack-protector -fno-asynchronous-unwind-tables -fcf-protection=none \
  -Wall -Wextra -Wpedantic $(WERROR) -Iinclude -MMD -MP
# string.c: memcpy, memmove, memset and memcmp, which compilers want from every kernel.
EMBED_SOURCES := examples/embed.c loam_all.c kernel/string.c
EMBED_OBJECTS := $(EMBED_SOURCES:%.c=$(BUILD)/embed/%.o)

$(BUILD)/embed.elf: $(EMBED_OBJECTS) kernel/kernel.ld
	$(call say,LINK,$@)
	$(Q)ld -m elf_x86_64 -nostdlib -static -z max-page-size=0x1000 -z noexecstack \
	  -T kernel/kernel.ld $(EMBED_OBJECTS) -o $@

$(BUILD)/embed/%.o: %.c
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(EMBED_CFLAGS) -c $< -o $@

TEST_BUILDS += $(BUILD)/embed.elf

-include $(EMBED_OBJECTS:.o=.d)
