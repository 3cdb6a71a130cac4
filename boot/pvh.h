/*
 * pvh.h - the start info of the PVH boot protocol, as QEMU hands it over.
 *
 * All addresses are physical. Source: Xen's public interface, arch-x86/hvm.
 */
#ifndef SHIM_PVH_H
#define SHIM_PVH_H

#include <stdint.h>

#define PVH_MAGIC 0x336ec578u

struct pvh_start_info {
    uint32_t magic;
    uint32_t version; /* 1 and newer have the memory map */
    uint32_t flags;
    uint32_t module_count;
    uint64_t modules;
    uint64_t cmdline; /* 0-terminated, or 0 */
    uint64_t rsdp;    /* or 0 */
    uint64_t memmap;
    uint32_t memmap_count;
    uint32_t reserved;
};

struct pvh_module {
    uint64_t address;
    uint64_t size;
    uint64_t cmdline; /* 0-terminated, or 0 */
    uint64_t reserved;
};

struct pvh_memmap_entry {
    uint64_t address;
    uint64_t size;
    uint32_t type; /* as E820 */
    uint32_t reserved;
};

#endif
