/*
 * loader.h - what the bootloader told us, beside the memory map. The requests
 * are here; what outlives the bootloader's memory is copied here.
 */
#ifndef KERNEL_LOADER_H
#define KERNEL_LOADER_H

#include <loam/boot/limine.h>

#define LOADER_FRAMEBUFFERS_MAX 4u

struct loader {
    uint64_t revision; /* base revision in use */
    char name[64];
    char version[32];
    char cmdline[1024];
    unsigned module_count;
    struct loam_virt_range framebuffer[LOADER_FRAMEBUFFERS_MAX]; /* in the direct map */
    unsigned framebuffer_count;
    loam_phys rsdp; /* ACPI's root pointer; none: not known */
};

extern struct loam_limine loader_limine; /* responses: until loader_forget() */
extern struct loader loader;             /* after loader_copy() */

/* Copy; responses that are not there leave empty texts and zeroes. */
void loader_copy(void);

/* Drop the response pointers: what they point to is about to be reused. */
void loader_forget(void);

#endif
