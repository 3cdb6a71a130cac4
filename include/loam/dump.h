/*
 * dump.h - an address space for people to read, and what is wrong with it.
 *
 *   first-last  size  page  cache  rights  physical  what  memory of; remarks
 *
 *   0xffff800000200000-0xffff800003ffffff     62 MiB 2 MiB WB    rw--g  0x0000000000200000
 *       direct map           of usable and 3 others
 *
 * A line is one range: neighbouring pages of one size, cache type and set of rights,
 * in one place (names.h). It is cut where the place changes, since that is what the
 * reader looks for; not where the owner of the memory does, or the direct map would
 * be as long as the usage map, which has a print-out of its own: the line names who
 * has most of it, and how many others. Nor is it cut where the memory behind is not
 * contiguous: "in N pieces".
 *
 * Entries in use that are not present have lines, too: they say guard, tag or held for
 * the cache type, and show the value of a tag for the address. "c" among the rights is
 * copy on write.
 *
 * "single frames" is memory that was taken frame by frame: who has it is counted, but
 * not where (books.h). Remarks:
 *
 *     W+X                      these pages can be written and executed
 *     also at A (and N more)   the memory is mapped there too; the direct map is left out
 *     writable at A            the page is executable, its memory can be written there
 *     executable at A          the page is writable, its memory can be executed there
 *     T at A                   the memory has another cache type there, the direct map included
 *     N frames are free        the frame allocator may give them to somebody else
 *     guard page, freed, not in use    what the vrange says of pages that are mapped
 *
 * Cost: O(lines x runs), a run being what loam_space_next() returns; only lines that are
 * not of the direct map count. About 0.2 s for one of 1 GiB in 262144 pieces. No memory is
 * allocated; each function uses less than 1 KiB of stack.
 */
#ifndef LOAM_DUMP_H
#define LOAM_DUMP_H

#include "names.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LOAM_DUMP_PIECES 8u /* of a line, whose owners and aliases are looked for */

/**
 * Print a header, a line per range, and a line of sums.
 *
 * Other CPUs may change mappings meanwhile: what is there throughout is printed once,
 * and what changes is seen before, after, or in two lines.
 *
 * @param names  names->space is dumped
 * @param writer called without a lock
 *
 * Context: any CPU, any interrupt state, not NMI; takes the locks of the space, the
 * vrange and the usage map, one at a time.
 */
void loam_space_dump(const struct loam_names *names, const struct loam_writer *writer);

/* Where a rule is broken. */
struct loam_lint {
    loam_virt at;    /* page */
    loam_virt other; /* page that shows the same memory; else @p at */
    loam_phys phys;  /* behind @p at */
};

/**
 * Look for mappings that nobody should have:
 *
 *     lint: page is writable and executable
 *     lint: direct map is executable
 *     lint: memory is executable here, writable there
 *     lint: constants of the kernel are writable      names->image, alias or not
 *     lint: user page shows the kernel image          names->image
 *     lint: user page shows the library's books       names->usage: METADATA, PAGE_TABLES
 *     lint: page table is mapped                      for users, or writable outside of the
 *                                                     direct map
 *
 * All aliases count, whichever pages show them; but for the direct map where users may
 * execute: the kernel loads their programs through it. The first three are not asked for where
 * the CPU has no NX: all is executable there. Memory is compared in whole pages.
 *
 * @param names   names->space is looked at
 * @param finding filled if a rule is broken; may be NULL
 *
 * @return NULL if sound, else the broken rule. Must be quiet. O(runs x (executable runs +
 *         image sections + tables / 64))
 */
LOAM_NODISCARD const char *loam_space_lint(const struct loam_names *names,
                                           struct loam_lint *finding);

#ifdef __cplusplus
}
#endif
#endif
