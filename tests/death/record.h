/* record.h - the machine of the death programs of records. */
#ifndef LOAM_TESTS_DEATH_RECORD_H
#define LOAM_TESTS_DEATH_RECORD_H

#include "frame.h"
#include "machine.h"

#include <loam/record.h>

/* Records of all frames of ram; with poison, or without. */
static inline bool records(struct loam_record *record, bool poison)
{
    static _Alignas(64) unsigned char memory[8192];
    static struct loam_frame frame;
    struct loam_record_setup setup = {
        .frame = &frame,
        .memory = memory,
        .memory_bytes = sizeof memory,
        .poison = poison,
    };

    machine_reset(2);
    machine_add_ram(ram.start.addr, ram.size);
    setup.hhdm = machine_hhdm();
    return four_mib(&frame) && loam_record_init(record, &setup) == LOAM_OK;
}

#endif
