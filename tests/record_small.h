/*
 * record_small.h - a small world for records: four blocks of 2 MiB, RECORDS(..., SMALL).
 */
#ifndef LOAM_TESTS_RECORD_SMALL_H
#define LOAM_TESTS_RECORD_SMALL_H

#include "record_world.h"

#define BASE UINT64_C(8192) /* page; 32 MiB */
#define END  (BASE + 4 * BLOCK)
#define SMALL     \
    {             \
        BASE, END \
    }

static inline unsigned count_of(uint64_t page)
{
    return loam_record_count(&record, at_page(page));
}

#endif
