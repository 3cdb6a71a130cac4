/*
 * books_heap.c - where a kernel's heap has its pages from: see internal/heap_pages.h.
 *
 * Frames at their place in the direct map, counted for LOAM_OWNER_HEAP; what a block of
 * frames has too much goes back at once. Large blocks that memory is too fragmented for are
 * pieced together at addresses of vmap's: these are far. They are found by a hash of their
 * first address.
 *
 * The heap calls from inside its guard, perhaps with interrupts off, and through the debug
 * layer under its lock. So nothing here calls a hook, but for far blocks, which are taken
 * only where interrupts are on, and so under no lock. What is to be done, to tell the
 * kernel that memory is scarce, to unmap far blocks, is left to the next call of
 * loam_malloc(): that goes straight to a CPU's lists only if heap_books.cpu names them.
 */
#include <loam/loam.h>
#include <loam/x86.h>

#include <stdatomic.h>

#include "internal/books.h"
#include "internal/check.h"
#include "internal/heap_large.h"
#include "internal/heap_pages.h"
#include "internal/inject.h"

#define HEAP_BOOKS_OWNER LOAM_OWNER_HEAP
#define HEAP_BOOKS_NAME  "heap"
#define HEAP_BOOKS_IF    UINT64_C(0x200) /* RFLAGS: interrupts are on */

/* ---- frames ------------------------------------------------------------------ */

/* Something is to be done by the next loam_malloc(), on whichever CPU. */
static void heap_books_want(struct loam *mm)
{
    for (unsigned i = 0; i < mm->cpu_heap.cpu_count; i++)
        atomic_store(&mm->heap_books.cpu[i], NULL);
}

static void heap_books_charge(struct loam *mm, uint64_t page_count)
{
    if (loam_books_count(mm, HEAP_BOOKS_OWNER, page_count)) {
        atomic_store(&mm->heap_books.is_due, 1);
        heap_books_want(mm);
    }
}

/* A block of 2^order frames, the smallest that is enough; without its tail. */
static loam_phys heap_books_block(struct loam *mm, unsigned order, uint64_t page_count)
{
    const loam_phys block = loam_frame_alloc(&mm->frame, order, LOAM_ZONE_ANY);
    const uint64_t rest = (UINT64_C(1) << order) - page_count;

    if (!loam_phys_is_none(block) && rest != 0)
        loam_frame_release(
            &mm->frame, loam_phys_range_of(loam_phys_at(block.addr + page_count * LOAM_PAGE_SIZE),
                                           rest * LOAM_PAGE_SIZE));
    return block;
}

/* Where the direct map itself is not aligned like this: out of more than is needed. */
static loam_phys heap_books_shifted(struct loam *mm, const struct heap_pages_request *request)
{
    const uint64_t size = request->page_count * LOAM_PAGE_SIZE;
    const uint64_t slack = request->align_bytes - LOAM_PAGE_SIZE;
    const struct loam_frame_request range = { .page_count =
                                                  request->page_count + slack / LOAM_PAGE_SIZE };
    loam_phys found;

    if (loam_frame_alloc_range(&mm->frame, &range, &found) != LOAM_OK)
        return loam_phys_none();
    const uint64_t start = loam_hhdm_virt(mm->tables.hhdm, found).addr;
    const uint64_t head = -start & (request->align_bytes - 1);
    const loam_phys at = loam_phys_at(found.addr + head);
    if (head != 0)
        loam_frame_release(&mm->frame, loam_phys_range_of(found, head));
    if (head != slack)
        loam_frame_release(&mm->frame,
                           loam_phys_range_of(loam_phys_at(at.addr + size), slack - head));
    return at;
}

static loam_phys heap_books_find(struct loam *mm, const struct heap_pages_request *request)
{
    if ((mm->tables.hhdm.offset & (request->align_bytes - 1)) != 0)
        return heap_books_shifted(mm, request);
    const uint64_t align_pages = request->align_bytes / LOAM_PAGE_SIZE;
    const uint64_t least = request->page_count < align_pages ? align_pages : request->page_count;
    const struct loam_frame_request range = { .page_count = request->page_count,
                                              .align_bytes = request->align_bytes };
    const unsigned order = least == 1 ? 0 : 64u - (unsigned)__builtin_clzll(least - 1);
    loam_phys found = loam_phys_none();

    if (order <= LOAM_ORDER_2M)
        found = heap_books_block(mm, order, request->page_count);
    if (!loam_phys_is_none(found) || (order <= LOAM_ORDER_2M && request->page_count == 1))
        return found;
    return loam_frame_alloc_range(&mm->frame, &range, &found) == LOAM_OK ? found : loam_phys_none();
}

void *loam_heap_pages_take(struct loam_pagemap *map, const struct heap_pages_request *request,
                           bool *is_zeroed)
{
    struct loam *const mm = map->owner;
    const struct loam_hhdm hhdm = mm->tables.hhdm;

    *is_zeroed = false;
    if (LOAM_INJECT("heap.pages") || request->page_count > loam_pagemap_pages(map) ||
        request->align_bytes / LOAM_PAGE_SIZE > loam_pagemap_pages(map))
        return NULL;
    loam_phys found = heap_books_find(mm, request);
    if (loam_phys_is_none(found) && loam_zero_drain(&mm->zeroed) != 0)
        found = heap_books_find(mm, request);
    if (loam_phys_is_none(found))
        return NULL;
    heap_books_charge(mm, request->page_count);
    return loam_hhdm_pointer(hhdm, found);
}

void loam_heap_pages_give(struct loam_pagemap *map, void *start, uint64_t page_count)
{
    struct loam *const mm = map->owner;
    const loam_phys at = loam_hhdm_phys(mm->tables.hhdm, loam_virt_of(start));

    loam_books_return(mm, loam_phys_range_of(at, page_count * LOAM_PAGE_SIZE), HEAP_BOOKS_OWNER);
}

bool loam_heap_pages_extend(struct loam_pagemap *map, void *start, uint64_t page_count)
{
    struct loam *const mm = map->owner;
    const loam_phys at = loam_hhdm_phys(mm->tables.hhdm, loam_virt_of(start));

    if (LOAM_INJECT("heap.extend") || page_count > loam_pagemap_pages(map) ||
        loam_frame_reserve(&mm->frame, loam_phys_range_of(at, page_count * LOAM_PAGE_SIZE)) !=
            LOAM_OK)
        return false;
    heap_books_charge(mm, page_count);
    return true;
}

/* ---- far --------------------------------------------------------------------- */

static bool heap_books_is_interruptible(void)
{
    const uint64_t flags = loam_x86_irq_save();

    loam_x86_irq_restore(flags);
    return (flags & HEAP_BOOKS_IF) != 0;
}

static struct loam_heap_large **heap_far_list(struct loam_heap_books *books, uint64_t start)
{
    const uint64_t hash = (start >> LOAM_PAGE_SHIFT) * UINT64_C(0x9e3779b97f4a7c15);

    return &books->far[hash >> (64 - LOAM_HEAP_FAR_SHIFT)];
}

/* From one owner to another. */
static void heap_far_charge(struct loam *mm, enum loam_owner from, enum loam_owner to,
                            const struct loam_heap_large *large)
{
    (void)loam_ledger_add(&mm->ledger, to, large->page_count);
    const bool is_covered = loam_ledger_sub(&mm->ledger, from, large->page_count);
    LOAM_ASSERT(is_covered);
}

bool loam_heap_far_take(struct loam_pagemap *map, struct loam_heap_large *large,
                        uint64_t align_bytes, bool is_zeroed)
{
    struct loam *const mm = map->owner;
    const struct loam_vmap_request request = {
        .size_bytes = large->page_count * LOAM_PAGE_SIZE,
        .attr = { LOAM_PROT_READ | LOAM_PROT_WRITE, LOAM_CACHE_WB },
        .align_bytes = align_bytes,
        .is_zeroed = is_zeroed,
        .name = HEAP_BOOKS_NAME,
    };
    loam_virt at;

    if (LOAM_INJECT("heap.far") || !loam_once_is_ready(&mm->once) || !heap_books_is_interruptible())
        return false;
    if (loam_owner_bytes(mm, LOAM_OWNER_USABLE) < request.size_bytes)
        (void)loam_heap_trim(&mm->cpu_heap); /* before the kernel is asked for memory */
    if (loam_vmap_alloc(mm, &request, &at) != LOAM_OK)
        return false;
    large->start = at.addr;
    large->is_far = true;
    heap_far_charge(mm, LOAM_OWNER_KERNEL, HEAP_BOOKS_OWNER, large);
    struct loam_heap_large **const list = heap_far_list(&mm->heap_books, at.addr);
    const loam_irq_state irq = loam_spinlock_acquire_irq(&mm->heap_books.lock);
    large->far_next = *list;
    *list = large;
    loam_spinlock_release_irq(&mm->heap_books.lock, irq);
    return true;
}

struct loam_heap_large *loam_heap_far_find(const struct loam_pagemap *map, uint64_t address)
{
    struct loam *const mm = map->owner;
    const struct loam_virt_range window = mm->vmap.window;

    if (address - window.start.addr >= window.size)
        return NULL;
    const loam_irq_state irq = loam_spinlock_acquire_irq(&mm->heap_books.lock);
    struct loam_heap_large *at = *heap_far_list(&mm->heap_books, address);
    while (at != NULL && at->start != address) /* ends: of a list */
        at = at->far_next;
    loam_spinlock_release_irq(&mm->heap_books.lock, irq);
    return at;
}

bool loam_heap_far_leave(struct loam_pagemap *map, struct loam_heap_large *large)
{
    struct loam *const mm = map->owner;
    const loam_irq_state irq = loam_spinlock_acquire_irq(&mm->heap_books.lock);
    struct loam_heap_large **at = heap_far_list(&mm->heap_books, large->start);

    while (*at != NULL && *at != large) /* ends: of a list */
        at = &(*at)->far_next;
    const bool is_found = *at == large;
    if (is_found)
        *at = large->far_next;
    loam_spinlock_release_irq(&mm->heap_books.lock, irq);
    return is_found;
}

void loam_heap_far_give(struct loam_pagemap *map, struct loam_heap_large *large)
{
    struct loam *const mm = map->owner;

    heap_far_charge(mm, HEAP_BOOKS_OWNER, LOAM_OWNER_KERNEL, large);
    const loam_irq_state irq = loam_spinlock_acquire_irq(&mm->heap_books.lock);
    large->far_next = mm->heap_books.waiting;
    mm->heap_books.waiting = large;
    loam_spinlock_release_irq(&mm->heap_books.lock, irq);
    heap_books_want(mm);
}

/* ---- what was left to do ------------------------------------------------------- */

/* Unmap far blocks that were freed. */
static void heap_far_unmap(struct loam *mm)
{
    loam_irq_state irq = loam_spinlock_acquire_irq(&mm->heap_books.lock);
    struct loam_heap_large *chain = mm->heap_books.waiting;

    mm->heap_books.waiting = NULL;
    loam_spinlock_release_irq(&mm->heap_books.lock, irq);
    while (chain != NULL) { /* ends: of a list */
        struct loam_heap_large *const large = chain;
        const loam_virt at = loam_virt_at(large->start);
        chain = large->far_next;
        loam_heap_large_forget(&mm->cpu_heap, large);
        loam_vmap_free(mm, at);
    }
}

static bool heap_far_is_waiting(struct loam *mm)
{
    const loam_irq_state irq = loam_spinlock_acquire_irq(&mm->heap_books.lock);
    const bool is_waiting = mm->heap_books.waiting != NULL;

    loam_spinlock_release_irq(&mm->heap_books.lock, irq);
    return is_waiting;
}

void loam_books_heap_settle(struct loam *mm)
{
    const unsigned index = loam_port_cpu();

    /* First: what comes up from here on makes the next call come here again. */
    if (index < mm->cpu_heap.cpu_count && !mm->heap.options.debug)
        atomic_store(&mm->heap_books.cpu[index], atomic_load(&mm->cpu_heap.cpu[index]));
    if (atomic_exchange(&mm->heap_books.is_due, 0) != 0)
        loam_books_notice(mm, LOAM_ZONE_ANY, 1);
    if (!heap_far_is_waiting(mm))
        return;
    if (heap_books_is_interruptible())
        heap_far_unmap(mm);
    else
        heap_books_want(mm);
}

bool loam_books_heap_relieve(struct loam *mm, uint64_t page_count, struct books_heap_try *tried)
{
    if (page_count == 0 || page_count > loam_pagemap_pages(&mm->cpu_heap.map))
        return false;
    if (!tried->is_trimmed) {
        tried->is_trimmed = true;
        (void)loam_heap_trim(&mm->cpu_heap);
        return true;
    }
    return loam_books_relieve(mm, LOAM_ZONE_ANY, page_count, &tried->books);
}
