/*
 * explain.h - why an access faulted, in words: for the handler of page faults.
 *
 *     write by the kernel to 0xffffffff80001000, error code 0x3, instruction at ...
 *     level 4, entry 511 at 0x0000000000201ff8: 0x0000000000204023 table at 0x...
 *     level 3, ...
 *     level 1, entry 1 at 0x...: 0x0000000000101121 page at 0x..., r-x-g, WB
 *     why: the page is read-only: level 1 forbids it
 *     where: kernel text from 0xffffffff80000000
 *     last free: range NAME, 0x...-0x...; since then 3 others were
 *     memory: physical 0x..., of executable from 0x..., a frame in use
 *     last free: not recorded
 *     hint: code and constants of the kernel are read-only
 *
 * It runs on a machine that is broken, so it believes nobody: it walks the tables by
 * itself, without the code of paging; it looks whether an address lies in RAM that the
 * frame allocator manages before it reads there, through the direct map, and goes on
 * without what it may not read. That holds for page tables, nodes of the usage map and
 * records of the vrange. Locks are tried, never waited for: what is being changed is not
 * asked. What must be sound: struct loam_names and what it points to directly, the
 * frame allocator's own books, and the direct map of RAM.
 */
#ifndef LOAM_EXPLAIN_H
#define LOAM_EXPLAIN_H

#include "names.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Error code of a page fault: Intel SDM vol. 3, section 4.7. */
#define LOAM_FAULT_PRESENT  0x1u /* the page was there: its rights forbid the access */
#define LOAM_FAULT_WRITE    0x2u
#define LOAM_FAULT_USER     0x4u /* at CPL 3 */
#define LOAM_FAULT_RESERVED 0x8u
#define LOAM_FAULT_FETCH    0x10u
#define LOAM_FAULT_KEY      0x20u /* a protection key forbids it */
#define LOAM_FAULT_SHADOW   0x40u /* an access of a shadow stack */
#define LOAM_FAULT_SGX      0x8000u

/* An access that failed. */
struct loam_fault {
    loam_virt address; /* CR2 */
    uint64_t error;    /* any OR of LOAM_FAULT_* */
    loam_virt ip;      /* of the instruction; 0: unknown */
    loam_phys root;    /* top table of the CPU, from CR3; none: that of names->space */
};

/* What the tables say of an access, from the root down: the first that is true. */
enum loam_fault_cause {
    LOAM_FAULT_BY_ADDRESS,     /* it is not canonical */
    LOAM_FAULT_BY_TABLE,       /* a table is in no RAM that is known: nothing can be said */
    LOAM_FAULT_BY_ABSENCE,     /* an entry is not present */
    LOAM_FAULT_BY_FORMAT,      /* a reserved bit is set in an entry */
    LOAM_FAULT_BY_USER,        /* user mode, and a page of the kernel */
    LOAM_FAULT_BY_WRITE,       /* read-only */
    LOAM_FAULT_BY_FETCH,       /* not executable */
    LOAM_FAULT_BY_SUPERVISION, /* the kernel, and a page of users: SMEP, or SMAP */
    LOAM_FAULT_BY_NOTHING,     /* the tables allow it: now, or to who reads them afresh */
};

/**
 * Ask the tables.
 *
 * @param names names->space and names->frame are used
 * @param fault the access
 * @param level receives the level whose entry decides, 1..5; 0: none does. May be NULL
 *
 * Context: any, NMI included, locks may be held; takes none.
 */
LOAM_NODISCARD enum loam_fault_cause loam_explain_cause(const struct loam_names *names,
                                                        const struct loam_fault *fault,
                                                        unsigned *level);

/**
 * Write all that is known, in lines that begin with two blanks.
 *
 * @param names  what is NULL there is left out
 * @param fault  the access; also one that has not failed
 * @param writer called without a lock of the library but those the caller holds
 *
 * Context: any, NMI included, locks may be held; tries those of the vrange and the usage
 * map. O(depth of their trees + image sections + landmarks).
 */
void loam_explain_fault(const struct loam_names *names, const struct loam_fault *fault,
                        const struct loam_writer *writer);

#ifdef __cplusplus
}
#endif
#endif
