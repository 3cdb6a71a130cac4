/*
 * hhdm.h - the one place where a direct map is declared. For boot adapters:
 * nothing else may turn a number into a struct loam_hhdm.
 */
#ifndef LOAM_BOOT_HHDM_H
#define LOAM_BOOT_HHDM_H

#include "../types.h"

/** @param offset what the bootloader said; loam_init() validates it */
static inline struct loam_hhdm loam_boot_hhdm(uint64_t offset)
{
    struct loam_hhdm hhdm = { offset, ~offset };
    return hhdm;
}

#endif
