/*
 * adapter.h - what boot adapters share: the one place where a direct map is
 * declared, their refusals, and where the running code lies. Nothing else may
 * turn a number into a struct loam_hhdm.
 */
#ifndef LOAM_BOOT_ADAPTER_H
#define LOAM_BOOT_ADAPTER_H

#include "../types.h"

/** @param offset what the bootloader said; loam_init() validates it */
static inline struct loam_hhdm loam_boot_hhdm(uint64_t offset)
{
    struct loam_hhdm hhdm = { offset, ~offset };
    return hhdm;
}

LOAM_NODISCARD static inline enum loam_status loam_boot_refuse_(struct loam_refusal *refusal,
                                                                enum loam_status status,
                                                                const char *rule, uint64_t have,
                                                                uint64_t need)
{
    if (refusal != NULL) {
        refusal->rule = rule;
        refusal->have = have;
        refusal->need = need;
    }
    return status;
}

/* Not inlined: the return address lies in whatever code the adapter became part
 * of, and that is the code which is running. */
__attribute__((noinline, unused)) static loam_virt loam_boot_here_(void)
{
    return loam_virt_of(__builtin_return_address(0));
}

#endif
