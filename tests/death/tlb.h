/*
 * tlb.h - two CPUs, one of them online on the kernel space.
 */
#ifndef LOAM_TESTS_DEATH_TLB_H
#define LOAM_TESTS_DEATH_TLB_H

#include <loam/tlb.h>

#include "machine.h"

static struct loam_tlb tlb;
static struct loam_tlb_space kernel, space;
static struct loam_tlb_batch batch;

static inline void start(void)
{
    machine_reset(2);
    const struct loam_cpu_features features = loam_cpu_identify();
    loam_tlb_init(&tlb, &features, 2);
    loam_tlb_connect(&tlb, &kernel, loam_phys_at(0x1000), true);
    loam_tlb_connect(&tlb, &space, loam_phys_at(0x2000), false);
    loam_tlb_online(&tlb);
    if (loam_cpu_enter(&features, kernel.root) != LOAM_OK)
        machine_set_cpu(1000); /* fails */
    loam_tlb_batch_begin(&batch, &kernel);
}

#endif
