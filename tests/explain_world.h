/*
 * explain_world.h - reports of faults on a named machine. Shared by the tests of
 * explain.
 */
#ifndef LOAM_TESTS_EXPLAIN_WORLD_H
#define LOAM_TESTS_EXPLAIN_WORLD_H

#include <stdio.h>

#include <loam/explain.h>

#include "names_world.h"

static inline struct loam_fault fault_at(uint64_t address, uint64_t error)
{
    return (struct loam_fault){ .address = { address },
                                .error = error,
                                .ip = { IMAGE_VIRT + 0x456 },
                                .root = loam_phys_none() };
}

static inline const char *explained(struct loam_fault fault)
{
    const struct loam_writer writer = paper_start();
    loam_explain_fault(&names, &fault, &writer);
    return paper;
}

/* The words of the report of an access. */
#define EXPECT_SAID(address, error, words) expect_words(explained(fault_at(address, error)), words)

#endif
