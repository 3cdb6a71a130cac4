# iso.mk - bootable images, BIOS and UEFI. Include it after boot.mk.
#
#   make iso                    GRUB loads our shim, the shim loads the kernel
#   make iso LIMINE_DIR=dir     Limine's own binaries from dir load the kernel
#
# ISO_KERNEL, ISO_MODULES and ISO_CMDLINE say what is booted; ISO names the image.
ISO ?= $(BUILD)/loam.iso
ISO_KERNEL ?= $(BUILD)/kernel.elf
ISO_MODULES ?=
ISO_CMDLINE ?=

ISO_TREE := $(ISO).tree
GRUB_MODULES := normal iso9660 multiboot2 all_video part_acorn part_amiga part_apple part_bsd \
  part_dfly part_dvh part_gpt part_msdos part_plan part_sun part_sunpc

.PHONY: iso iso-tree

iso-tree: $(ISO_KERNEL) $(ISO_MODULES)
	rm -rf $(ISO_TREE)
	mkdir -p $(ISO_TREE)/boot/grub $(ISO_TREE)/boot/limine $(ISO_TREE)/EFI/BOOT
	cp $(ISO_KERNEL) $(ISO_TREE)/boot/kernel.elf
	for m in $(ISO_MODULES); do cp $$m $(ISO_TREE)/boot/ || exit 1; done

ifeq ($(LIMINE_DIR),)

iso: iso-tree $(SHIM)
	rmdir $(ISO_TREE)/boot/limine $(ISO_TREE)/EFI/BOOT $(ISO_TREE)/EFI
	cp $(SHIM) $(ISO_TREE)/boot/shim.elf
	{ printf '%s\n' 'set timeout=0' 'insmod all_video' 'menuentry loam {' \
	    '    multiboot2 /boot/shim.elf $(ISO_CMDLINE)' \
	    '    module2 /boot/kernel.elf kernel.elf'; \
	  for m in $(notdir $(ISO_MODULES)); do printf '    module2 /boot/%s %s\n' $$m $$m; done; \
	  printf '}\n'; } > $(ISO_TREE)/boot/grub/grub.cfg
	grub-mkrescue -o $(ISO) --install-modules="$(GRUB_MODULES)" --fonts= --locales= --themes= \
	  $(ISO_TREE) > $(ISO).log 2>&1 || { cat $(ISO).log; exit 1; }

else

iso: iso-tree
	rmdir $(ISO_TREE)/boot/grub
	{ printf '%s\n' 'timeout: 0' '/loam' '    protocol: limine' \
	    '    path: boot():/boot/kernel.elf' '    kernel_path: boot():/boot/kernel.elf' \
	    '    cmdline: $(ISO_CMDLINE)'; \
	  for m in $(notdir $(ISO_MODULES)); do printf '    module_path: boot():/boot/%s\n' $$m; done; \
	} > $(ISO_TREE)/boot/limine/limine.conf
	cp $(addprefix $(LIMINE_DIR)/,limine-bios.sys limine-bios-cd.bin limine-uefi-cd.bin) \
	  $(ISO_TREE)/boot/limine/
	cp $(LIMINE_DIR)/BOOTX64.EFI $(ISO_TREE)/EFI/BOOT/
	xorriso -as mkisofs -R -r -J -b boot/limine/limine-bios-cd.bin -no-emul-boot \
	  -boot-load-size 4 -boot-info-table -hfsplus -apm-block-size 2048 \
	  --efi-boot boot/limine/limine-uefi-cd.bin -efi-boot-part --efi-boot-image \
	  --protective-msdos-label $(ISO_TREE) -o $(ISO) > $(ISO).log 2>&1 || { cat $(ISO).log; exit 1; }
	if [ -x $(LIMINE_DIR)/limine ]; then $(LIMINE_DIR)/limine bios-install $(ISO); fi

endif
