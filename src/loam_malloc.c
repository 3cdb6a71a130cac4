/*
 * loam_malloc.c - the kernel's malloc family: see loam.h.
 *
 * With a heap of kind LOAM_ALLOCATOR_HEAP and no debug layer small blocks come from the
 * running CPU's lists, as long as heap_books.cpu names them. All else goes the slow way:
 * large blocks; other kinds of heap, under their lock; requests that found no memory; and
 * what was left to do by the heap, where it could not.
 */
#include <loam/loam.h>

#include <stdatomic.h>

#include "internal/books.h"
#include "internal/heap_fast.h"
#include "internal/heap_large.h"

/* Who asked, for the debug layer: these are never inlined. */
#define LOAM_SITE     loam_virt_of(__builtin_return_address(0))
#define LOAM_NOINLINE __attribute__((noinline))

/* The lists of the running CPU, if that is all there is to do. It is pinned, or this is a
 * guess. */
static inline struct loam_heap_cpu *malloc_cpu(struct loam *mm)
{
    const unsigned index = loam_port_cpu();

    if (HEAP_UNLIKELY(index >= LOAM_CPUS_MAX))
        return NULL;
    return atomic_load(&mm->heap_books.cpu[index]);
}

/* What is wanted, and by whom. */
struct malloc_request {
    void *block; /* to be resized; NULL: a new one */
    size_t size_bytes;
    size_t align;
    loam_virt site;
    bool is_zeroed;
    bool is_resize;
    bool is_aligned; /* align is wanted, not just what malloc gives */
};

static bool malloc_is_direct(const struct loam *mm)
{
    return mm->heap.options.allocator.kind == LOAM_ALLOCATOR_HEAP && !mm->heap.options.debug;
}

static void *malloc_direct(struct loam *mm, const struct malloc_request *request)
{
    struct loam_heap *const heap = &mm->cpu_heap;

    if (request->is_resize)
        return loam_heap_realloc(heap, request->block, request->size_bytes);
    if (request->is_zeroed)
        return loam_heap_calloc(heap, 1, request->size_bytes);
    return request->is_aligned ? loam_heap_alloc_aligned(heap, request->align, request->size_bytes)
                               : loam_heap_alloc(heap, request->size_bytes);
}

static void *malloc_locked(struct loam *mm, const struct malloc_request *request)
{
    const struct loam_resize resize = { LOAM_SIZE_UNKNOWN, request->size_bytes, request->align };

    if (request->is_resize)
        return loam_locked_realloc_at(&mm->heap, request->block, &resize, request->site);
    if (request->is_zeroed)
        return loam_locked_calloc_at(&mm->heap, 1, request->size_bytes, request->align,
                                     request->site);
    return loam_locked_alloc_at(&mm->heap, request->size_bytes, request->align, request->site);
}

/* A small block for which there is no slab, since memory is in pieces: whole pages. */
static void *malloc_in_pieces(struct loam *mm, const struct malloc_request *request)
{
    bool is_zeroed = false;

    if (request->is_resize || request->size_bytes <= LOAM_PAGE_SIZE / 2 ||
        request->size_bytes > LOAM_HEAP_SMALL_MAX)
        return NULL;
    void *const block = loam_heap_large_alloc(&mm->cpu_heap, request->size_bytes, request->align,
                                              request->is_zeroed ? &is_zeroed : NULL);
    if (block != NULL && request->is_zeroed && !is_zeroed)
        __builtin_memset(block, 0, request->size_bytes);
    return block;
}

/* As often as somebody can give memory for it. */
static void *malloc_slowly(struct loam *mm, const struct malloc_request *request)
{
    struct books_heap_try tried = { false, { false, 0 } };
    const bool grows = mm->heap.options.allocator.kind == LOAM_ALLOCATOR_HEAP;
    const uint64_t page_count =
        heap_pages_of(request->size_bytes > request->align ? request->size_bytes : request->align);
    void *block;

    if (!loam_once_is_ready(&mm->once))
        return NULL;
    do { /* ends: a bounded number of attempts */
        if (grows && malloc_cpu(mm) == NULL)
            loam_books_heap_settle(mm);
        block = malloc_is_direct(mm) ? malloc_direct(mm, request) : malloc_locked(mm, request);
        if (block == NULL && tried.is_trimmed && malloc_is_direct(mm))
            block = malloc_in_pieces(mm, request);
    } while (block == NULL && grows && loam_is_power_of_two(request->align) &&
             loam_books_heap_relieve(mm, page_count, &tried));
    return block;
}

/* ---- usually ------------------------------------------------------------------ */

/* A block that this CPU has at hand. NULL: it has none */
static inline void *malloc_pop(struct loam *mm, size_t size_bytes)
{
    const uint64_t pinned = loam_guard_pin();
    struct loam_heap_cpu *const cpu = malloc_cpu(mm);
    void *block = NULL;

    if (!HEAP_IS_HARDENED && HEAP_LIKELY(cpu != NULL && heap_fast_enter(cpu))) {
        block = loam_magazine_pop(&cpu->magazine[heap_class_table[(size_bytes + 7) / 8]]);
        loam_guard_leave(&cpu->guard);
    }
    loam_guard_unpin(pinned);
    return block;
}

/* Let this CPU have a block at hand. @return false: that needs more, or it is no block */
static inline bool malloc_push(struct loam *mm, void *block)
{
    const uint64_t pinned = loam_guard_pin();
    struct loam_heap_cpu *const cpu = malloc_cpu(mm);
    bool is_done = false;

    if (!HEAP_IS_HARDENED && HEAP_LIKELY(cpu != NULL)) {
        size_t class_16;
        if (HEAP_LIKELY(heap_fast_find(&mm->cpu_heap, block, &class_16) && heap_fast_enter(cpu))) {
            is_done = loam_magazine_push(heap_fast_magazine(cpu, class_16), block);
            loam_guard_leave(&cpu->guard);
        }
    }
    loam_guard_unpin(pinned);
    return is_done;
}

/* ---- the family ----------------------------------------------------------------- */

/* Apart, so that the usual way needs no room on the stack. */
LOAM_NOINLINE static void *malloc_other(struct loam *mm, size_t size_bytes, loam_virt site)
{
    const struct malloc_request request = { .size_bytes = size_bytes,
                                            .align = LOAM_MALLOC_ALIGN,
                                            .site = site };
    void *block;

    if (malloc_cpu(mm) != NULL && (block = loam_heap_alloc(&mm->cpu_heap, size_bytes)) != NULL)
        return block;
    return malloc_slowly(mm, &request);
}

LOAM_NOINLINE void *loam_malloc(struct loam *mm, size_t size_bytes)
{
    if (HEAP_LIKELY(size_bytes <= LOAM_HEAP_TABLE_MAX)) {
        void *const block = malloc_pop(mm, size_bytes);
        if (HEAP_LIKELY(block != NULL))
            return block;
    }
    return malloc_other(mm, size_bytes, LOAM_SITE);
}

LOAM_NOINLINE void *loam_calloc(struct loam *mm, size_t count, size_t size_bytes)
{
    struct malloc_request request = { .align = LOAM_MALLOC_ALIGN,
                                      .site = LOAM_SITE,
                                      .is_zeroed = true };
    void *block;

    if (malloc_cpu(mm) != NULL &&
        HEAP_LIKELY((block = loam_heap_calloc(&mm->cpu_heap, count, size_bytes)) != NULL))
        return block;
    if (__builtin_mul_overflow(count, size_bytes, &request.size_bytes))
        request.size_bytes = SIZE_MAX; /* counted as a request that failed */
    return malloc_slowly(mm, &request);
}

LOAM_NOINLINE void *loam_realloc(struct loam *mm, void *block, size_t size_bytes)
{
    const struct malloc_request request = {
        .block = block,
        .size_bytes = size_bytes,
        .align = LOAM_MALLOC_ALIGN,
        .site = LOAM_SITE,
        .is_resize = true,
    };
    void *moved;

    if (malloc_cpu(mm) != NULL &&
        HEAP_LIKELY((moved = loam_heap_realloc(&mm->cpu_heap, block, size_bytes)) != NULL))
        return moved;
    return malloc_slowly(mm, &request);
}

LOAM_NOINLINE void *loam_aligned_alloc(struct loam *mm, size_t align, size_t size_bytes)
{
    /* A power of two, if align is one; what is none stays none. */
    const size_t enough = align != 0 && align < LOAM_MALLOC_ALIGN && (align & (align - 1)) == 0
                              ? LOAM_MALLOC_ALIGN
                              : align;
    const struct malloc_request request = {
        .size_bytes = size_bytes, .align = enough, .site = LOAM_SITE, .is_aligned = true
    };
    return malloc_slowly(mm, &request);
}

LOAM_NOINLINE static void free_other(struct loam *mm, void *block, loam_virt site)
{
    if (malloc_is_direct(mm))
        loam_heap_free(&mm->cpu_heap, block);
    else
        loam_locked_free_at(&mm->heap, block, site);
}

LOAM_NOINLINE void loam_free(struct loam *mm, void *block)
{
    if (HEAP_LIKELY(malloc_push(mm, block)))
        return;
    free_other(mm, block, LOAM_SITE);
}

LOAM_NOINLINE void loam_free_sized(struct loam *mm, void *block, size_t size_bytes)
{
    if (malloc_is_direct(mm))
        loam_heap_free_sized(&mm->cpu_heap, block, size_bytes);
    else
        loam_locked_free_sized_at(&mm->heap, block, size_bytes, LOAM_SITE);
}

size_t loam_malloc_usable(struct loam *mm, const void *block)
{
    if (block == NULL)
        return 0;
    return malloc_is_direct(mm) ? loam_heap_usable(&mm->cpu_heap, block)
                                : loam_locked_usable(&mm->heap, block);
}
