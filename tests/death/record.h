/* record.h - the machine of the death programs of records. */
#ifndef LOAM_TESTS_DEATH_RECORD_H
#define LOAM_TESTS_DEATH_RECORD_H

#include "frame.h"
#include "machine.h"

#include <loam/record.h>

static struct loam_record record;

/* Records of all frames of ram; with poison, or without. */
static inline void records(bool poison)
{
    static _Alignas(64) unsigned char memory[8192];
    struct loam_record_setup setup = {
        .frame = &frame,
        .memory = memory,
        .memory_bytes = sizeof memory,
        .poison = poison,
    };

    machine_reset(2);
    machine_add_ram(ram.start.addr, ram.size);
    setup.hhdm = machine_hhdm();
    four_mib();
    if (loam_record_init(&record, &setup) != LOAM_OK)
        exit(1);
}

/* The same, and a block of order 3. */
static inline loam_phys recorded_block(bool poison)
{
    records(poison);
    const loam_phys block = loam_record_alloc(&record, 3, LOAM_ZONE_ANY);
    if (loam_phys_is_none(block))
        exit(1);
    return block;
}

/* Allocate all that there is room for, in blocks of order 3. */
static inline void all_blocks(void)
{
    for (int i = 0; i < 128; i++)
        if (loam_phys_is_none(loam_record_alloc(&record, 3, LOAM_ZONE_ANY)))
            exit(1);
}

#endif
