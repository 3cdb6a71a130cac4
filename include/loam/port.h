/*
 * port.h - everything the library needs from your kernel: three functions.
 *
 * Declared here, defined by you. A missing one is a link error. There is no
 * default, no weak symbol and no registration call.
 */
#ifndef LOAM_PORT_H
#define LOAM_PORT_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A batch of stale translations. */
struct loam_tlb_flush {
    loam_phys root;      /* top-level table of the address space */
    loam_virt start;     /* first page */
    uint64_t page_count; /* 0: the whole address space, global pages included */
    uint64_t page_size;  /* stride in bytes */
};

/**
 * Index of the running CPU.
 *
 * @return 0..LOAM_CPUS_MAX-1; distinct per CPU; stable while interrupts are off
 *
 * Context: called with interrupts off, on hot paths; must not block or lock.
 * A kernel without SMP returns 0. May be an inline function: LOAM_PORT_CPU_INLINE.
 */
#if !LOAM_PORT_CPU_INLINE
unsigned loam_port_cpu(void);
#endif

/**
 * Remove stale translations from every CPU that may hold them.
 *
 * @param flush what to drop; not retained after return
 *
 * Must not return before every such CPU has executed loam_tlb_flush_local() for
 * it: the frames behind the range are reused immediately afterwards. A kernel
 * without SMP calls loam_tlb_flush_local(flush) and nothing else. Example with
 * four CPUs: CPU 2 unmaps; the hook stores @p flush where the others find it,
 * sends CPUs 0, 1 and 3 an interrupt whose handler calls
 * loam_tlb_flush_local() and counts up, calls it on CPU 2 too, and returns
 * when the count is 3.
 *
 * Context: interrupts on or off as in the caller of the unmapping function; no
 * library lock is held.
 */
void loam_port_tlb_flush(const struct loam_tlb_flush *flush);

/** A broken rule. Not retained by anybody. */
struct loam_panic {
    const char *rule; /* static: "layer: the rule" or the condition itself */
    const char *file; /* static: where the check is */
    int line;
    uint64_t subject; /* the address or value the rule is about; 0: none */
    uint64_t detail;  /* its size, order or expected value; 0: none */
};

/**
 * Report a broken rule and stop.
 *
 * @param panic what was broken
 *
 * Context: any, locks may be held; must not return, must not allocate.
 */
__attribute__((noreturn)) void loam_port_panic(const struct loam_panic *panic);

#ifdef __cplusplus
}
#endif
#endif
