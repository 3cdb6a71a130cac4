/*
 * family.c - see family.h.
 */
#include "family.h"

#include <errno.h>

#include <stdatomic.h>

#include "../src/internal/check.h"
#include "../src/internal/heap_large.h"
#include "pages.h"
#include "reserve.h"
#include "visit.h"

/* A block is larger than who has it knows; see family_require_size(). */
static _Atomic(bool) family_has_shrunk;

static void *family_told(void *block)
{
    if (block == NULL)
        errno = ENOMEM;
    return block;
}

__attribute__((noinline)) void *preload_alloc_slow(size_t size_bytes)
{
    struct preload_visit visit;
    void *block = NULL;

    if (size_bytes > PTRDIFF_MAX)
        return family_told(NULL);
    if (!preload_visit_begin(&visit))
        return family_told(preload_reserve_alloc(size_bytes, LOAM_HEAP_ALIGN));
    if (!preload_thread_begin())
        block = preload_reserve_alloc(size_bytes, LOAM_HEAP_ALIGN);
    else if (HEAP_IS_HARDENED && size_bytes <= LOAM_HEAP_SMALL_MAX)
        block = loam_hard_alloc_slow(&preload_heap, preload_cpu, size_bytes);
    else if (size_bytes <= LOAM_HEAP_SMALL_MAX)
        block = loam_heap_alloc_slow(&preload_heap, preload_cpu, heap_class_of(size_bytes));
    else
        block = loam_heap_large_alloc(&preload_heap, size_bytes, 1, NULL);
    preload_visit_end(&visit);
    return family_told(block);
}

__attribute__((noinline)) void *preload_alloc_middle(size_t size_bytes)
{
    if (HEAP_UNLIKELY(size_bytes > LOAM_HEAP_SMALL_MAX))
        return preload_alloc_slow(size_bytes);
    const unsigned class = heap_class_of_middle(size_bytes);
    void *const slot = preload_pop(class);
    return HEAP_LIKELY(slot != NULL) ? heap_fast_begin(&preload_heap, slot, class, size_bytes)
                                     : preload_alloc_slow(size_bytes);
}

__attribute__((noinline)) void *preload_alloc_zeroed_slow(size_t size_bytes)
{
    bool is_zeroed = false;
    struct preload_visit visit;
    void *block;

    if (size_bytes > LOAM_HEAP_SMALL_MAX && size_bytes <= PTRDIFF_MAX &&
        preload_visit_begin(&visit)) {
        block = preload_thread_begin()
                    ? loam_heap_large_alloc(&preload_heap, size_bytes, 1, &is_zeroed)
                    : preload_reserve_alloc(size_bytes, LOAM_HEAP_ALIGN);
        preload_visit_end(&visit);
        (void)family_told(block);
    } else {
        block = preload_alloc(size_bytes);
    }
    if (block != NULL && !is_zeroed)
        __builtin_memset(block, 0, size_bytes);
    return block;
}

void *preload_alloc_aligned(size_t align, size_t size_bytes)
{
    struct preload_visit visit;

    if (align <= LOAM_HEAP_ALIGN)
        return preload_alloc(size_bytes < align ? align : size_bytes);
    if (size_bytes > PTRDIFF_MAX || align > PTRDIFF_MAX)
        return family_told(NULL);
    const size_t whole = size_bytes == 0 ? align : (size_bytes + align - 1) & ~(align - 1);
    if (HEAP_LIKELY(whole <= LOAM_HEAP_SMALL_MAX)) {
        const unsigned class = heap_class_of(whole);
        void *const quick =
            (heap_class_bytes(class) & (align - 1)) == 0 ? preload_pop(class) : NULL;
        if (HEAP_LIKELY(quick != NULL))
            return heap_fast_begin(&preload_heap, quick, class, size_bytes);
    }
    if (!preload_visit_begin(&visit))
        return family_told(preload_reserve_alloc(size_bytes, align));
    void *const block = preload_thread_begin()
                            ? loam_heap_alloc_aligned(&preload_heap, align, size_bytes)
                            : preload_reserve_alloc(size_bytes, align);
    preload_visit_end(&visit);
    return family_told(block);
}

/* ---- free ---------------------------------------------------------------------- */

/* Something of the heap? Else it is the reserve's, or not a block. */
static bool family_is_heaps(const void *block)
{
    return heap_fast_class(&preload_heap, block) != 0 ||
           loam_heap_large_find(&preload_heap, block) != NULL;
}

/* What is no block is most often one that has been freed, and its pages with it. */
static void family_require_block(const void *block)
{
    const uint64_t at = loam_virt_of(block).addr;

    if (family_is_heaps(block))
        return;
    LOAM_REQUIRE(!preload_pages_were_used(block), HEAP_TWICE, at, 0);
    LOAM_REQUIRE(false, HEAP_FOREIGN, at, 0);
}

__attribute__((noinline)) void preload_free_slow(void *block)
{
    struct preload_visit visit;

    if (block == NULL || (!family_is_heaps(block) && preload_reserve_free(block)))
        return;
    family_require_block(block);
    if (!preload_visit_begin(&visit)) {
        preload_visit_defer(block);
        return;
    }
    (void)preload_thread_begin();
    loam_heap_free_slow(&preload_heap, preload_cpu, block);
    preload_visit_end(&visit);
}

/* A block has between half of what it takes and all of it - realloc leaves it in its place as
 * long - unless it had to be left there for want of memory. */
static void family_require_size(const void *block, size_t align, size_t size_bytes)
{
    const size_t usable = preload_usable(block);
    const size_t least = size_bytes < align ? align : size_bytes;
    const uint64_t at = loam_virt_of(block).addr;

    LOAM_REQUIRE(size_bytes <= usable, HEAP_SIZE, at, size_bytes);
    LOAM_REQUIRE(!HEAP_IS_HARDENED || size_bytes == usable || least == usable ||
                     atomic_load(&family_has_shrunk),
                 HEAP_SIZE, at, size_bytes);
    LOAM_REQUIRE(least >= usable / 2 || usable <= LOAM_HEAP_ALIGN ||
                     atomic_load(&family_has_shrunk),
                 HEAP_SIZE, at, size_bytes);
    LOAM_REQUIRE((at & (align - 1)) == 0, HEAP_SIZE, at, align);
}

__attribute__((noinline)) void preload_free_sized_slow(void *block, size_t align, size_t size_bytes)
{
    if (block != NULL && family_is_heaps(block))
        family_require_size(block, align, size_bytes);
    preload_free(block);
}

/* ---- resize ---------------------------------------------------------------------- */

size_t preload_usable(const void *block)
{
    if (block == NULL)
        return 0;
    const size_t reserved = family_is_heaps(block) ? 0 : preload_reserve_usable(block);
    if (reserved != 0)
        return reserved;
    family_require_block(block);
    return loam_heap_usable(&preload_heap, block);
}

/* To another place. */
static void *family_move(void *block, size_t usable, size_t size_bytes)
{
    const int error = errno;
    void *const moved = preload_alloc(size_bytes);

    if (moved == NULL && size_bytes <= usable) {
        atomic_store(&family_has_shrunk, true);
        errno = error;
        return block;
    }
    if (moved == NULL)
        return NULL;
    __builtin_memcpy(moved, block, usable < size_bytes ? usable : size_bytes);
    preload_free(block);
    return moved;
}

__attribute__((noinline)) void *preload_realloc_slow(void *block, size_t usable, size_t size_bytes)
{
    struct preload_visit visit;

    if (size_bytes > PTRDIFF_MAX)
        return family_told(NULL);
    if (usable != 0)
        return family_move(block, usable, size_bytes);
    usable = preload_usable(block);
    if (HEAP_IS_HARDENED && family_is_heaps(block) && preload_visit_begin(&visit)) {
        const bool is_done = loam_hard_resize(&preload_heap, block, size_bytes);
        preload_visit_end(&visit);
        return is_done ? block : family_move(block, usable, size_bytes);
    }
    if (HEAP_IS_HARDENED)
        return family_move(block, usable, size_bytes);
    struct loam_heap_large *const large = loam_heap_large_find(&preload_heap, block);
    if (large != NULL && size_bytes > LOAM_HEAP_SMALL_MAX && preload_visit_begin(&visit)) {
        const bool is_done = loam_heap_large_resize(&preload_heap, large, size_bytes);
        preload_visit_end(&visit);
        if (is_done)
            return block;
    }
    return family_move(block, usable, size_bytes);
}
