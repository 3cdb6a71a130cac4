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

/* A set of CPUs, by their numbers. All zeroes: empty. */
struct loam_cpu_set {
    LOAM_ATOMIC(uint64_t) word[(LOAM_CPUS_MAX + 63) / 64];
};

/** @return is @p cpu in the set? false for numbers above LOAM_CPUS_MAX - 1 */
LOAM_NODISCARD bool loam_cpu_set_has(const struct loam_cpu_set *set, unsigned cpu);

struct loam_tlb_range {
    loam_virt start;     /* first page */
    uint64_t page_count; /* at least 1 */
    uint64_t page_size;  /* stride in bytes: 4 KiB, 2 MiB or 1 GiB */
};

#define LOAM_TLB_RANGES_MAX 8u

/** Stale translations. What a hook needs of it is @p cpus. */
struct loam_tlb_flush {
    struct loam_cpu_set cpus;     /* who may hold them; never empty */
    struct loam_tlb_space *space; /* whose they are; see tlb.h */
    uint64_t generation;          /* of its lower half since this change; 0: that is as it was */
    uint64_t kernel_generation;   /* of what is not global in the higher half; 0: as it was */
    bool is_kernel;               /* some of it is in the higher half, which all spaces share */
    bool is_full;                 /* everything of the space, whatever the ranges are */
    unsigned range_count;
    struct loam_tlb_range range[LOAM_TLB_RANGES_MAX];
};

/**
 * Index of the running CPU.
 *
 * @return 0..LOAM_CPUS_MAX-1; distinct per CPU; stable while interrupts are off;
 *         right before loam_enter() already
 *
 * Context: called with interrupts off, on hot paths; must not block or lock.
 * A kernel without SMP returns 0. May be an inline function: LOAM_PORT_CPU_INLINE.
 */
#if !LOAM_PORT_CPU_INLINE
unsigned loam_port_cpu(void);
#endif

/**
 * Remove stale translations from CPUs that may hold them.
 *
 * @param flush whom to ask; its place is the caller's again after return, so no
 *              CPU may look at it later
 *
 * Must not return before every CPU of flush->cpus has executed
 * loam_tlb_flush_local(flush): the frames behind the pages are reused immediately
 * afterwards. The CPU that runs the hook may be among them: it calls that function
 * itself. To ask more CPUs than needed is slower, and right. A kernel without SMP
 * calls loam_tlb_flush_local(flush) and nothing else. Example with four CPUs, 0 and
 * 3 in the set: CPU 2 unmaps; the hook stores @p flush where the others find it,
 * sends CPUs 0 and 3 an interrupt whose handler calls loam_tlb_flush_local() and
 * counts up, and returns when the count is 2.
 *
 * Not called where no other CPU can hold them, nor where the processor can tell the
 * others itself (INVLPGB).
 *
 * Two CPUs may call it at the same time, each with interrupts off: who waits, here
 * or for any lock that is held while unmapping, must meanwhile serve what it is
 * asked. A CPU that never answers is the hook's to name, and to panic about: to
 * return without its answer gives away memory that it can still write to.
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
