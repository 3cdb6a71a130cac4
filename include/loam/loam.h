/*
 * loam.h - the whole subsystem as one object.
 *
 *   boot map -> early frames -> usage map -> page tables -> heap
 *
 * Fill struct loam_boot with a boot adapter, call loam_init() once, then
 * loam_enter() on every CPU. Every layer stays reachable on its own.
 */
#ifndef LOAM_H
#define LOAM_H

#include "books.h"
#include "boot.h"
#include "freelist.h"
#include "once.h"
#include "usage.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LOAM_VERSION_MAJOR 0
#define LOAM_VERSION_MINOR 1
#define LOAM_VERSION_PATCH 0

#define LOAM_HEAP_BYTES_DEFAULT (UINT64_C(4) << 20)

struct loam {
    struct loam_once once; /* ready: loam_init() succeeded */
    struct loam_memmap memmap;
    struct loam_early early;
    struct loam_stock tables; /* frames for page tables */
    struct loam_stock nodes;  /* frames for usage nodes */
    struct loam_usage usage;
    struct loam_space space;
    struct loam_cpu_features features;
    struct loam_ticketlock books; /* held while ranges change their owner */
    struct loam_ticketlock heap_lock;
    struct loam_freelist heap;
    struct loam_phys_range heap_range; /* smaller than wanted where memory is short */
    bool reclaimed;                    /* the bootloader's memory was given back */
};

/**
 * Bring up every layer. Builds tables and heap, touches no CPU state.
 *
 * @param mm      storage with static lifetime, zeroed before the first call
 * @param boot    not retained, but for its storage
 * @param refusal filled on failure; may be NULL
 *
 * @return LOAM_OK; LOAM_STATE: done already, or another CPU is at it;
 *         LOAM_INVALID, LOAM_NO_SPACE, LOAM_NO_MEMORY, LOAM_UNSUPPORTED: see
 *         refusal. After a failure @p mm may be used for another try.
 *
 * Context: boot CPU, on the bootloader's tables, interrupts as you like.
 */
LOAM_NODISCARD enum loam_status loam_init(struct loam *mm, const struct loam_boot *boot,
                                          struct loam_refusal *refusal);

/**
 * Move the running CPU onto mm's page tables. Once per CPU, the boot CPU first;
 * an AP calls it before it touches anything else of the kernel.
 *
 * @return LOAM_OK; LOAM_STATE before loam_init(); LOAM_UNSUPPORTED: this CPU is
 *         not like the boot CPU: nothing was changed on it
 */
LOAM_NODISCARD enum loam_status loam_enter(struct loam *mm);

/* The kernel's malloc family on mm->heap, under its lock with interrupts off.
 * NULL: out of memory, overflow, or before loam_init(). Context: any but NMI. */
LOAM_NODISCARD void *loam_malloc(struct loam *mm, size_t size_bytes);
LOAM_NODISCARD void *loam_calloc(struct loam *mm, size_t count, size_t size_bytes);
LOAM_NODISCARD void *loam_realloc(struct loam *mm, void *block, size_t size_bytes);
LOAM_NODISCARD void *loam_aligned_alloc(struct loam *mm, size_t align, size_t size_bytes);
void loam_free(struct loam *mm, void *block);
void loam_free_sized(struct loam *mm, void *block, size_t size_bytes);

/** @return NULL if all layers are sound and agree with each other; else the rule. Must be quiet. */
LOAM_NODISCARD const char *loam_audit(const struct loam *mm);

/** @return digest of all layers. Must be quiet. */
LOAM_NODISCARD uint64_t loam_digest(const struct loam *mm);

#ifdef __cplusplus
}
#endif
#endif
