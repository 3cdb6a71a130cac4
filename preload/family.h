/*
 * family.h - what all members of the malloc family are made of.
 *
 * Usual case: the running thread's lists, inlined; else a visit. errno is set to ENOMEM
 * where there is no memory, and otherwise left alone.
 */
#ifndef PRELOAD_FAMILY_H
#define PRELOAD_FAMILY_H

#include "../src/internal/heap_fast.h"
#include "thread.h"

#define PRELOAD_EXPORT __attribute__((visibility("default")))
#define PRELOAD_INLINE inline __attribute__((always_inline))

/** Any size. @return NULL: no memory */
void *preload_alloc_slow(size_t size_bytes);
/** The same for sizes above LOAM_HEAP_TABLE_MAX, from the lists if there is a class. */
void *preload_alloc_middle(size_t size_bytes);
void *preload_alloc_zeroed_slow(size_t size_bytes);
/** @param align power of two */
void *preload_alloc_aligned(size_t align, size_t size_bytes);
/** @param block not NULL. @param usable its bytes; 0: none of a class. @param size_bytes not 0 */
void *preload_realloc_slow(void *block, size_t usable, size_t size_bytes);
/** Bytes of a block; NULL has none; anything else panics. */
size_t preload_usable(const void *block);
void preload_free_slow(void *block);
/** @param align,size_bytes as they were asked for, 1 for none; others panic */
void preload_free_sized_slow(void *block, size_t align, size_t size_bytes);

/* From the thread's list of a class. @return NULL: not now */
static PRELOAD_INLINE void *preload_pop(unsigned class)
{
    struct loam_heap_cpu *const cpu = preload_cpu;
    struct loam_magazine *const magazine = &cpu->magazine[class];

    if (HEAP_UNLIKELY(!heap_fast_enter(cpu)))
        return NULL;
    void *const block = heap_hard_pop(cpu, magazine);
    loam_guard_leave(&cpu->guard);
    return block;
}

/* What is left of a block: see heap_fast_push(). @return false: not now */
static PRELOAD_INLINE bool preload_push(size_t class_16, void **slot)
{
    struct loam_heap_cpu *const cpu = preload_cpu;

    if (HEAP_UNLIKELY(!heap_fast_enter(cpu)))
        return false;
    const bool is_done = heap_fast_push(cpu, class_16, slot);
    loam_guard_leave(&cpu->guard);
    return HEAP_LIKELY(is_done);
}

static PRELOAD_INLINE void *preload_alloc(size_t size_bytes)
{
    if (HEAP_LIKELY(size_bytes <= LOAM_HEAP_TABLE_MAX)) {
        const unsigned class = heap_class_table[(size_bytes + 7) / 8];
        void *const slot = preload_pop(class);
        return HEAP_LIKELY(slot != NULL) ? heap_fast_begin(&preload_heap, slot, class, size_bytes)
                                         : preload_alloc_slow(size_bytes);
    }
    return preload_alloc_middle(size_bytes);
}

static PRELOAD_INLINE void preload_free(void *block)
{
    size_t class_16;

    if (HEAP_UNLIKELY(!heap_fast_end(&preload_heap, block, &class_16) ||
                      !preload_push(class_16, &block)))
        preload_free_slow(block);
}

static PRELOAD_INLINE void preload_free_sized(void *block, size_t size_bytes)
{
    size_t class_16;

    if (HEAP_UNLIKELY(HEAP_IS_HARDENED || size_bytes > LOAM_HEAP_TABLE_MAX ||
                      !heap_fast_find(&preload_heap, block, &class_16) ||
                      heap_class_table[(size_bytes + 7) / 8] * (size_t)16 != class_16 ||
                      !preload_push(class_16, &block)))
        preload_free_sized_slow(block, 1, size_bytes);
}

#endif
