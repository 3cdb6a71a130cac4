/*
 * demo_heaps.c - the demos of values, over each kind of heap in turn.
 */
#include "demos.h"
#include "log.h"
#include "memory.h"
#include "private_heap.h"

#define SPAN_PAGES 64u

static bool run_over(enum loam_allocator_kind kind, void *span)
{
    struct loam_locked *heap = private_heap_make(kind, span, SPAN_PAGES * LOAM_PAGE_SIZE);
    log_info("%s over %p, %lu bytes", loam_allocator_name(kind), span, SPAN_PAGES * LOAM_PAGE_SIZE);
    if (heap == NULL || !demo_box(heap) || !demo_vec(heap) || !demo_strings(heap) ||
        !demo_string(heap))
        return false;
    const bool is_free = private_heap_is_free(heap);
    log_info("%s: %lu blocks came and went, %s", loam_allocator_name(kind), heap->free_count,
             is_free ? "all is free again" : "SOMETHING IS LEFT");
    return is_free;
}

bool demo_heaps(struct loam_locked *heap)
{
    const struct loam_frame_request request = { .page_count = SPAN_PAGES };
    struct loam_phys_range frames;
    bool went_well = true;
    (void)heap;
    if (loam_take(&memory, &request, LOAM_OWNER_KERNEL, &frames) != LOAM_OK) {
        log_warn("no %u frames in one piece: no heap there", SPAN_PAGES);
        return true;
    }
    void *span = loam_hhdm_pointer(memory.tables.hhdm, frames.start);
    for (unsigned kind = LOAM_ALLOCATOR_BUMP; kind <= LOAM_ALLOCATOR_ARENA; kind++)
        went_well = run_over((enum loam_allocator_kind)kind, span) && went_well;
    return loam_give(&memory, frames, LOAM_OWNER_KERNEL) == LOAM_OK && went_well;
}
