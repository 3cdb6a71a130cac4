/*
 * demo_heap.c - a heap at an address of its own: frames taken one by one, mapped
 * one by one, a heap of the kernel's kind on top, or an arena if that lies in no span.
 */
#include "demos.h"
#include "log.h"
#include "memory.h"
#include "private_heap.h"
#include "probe.h"

#define HEAP_START UINT64_C(0x8000000)
#define HEAP_PAGES 1000u
#define ITEM_COUNT 5u
#define ALIGN      16u

struct pair {
    uint64_t left, right;
};

static struct loam_virt_range page_at(unsigned index)
{
    return loam_virt_range_of(loam_virt_at(HEAP_START + index * LOAM_PAGE_SIZE), LOAM_PAGE_SIZE);
}

/* @return pages mapped; fewer than wanted where memory is short */
static unsigned map_pages(unsigned wanted)
{
    const struct loam_attr attr = { LOAM_PROT_WRITE, LOAM_CACHE_WB };
    const struct loam_frame_request one = { .page_count = 1 };
    for (unsigned i = 0; i < wanted; i++) {
        struct loam_phys_range frame;
        if (loam_take(&memory, &one, LOAM_OWNER_KERNEL, &frame) != LOAM_OK)
            return i;
        if (loam_map(&memory, page_at(i), frame.start, attr) != LOAM_OK) {
            (void)!loam_give(&memory, frame, LOAM_OWNER_KERNEL);
            return i;
        }
    }
    return wanted;
}

/* The page tables know the frames: nobody else need remember them. */
static bool unmap_pages(unsigned count)
{
    bool all = true;
    for (unsigned i = 0; i < count; i++) {
        struct loam_translation at;
        all = loam_space_query(&memory.space, page_at(i).start, &at) == LOAM_OK &&
              loam_unmap(&memory, page_at(i)) == LOAM_OK &&
              loam_give(&memory, loam_phys_range_of(at.phys, LOAM_PAGE_SIZE), LOAM_OWNER_KERNEL) ==
                  LOAM_OK &&
              all;
    }
    return all;
}

/* A struct and two arrays in the heap; all freed, it is one block again. */
static bool use(struct loam_locked *heap)
{
    struct pair *pair = loam_locked_alloc(heap, sizeof *pair, ALIGN);
    uint32_t *numbers = loam_locked_alloc(heap, ITEM_COUNT * sizeof *numbers, ALIGN);
    char *text = loam_locked_alloc(heap, ITEM_COUNT, ALIGN);
    if (pair == NULL || numbers == NULL || text == NULL)
        return false;

    *pair = (struct pair){ 3, 4 };
    for (uint32_t i = 0; i < ITEM_COUNT; i++)
        numbers[i] = 10 * i;
    for (uint32_t i = 0; i < ITEM_COUNT; i++)
        text[i] = (char)('a' + i);
    log_info("struct at %p holds left %lu, right %lu", (void *)pair, pair->left, pair->right);
    log_info("array at %p holds %u %u %u %u %u", (void *)numbers, numbers[0], numbers[1],
             numbers[2], numbers[3], numbers[4]);
    log_info("array at %p holds %c %c %c %c %c", (void *)text, text[0], text[1], text[2], text[3],
             text[4]);

    loam_locked_free_sized(heap, numbers, ITEM_COUNT * sizeof *numbers);
    loam_locked_free_sized(heap, pair, sizeof *pair);
    loam_locked_free_sized(heap, text, ITEM_COUNT);
    return private_heap_is_free(heap);
}

bool demo_mapped_heap(struct loam_locked *heap)
{
    const enum loam_allocator_kind kind =
        memory_heap_grows() ? LOAM_ALLOCATOR_ARENA : heap->options.allocator.kind;
    uint64_t word;
    const unsigned mapped = map_pages(HEAP_PAGES);
    bool went_well = false;
    if (mapped < HEAP_PAGES) {
        log_warn("memory for %u of %u pages only: no heap there", mapped, HEAP_PAGES);
        went_well = true; /* being refused is no failure; giving back must work */
    } else if ((heap = private_heap_make(kind, (void *)(uintptr_t)HEAP_START,
                                         HEAP_PAGES * LOAM_PAGE_SIZE)) != NULL) {
        log_info("heap 0x%lx..0x%lx, %u pages, %s", HEAP_START,
                 HEAP_START + HEAP_PAGES * LOAM_PAGE_SIZE, HEAP_PAGES, loam_allocator_name(kind));
        went_well = use(heap);
    }
    went_well = unmap_pages(mapped) && went_well;
    const bool is_gone = !probe_read(HEAP_START, &word);
    log_info("%u pages unmapped and given back: an access %s", mapped,
             is_gone ? "faults" : "SUCCEEDS");
    return is_gone && went_well;
}
