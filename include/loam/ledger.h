/*
 * ledger.h - how many single frames each owner has.
 *
 *     line of CPU 0   [ taken, given ][ taken, given ] ...     one pair per owner
 *     line of CPU 1   [ taken, given ][ taken, given ] ...
 *
 * The usage map records ranges. Frames that come and go one by one, on all CPUs at
 * once, are only counted: by the CPU that takes or gives them, in lines of its own.
 *
 *     frames of an owner = sum of taken - sum of given, over all lines
 *
 * Counting is one atomic addition on a cache line of this CPU. A thread that is moved
 * meanwhile counts on another CPU's line: slower, not wrong. A frame may be given on
 * another CPU than the one it was taken on: one line's own difference says nothing.
 */
#ifndef LOAM_LEDGER_H
#define LOAM_LEDGER_H

#include "usage.h"

#ifdef __cplusplus
extern "C" {
#endif

struct loam_ledger_line;

/* Read-only outside ledger.c. */
struct loam_ledger {
    struct loam_ledger_line *line;
    unsigned line_count;
};

/** Bytes for the lines of so many CPUs. @return 0: not in 1..LOAM_CPUS_MAX */
LOAM_NODISCARD size_t loam_ledger_bytes_needed(unsigned cpu_count);

/**
 * Start with no frames.
 *
 * @param ledger       output
 * @param cpu_count    1..LOAM_CPUS_MAX; other CPUs may count too, on these lines
 * @param memory       64-byte aligned; borrowed for the life of @p ledger
 * @param memory_bytes of @p memory
 *
 * @return LOAM_OK; LOAM_INVALID: malformed; LOAM_NO_SPACE: memory_bytes is less than
 *         loam_ledger_bytes_needed()
 *
 * Context: before anybody uses the ledger.
 */
LOAM_NODISCARD enum loam_status loam_ledger_init(struct loam_ledger *ledger, unsigned cpu_count,
                                                 void *memory, size_t memory_bytes);

/*
 * Default context of what follows: any CPU, any interrupt state, not NMI; no lock.
 * An owner that is not known panics.
 */

/**
 * Count frames that an owner has taken: after they were, before he knows them.
 *
 * @return how many this CPU had counted for him before, without those given back
 */
uint64_t loam_ledger_add(struct loam_ledger *ledger, enum loam_owner owner, uint64_t frame_count);

/**
 * Count frames that an owner gives back: before they are free again.
 *
 * @return false: all owners of this name together do not have as many; nothing was
 *         counted. This is looked for only when what this CPU has given overtakes what
 *         it has taken; what passes is for the audit
 */
LOAM_NODISCARD bool loam_ledger_sub(struct loam_ledger *ledger, enum loam_owner owner,
                                    uint64_t frame_count);

/** Frames of an owner. Exact when nobody counts, else of about now; never below zero. O(CPUs) */
LOAM_NODISCARD uint64_t loam_ledger_total(const struct loam_ledger *ledger, enum loam_owner owner);

/** The same of all owners. */
LOAM_NODISCARD uint64_t loam_ledger_sum(const struct loam_ledger *ledger);

/** @return NULL if sound, else the broken rule. Must be quiet. */
LOAM_NODISCARD const char *loam_ledger_audit(const struct loam_ledger *ledger);

/** @return digest of the totals, not of who counted. Must be quiet. */
LOAM_NODISCARD uint64_t loam_ledger_digest(const struct loam_ledger *ledger);

#ifdef __cplusplus
}
#endif
#endif
