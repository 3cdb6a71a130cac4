/*
 * loam.h - the whole subsystem as one object.
 *
 *   boot map -> early frames -> usage map -> frame allocator -> page tables ->
 *   virtual ranges -> heap
 *
 * Fill struct loam_boot with a boot adapter, call loam_init() once, then
 * loam_enter() on every CPU. Every layer stays reachable on its own.
 */
#ifndef LOAM_H
#define LOAM_H

#include "books.h"
#include "boot.h"
#include "frame.h"
#include "heap.h"
#include "hotplug.h"
#include "ledger.h"
#include "locked.h"
#include "once.h"
#include "pressure.h"
#include "usage.h"
#include "vmap.h"
#include "zero.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LOAM_VERSION_MAJOR 0
#define LOAM_VERSION_MINOR 1
#define LOAM_VERSION_PATCH 0

#define LOAM_HEAP_BYTES_DEFAULT (UINT64_C(4) << 20)

LOAM_STATIC_ASSERT(LOAM_HEAP_DEFAULT == LOAM_ALLOCATOR_BUMP ||
                       LOAM_HEAP_DEFAULT == LOAM_ALLOCATOR_FREELIST ||
                       LOAM_HEAP_DEFAULT == LOAM_ALLOCATOR_BLOCK ||
                       LOAM_HEAP_DEFAULT == LOAM_ALLOCATOR_ARENA ||
                       LOAM_HEAP_DEFAULT == LOAM_ALLOCATOR_HEAP,
                   "LOAM_HEAP_DEFAULT must be LOAM_ALLOCATOR_BUMP, _FREELIST, _BLOCK, _ARENA or "
                   "_HEAP");

LOAM_STATIC_ASSERT(LOAM_PAGEMAP_FLAT == 0, "LOAM_PAGEMAP_FLAT is for programs on a host");

struct loam {
    struct loam_tlb tlb;   /* aligned to cache lines */
    struct loam_once once; /* ready: loam_init() succeeded */
    struct loam_memmap memmap;
    struct loam_early early;
    struct loam_stock tables; /* frames for page tables */
    struct loam_stock nodes;  /* frames for usage nodes */
    struct loam_usage usage;
    struct loam_frame frame;      /* all usable memory and the bootloader's, without frame 0 */
    struct loam_ledger ledger;    /* frames of it that are taken, but in no range of usage */
    struct loam_zero_pool zeroed; /* free frames that loam_idle() has zeroed */
    struct loam_pressure pressure;
    uint64_t pressure_interval; /* pages a CPU takes until it looks how many are free; 0: never */
    LOAM_ATOMIC(uint32_t) retire_count; /* frames that wait for loam_retire() to be done */
    LOAM_ATOMIC(uint32_t) refill_count; /* changes of page tables that wait for spare ones */
    loam_phys retire[LOAM_RETIRE_MAX];  /* guarded by books */
    struct loam_space space;            /* the kernel space of tlb */
    struct loam_vmap vmap;              /* memory, stacks, devices at addresses of their own */
    struct loam_cpu_features features;
    struct loam_ticketlock books;         /* held while ranges change their owner */
    struct loam_locked heap;              /* its lock and its kind: heap.options */
    struct loam_allocator_room heap_room; /* what it locks */
    struct loam_heap cpu_heap;            /* the heap, if it is of the kind that grows */
    struct loam_heap_books heap_books;    /* and what it needs of the books */
    struct loam_phys_range heap_range;    /* smaller than wanted where memory is short; of the
                                             kind that grows, what its page map begins with */
    struct loam_phys_range frame_memory;  /* what frame keeps its books in */
    struct loam_phys_range ledger_memory; /* and ledger; and what vmap's CPUs keep */
    struct loam_phys_range zeroed_memory; /* and zeroed */
    uint64_t added_bytes;                 /* books of memory that was added */
    uint64_t window_bytes;                /* the direct map can show [0, this) */
    bool reclaimed;                       /* the bootloader's memory was given back */
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
 * an AP calls it before it touches anything else of the kernel, but for what
 * loam_port_cpu() needs. From then on it is asked to flush, so before it waits for
 * anybody it must serve that; see loam_tlb_online().
 *
 * @return LOAM_OK; LOAM_STATE before loam_init(); LOAM_UNSUPPORTED: this CPU is
 *         not like the boot CPU: nothing was changed on it
 */
LOAM_NODISCARD enum loam_status loam_enter(struct loam *mm);

#define LOAM_MALLOC_ALIGN 16u /* of every block of the malloc family of 16 bytes and more */

/* The kernel's malloc family. With the kind LOAM_ALLOCATOR_HEAP, and without debug, on
 * mm->cpu_heap, without a lock in the usual case; blocks of up to 8 bytes are aligned to 8.
 * Else on mm->heap, under its lock with interrupts off. What is caught is the kind's to
 * say. NULL: out of memory, overflow, or before loam_init().
 *
 * Before a request fails, a heap that grows gives back what it does not need, and
 * relieve() of the kernel is called; low() by the first call after memory became
 * scarce. Both in the caller's context, with no lock held.
 *
 * Context: any but NMI. Blocks of more than 16 KiB that memory is too fragmented for
 * are pieced together at addresses of vmap's, where interrupts are on: as loam_map(). */
LOAM_NODISCARD void *loam_malloc(struct loam *mm, size_t size_bytes);
LOAM_NODISCARD void *loam_calloc(struct loam *mm, size_t count, size_t size_bytes);
LOAM_NODISCARD void *loam_realloc(struct loam *mm, void *block, size_t size_bytes);
LOAM_NODISCARD void *loam_aligned_alloc(struct loam *mm, size_t align, size_t size_bytes);
void loam_free(struct loam *mm, void *block);
void loam_free_sized(struct loam *mm, void *block, size_t size_bytes);

/** Bytes the caller may use of a live block; 0 for NULL, and where the heap does not know: bump. */
LOAM_NODISCARD size_t loam_malloc_usable(struct loam *mm, const void *block);

/** @return NULL if all layers are sound and agree with each other; else the rule. Must be quiet. */
LOAM_NODISCARD const char *loam_audit(struct loam *mm);

/** @return digest of all layers. Must be quiet. */
LOAM_NODISCARD uint64_t loam_digest(struct loam *mm);

#ifdef __cplusplus
}
#endif
#endif
