/*
 * loam.c - bring-up order of the layers, and the malloc family on top.
 *
 * bring_up() is the table of contents: read it first. It writes to the storage it
 * was given and to usable memory, to nothing else, so that a failure leaves the
 * machine as it was.
 */
#include <loam/loam.h>

#include <loam/x86.h>
#include <stdatomic.h>

#include "internal/check.h"
#include "internal/refuse.h"
#include "internal/try.h"

/* A heap smaller than this is of no use to anybody. */
#define HEAP_BYTES_MIN (UINT64_C(64) << 10)
/* Slabs are aligned to their size. */

/* ---- bring-up ------------------------------------------------------------ */

/* Normalise what is in storage.raw. */
static enum loam_status normalise(struct loam *mm, const struct loam_boot *boot, size_t raw_count,
                                  const struct loam_repair_visitor *visitor,
                                  struct loam_refusal *refusal)
{
    const struct loam_memmap_request request = {
        .raw = boot->storage.raw,
        .raw_count = raw_count,
        .storage = boot->storage.map,
        .storage_count = boot->storage.map_max,
        .phys_bits = mm->features.phys_bits,
        .window_bytes = boot->hhdm_bytes,
        .visitor = visitor,
    };
    LOAM_TRY(loam_memmap_init(&mm->memmap, &request, refusal));
    if (mm->memmap.total_bytes[LOAM_MEM_USABLE] == 0)
        return loam_refuse(refusal, LOAM_NO_MEMORY, "loam: no usable memory", 0, HEAP_BYTES_MIN);
    return LOAM_OK;
}

/* The direct map was promised for these types: does it reach them? Does the
 * stack we run on lie in memory that is about to be handed out? */
static enum loam_status check_promises(const struct loam *mm, const struct loam_boot *boot,
                                       uint64_t window_bytes, struct loam_refusal *refusal)
{
    for (size_t i = 0; i < mm->memmap.entry_count; i++) {
        const struct loam_memmap_entry *entry = &mm->memmap.entry[i];
        const uint64_t last = entry->range.start.addr + (entry->range.size - 1);
        if ((boot->hhdm_types & LOAM_MEM_BIT(entry->type)) != 0 && last >= window_bytes)
            return loam_refuse(refusal, LOAM_INVALID,
                               "hhdm: memory it should show ends above its window", last + 1,
                               window_bytes);
    }
    const loam_phys stack = loam_hhdm_phys(boot->hhdm, boot->stack);
    const size_t at = loam_memmap_find(&mm->memmap, stack);
    if (boot->stack.addr != 0 && stack.addr < window_bytes && at < mm->memmap.entry_count &&
        mm->memmap.entry[at].type == LOAM_MEM_USABLE &&
        loam_phys_range_contains(mm->memmap.entry[at].range, stack))
        return loam_refuse(refusal, LOAM_INVALID,
                           "loam: the running stack lies in usable memory (physical address)",
                           stack.addr, 0);
    return LOAM_OK;
}

/* The map, the running image added: it may lie in "usable" memory. A map that is
 * not trusted is probed and normalised again. */
static enum loam_status start_memmap(struct loam *mm, const struct loam_boot *boot,
                                     uint64_t window_bytes, struct loam_refusal *refusal)
{
    const struct loam_phys_range image = loam_image_phys(&boot->image);
    size_t raw_count = boot->raw_count;
    if (boot->storage.raw == NULL || raw_count == 0)
        return loam_refuse(refusal, LOAM_INVALID, "loam: no memory map", raw_count, 1);
    if (image.size != 0) {
        if (raw_count >= boot->storage.raw_max)
            return loam_refuse(refusal, LOAM_NO_SPACE,
                               "loam: no room to add the kernel image to the memory map", raw_count,
                               boot->storage.raw_max);
        boot->storage.raw[raw_count].range = image;
        boot->storage.raw[raw_count].type = LOAM_MEM_EXECUTABLE;
        raw_count++;
    }
    LOAM_TRY(normalise(mm, boot, raw_count, boot->probe ? NULL : boot->repairs, refusal));
    LOAM_TRY(check_promises(mm, boot, window_bytes, refusal));
    if (!boot->probe)
        return LOAM_OK;
    LOAM_TRY(loam_boot_probe(boot, &mm->memmap, &raw_count, refusal));
    return normalise(mm, boot, raw_count, boot->repairs, refusal);
}

/* Of this many usable pages one may be zeroed beforehand; within bounds. */
#define ZEROED_SHARE 256u
#define ZEROED_MIN   16u
#define ZEROED_MAX   1024u

/* What is set aside for the layers that start when early is closed. */
struct start_plan {
    struct loam_frame_setup frame;
    struct loam_zero_setup zeroed;
    struct loam_phys_range nodes;
};

/* What the frame allocator manages: the bootloader's memory too, if the direct map
 * shows it, so that large blocks form across the border once it is reclaimed. */
static loam_mem_types ram_types(const struct loam_boot *boot)
{
    return LOAM_MEM_BIT(LOAM_MEM_USABLE) |
           (boot->hhdm_types & LOAM_MEM_BIT(LOAM_MEM_BOOT_RECLAIMABLE));
}

/* A range without frame 0, which nobody ever gets. */
static struct loam_phys_range above_frame_0(struct loam_phys_range range)
{
    const uint64_t cut = range.start.addr < LOAM_PAGE_SIZE ? LOAM_PAGE_SIZE : 0;
    return loam_phys_range_of(loam_phys_at(range.start.addr + cut), range.size - cut);
}

/* Next run of entries of these types that touch. @return false: there is none */
static bool next_ram(const struct loam_memmap *map, loam_mem_types types, size_t *cursor,
                     struct loam_phys_range *out)
{
    struct loam_phys_range run = { { 0 }, 0 };
    for (; *cursor < map->entry_count; (*cursor)++) {
        const struct loam_memmap_entry *entry = &map->entry[*cursor];
        if ((types & LOAM_MEM_BIT(entry->type)) == 0)
            continue;
        const struct loam_phys_range range = above_frame_0(entry->range);
        if (run.size != 0 && range.start.addr != run.start.addr + run.size)
            break;
        if (run.size == 0)
            run.start = range.start;
        run.size += range.size;
    }
    *out = run;
    return run.size != 0;
}

static enum loam_status set_aside(struct loam *mm, uint64_t bytes, const char *rule,
                                  struct loam_phys_range *out, struct loam_refusal *refusal)
{
    const struct loam_early_request request = {
        .page_count = bytes / LOAM_PAGE_SIZE + !loam_is_page_aligned(bytes),
    };
    *out = loam_phys_range_of(loam_early_alloc(&mm->early, &request),
                              request.page_count * LOAM_PAGE_SIZE);
    if (loam_phys_is_none(out->start))
        return loam_refuse(refusal, LOAM_NO_MEMORY, rule,
                           loam_early_largest(&mm->early) * LOAM_PAGE_SIZE, out->size);
    return LOAM_OK;
}

/* The ledger's lines and, behind them, what the CPUs keep of virtual ranges. */
static uint64_t ledger_bytes(const struct loam_boot *boot)
{
    return loam_ledger_bytes_needed(boot->cpu_count) +
           loam_vrange_cache_bytes_needed(boot->cpu_count);
}

/* Room for the ledger and the list of ranges, then, since that list says how much is
 * needed, for the frame allocator. Both before the heap: that can do with less. */
static enum loam_status plan_frames(struct loam *mm, const struct loam_boot *boot,
                                    struct loam_frame_setup *setup, struct loam_refusal *refusal)
{
    const uint64_t lines = ledger_bytes(boot);
    const loam_mem_types types = ram_types(boot);
    struct loam_phys_range run;
    size_t count = 0;
    for (size_t cursor = 0; next_ram(&mm->memmap, types, &cursor, &run);)
        count++;
    LOAM_TRY(set_aside(mm, lines + count * sizeof(run),
                       "loam: too little contiguous memory for the ledger (bytes)",
                       &mm->ledger_memory, refusal));

    struct loam_phys_range *const range =
        loam_hhdm_pointer(boot->hhdm, loam_phys_at(mm->ledger_memory.start.addr + lines));
    size_t cursor = 0;
    for (size_t i = 0; i < count && next_ram(&mm->memmap, types, &cursor, &run); i++)
        range[i] = run;
    __builtin_memset(setup, 0, sizeof(*setup));
    setup->range = range;
    setup->range_count = count;
    setup->cpu_count = boot->cpu_count;
    setup->memory_bytes = loam_frame_bytes_needed(setup);
    if (setup->memory_bytes == 0)
        return loam_refuse(refusal, LOAM_NO_SPACE,
                           "loam: more ranges of memory than the frame allocator can manage", count,
                           0);
    LOAM_TRY(set_aside(mm, setup->memory_bytes,
                       "loam: too little contiguous memory for the frame metadata (bytes)",
                       &mm->frame_memory, refusal));
    setup->memory = loam_hhdm_pointer(boot->hhdm, mm->frame_memory.start);
    setup->is_zeroed = boot->ram_is_zeroed;
    return LOAM_OK;
}

static enum loam_status plan_zeroed(struct loam *mm, const struct loam_boot *boot,
                                    struct loam_zero_setup *setup, struct loam_refusal *refusal)
{
    const uint64_t usable = mm->early.free_pages;
    const uint64_t share = usable / ZEROED_SHARE;
    __builtin_memset(setup, 0, sizeof(*setup));
    setup->frame = &mm->frame;
    setup->hhdm = boot->hhdm;
    setup->cpu_count = boot->cpu_count;
    setup->capacity = share < ZEROED_MIN ? ZEROED_MIN : share > ZEROED_MAX ? ZEROED_MAX : share;
    setup->reserve_count = usable / 16;
    setup->memory_bytes = loam_zero_bytes_needed(setup);
    LOAM_TRY(set_aside(mm, setup->memory_bytes,
                       "loam: too little contiguous memory for zeroed frames (bytes)",
                       &mm->zeroed_memory, refusal));
    setup->memory = loam_hhdm_pointer(boot->hhdm, mm->zeroed_memory.start);
    return LOAM_OK;
}

/* Set memory aside for frames, heap and nodes. The heap gets what it asks for, or the
 * largest block, but never more than half: page tables need frames too. */
static enum loam_allocator_kind heap_kind(const struct loam_boot *boot)
{
    return boot->heap_kind != LOAM_ALLOCATOR_NONE ? boot->heap_kind : LOAM_HEAP_DEFAULT;
}

/* Pages that a heap which grows may come to have: up to where RAM ends, in tables of 2 MiB. */
static uint64_t heap_map_pages(const struct loam *mm, const struct loam_boot *boot)
{
    struct loam_phys_range run;
    uint64_t end = 0;
    for (size_t cursor = 0; next_ram(&mm->memmap, ram_types(boot), &cursor, &run);)
        end = run.start.addr + run.size;
    const uint64_t bytes = LOAM_PAGEMAP_SPREAD * LOAM_PAGE_SIZE;
    return (end / bytes + (end % bytes != 0)) * LOAM_PAGEMAP_SPREAD;
}

static enum loam_status plan_heap(struct loam *mm, const struct loam_boot *boot,
                                  struct loam_refusal *refusal)
{
    if (heap_kind(boot) == LOAM_ALLOCATOR_HEAP)
        return set_aside(mm, loam_pagemap_bytes_needed(heap_map_pages(mm, boot)),
                         "loam: too little contiguous memory for the heap's page map (bytes)",
                         &mm->heap_range, refusal);
    const uint64_t wanted = boot->heap_bytes != 0 ? boot->heap_bytes : LOAM_HEAP_BYTES_DEFAULT;
    uint64_t pages = wanted / LOAM_PAGE_SIZE + !loam_is_page_aligned(wanted);
    const uint64_t largest = loam_early_largest(&mm->early);
    const uint64_t half = mm->early.free_pages / 2;
    pages = pages < largest ? pages : largest;
    pages = pages < half ? pages : half;
    if (pages < HEAP_BYTES_MIN / LOAM_PAGE_SIZE)
        return loam_refuse(refusal, LOAM_NO_MEMORY,
                           "loam: too little contiguous memory for a heap (bytes)",
                           pages * LOAM_PAGE_SIZE, HEAP_BYTES_MIN);
    return set_aside(mm, pages * LOAM_PAGE_SIZE,
                     "loam: too little contiguous memory for a heap (bytes)", &mm->heap_range,
                     refusal);
}

static enum loam_status start_early(struct loam *mm, const struct loam_boot *boot,
                                    struct start_plan *plan, struct loam_refusal *refusal)
{
    const enum loam_status st =
        loam_early_init(&mm->early, &mm->memmap, boot->storage.records, boot->storage.records_max);
    if (st != LOAM_OK)
        return loam_refuse(refusal, st, "early: more usable ranges than records",
                           mm->memmap.entry_count, boot->storage.records_max);
    LOAM_TRY(plan_frames(mm, boot, &plan->frame, refusal));
    LOAM_TRY(plan_zeroed(mm, boot, &plan->zeroed, refusal));

    LOAM_TRY(plan_heap(mm, boot, refusal));
    /* An interval per entry, and three for each range that is taken out of one. */
    return set_aside(mm, (LOAM_SPARE_NODES + mm->memmap.entry_count / 32) * LOAM_PAGE_SIZE,
                     "loam: too little contiguous memory for the usage map (bytes)", &plan->nodes,
                     refusal);
}

/* Would the next instruction, the next push, fault on the new tables? */
static enum loam_status check_landing(struct loam *mm, const struct loam_boot *boot,
                                      struct loam_refusal *refusal)
{
    struct loam_translation at;
    if (boot->code.addr != 0 && (loam_space_query(&mm->space, boot->code, &at) != LOAM_OK ||
                                 (at.attr.prot & LOAM_PROT_EXEC) == 0))
        return loam_refuse(refusal, LOAM_INVALID,
                           "loam: the running code is in no executable image section (address)",
                           boot->code.addr, 0);
    if (boot->stack.addr != 0 && (loam_space_query(&mm->space, boot->stack, &at) != LOAM_OK ||
                                  (at.attr.prot & LOAM_PROT_WRITE) == 0))
        return loam_refuse(refusal, LOAM_INVALID,
                           "loam: the running stack is neither in the image nor the direct map",
                           boot->stack.addr, 0);
    return LOAM_OK;
}

static enum loam_status start_space(struct loam *mm, const struct loam_boot *boot,
                                    struct loam_refusal *refusal)
{
    loam_stock_init(&mm->tables, boot->hhdm, &mm->early);
    const enum loam_status st = loam_space_init(&mm->space, &mm->tables, &mm->features);
    if (st != LOAM_OK)
        return loam_refuse(refusal, st, "loam: no frame for the top-level page table", 0, 1);
    loam_tlb_init(&mm->tlb, &mm->features, boot->cpu_count);
    loam_tlb_connect(&mm->tlb, &mm->space.tlb, mm->space.root, true);
    LOAM_TRY(
        loam_directmap_build(&mm->space, &mm->memmap, boot->hhdm_types, &boot->image, refusal));
    LOAM_TRY(check_landing(mm, boot, refusal));

    for (unsigned i = 0; i < LOAM_SPARE_TABLES; i++) {
        const struct loam_early_request page = { .page_count = 1 };
        const loam_phys frame = loam_early_alloc(&mm->early, &page);
        if (loam_phys_is_none(frame))
            return loam_refuse(refusal, LOAM_NO_MEMORY, "loam: too little memory for page tables",
                               i, LOAM_SPARE_TABLES);
        loam_stock_add(&mm->tables, loam_phys_range_of(frame, LOAM_PAGE_SIZE));
    }
    return LOAM_OK;
}

/* Charge everything: first as the bootloader left it, then what was taken. */
static enum loam_status fill_usage(struct loam *mm, struct loam_phys_range nodes)
{
    for (size_t i = 0; i < mm->memmap.entry_count; i++) {
        const struct loam_memmap_entry *entry = &mm->memmap.entry[i];
        LOAM_TRY(
            loam_usage_insert_merge(&mm->usage, entry->range, loam_owner_of_type(entry->type)));
    }
    struct loam_phys_range taken;
    for (size_t cursor = 0; loam_early_taken(&mm->early, &cursor, &taken);)
        LOAM_TRY(loam_usage_overwrite(&mm->usage, taken, LOAM_OWNER_PAGE_TABLES));
    LOAM_TRY(loam_usage_overwrite(&mm->usage, mm->heap_range, LOAM_OWNER_HEAP));
    LOAM_TRY(loam_usage_overwrite(&mm->usage, mm->ledger_memory, LOAM_OWNER_METADATA));
    LOAM_TRY(loam_usage_overwrite(&mm->usage, mm->frame_memory, LOAM_OWNER_METADATA));
    LOAM_TRY(loam_usage_overwrite(&mm->usage, mm->zeroed_memory, LOAM_OWNER_METADATA));
    return loam_usage_overwrite(&mm->usage, nodes, LOAM_OWNER_METADATA);
}

static enum loam_status start_usage(struct loam *mm, const struct loam_boot *boot,
                                    struct loam_phys_range nodes, struct loam_refusal *refusal)
{
    loam_stock_init(&mm->nodes, boot->hhdm, NULL);
    loam_stock_add(&mm->nodes, nodes);
    loam_usage_init(&mm->usage, &mm->nodes);
    loam_stock_detach(&mm->tables);
    loam_early_finish(&mm->early);
    const enum loam_status st = fill_usage(mm, nodes);
    if (st != LOAM_OK)
        return loam_refuse(refusal, st, "loam: too few frames for the usage map (pages)",
                           nodes.size / LOAM_PAGE_SIZE, 0);
    return LOAM_OK;
}

/* Nobody gets what early handed out, nor, for now, what is the bootloader's. */
static enum loam_status reserve_frames(struct loam *mm, loam_mem_types types)
{
    struct loam_phys_range taken;
    for (size_t cursor = 0; loam_early_taken(&mm->early, &cursor, &taken);)
        LOAM_TRY(loam_frame_reserve(&mm->frame, taken));
    types &= LOAM_MEM_BIT(LOAM_MEM_BOOT_RECLAIMABLE);
    for (size_t cursor = 0; next_ram(&mm->memmap, types, &cursor, &taken);)
        LOAM_TRY(loam_frame_reserve(&mm->frame, taken));
    return LOAM_OK;
}

static enum loam_status start_frames(struct loam *mm, const struct loam_boot *boot,
                                     const struct start_plan *plan, struct loam_refusal *refusal)
{
    const struct loam_frame_setup *const setup = &plan->frame;
    void *const lines = loam_hhdm_pointer(boot->hhdm, mm->ledger_memory.start);
    enum loam_status st = loam_frame_init(&mm->frame, setup); /* the ranges lie behind the lines */
    if (st == LOAM_OK)
        st = loam_ledger_init(&mm->ledger, boot->cpu_count, lines, (size_t)mm->ledger_memory.size);
    if (st == LOAM_OK)
        st = reserve_frames(mm, ram_types(boot));
    if (st == LOAM_OK)
        st = loam_zero_init(&mm->zeroed, &plan->zeroed);
    if (st != LOAM_OK)
        return loam_refuse(refusal, st, "loam: the frame allocator cannot start (ranges)",
                           setup->range_count, 0);
    return LOAM_OK;
}

/* ---- virtual addresses --------------------------------------------------- */

#define VMAP_PURGE_MIN 16u  /* pages that may wait to be purged, */
#define VMAP_PURGE_OF  128u /* or one in so many of those that are usable */

/* What the direct map shows now. */
static struct loam_virt_range shown_now(const struct loam *mm, const struct loam_boot *boot)
{
    uint64_t end = LOAM_PAGE_SIZE;
    for (size_t i = 0; i < mm->memmap.entry_count; i++) {
        const struct loam_memmap_entry *entry = &mm->memmap.entry[i];
        if ((boot->hhdm_types & LOAM_MEM_BIT(entry->type)) != 0)
            end = entry->range.start.addr + entry->range.size;
    }
    return loam_virt_range_of(loam_virt_at(boot->hhdm.offset), end);
}

static enum loam_status start_vmap(struct loam *mm, const struct loam_boot *boot,
                                   struct loam_refusal *refusal)
{
    const loam_virt image =
        boot->image.section_count != 0 ? boot->image.virt_base : loam_virt_at(0);
    const struct loam_virt_range window =
        loam_vmap_choose(mm->features.levels, shown_now(mm, boot), image);
    const uint64_t room = window.start.addr - boot->hhdm.offset;
    const uint64_t usable = mm->usage.total_bytes[LOAM_OWNER_USABLE] / LOAM_PAGE_SIZE;
    const uint64_t share = usable / VMAP_PURGE_OF;
    const uint64_t purge_pages = share < VMAP_PURGE_MIN            ? VMAP_PURGE_MIN
                                 : share > LOAM_VRANGE_PURGE_PAGES ? LOAM_VRANGE_PURGE_PAGES
                                                                   : share;
    const uint64_t lines = loam_ledger_bytes_needed(boot->cpu_count);
    const loam_phys caches = loam_phys_at(mm->ledger_memory.start.addr + lines);
    enum loam_status st = loam_vmap_init(mm, window, purge_pages);
    if (st == LOAM_OK)
        st = loam_vrange_use_caches(&mm->vmap.ranges, boot->cpu_count,
                                    loam_hhdm_pointer(boot->hhdm, caches),
                                    loam_vrange_cache_bytes_needed(boot->cpu_count));
    if (st != LOAM_OK)
        return loam_refuse(refusal, st, "loam: no virtual addresses beside direct map and image",
                           window.size, 0);
    if (boot->hhdm.offset < window.start.addr && room < mm->window_bytes)
        mm->window_bytes = room;
    return LOAM_OK;
}

/* ---- heap ------------------------------------------------------------------ */

/* A kind of heap that can stand behind free(), which knows no sizes? */
static enum loam_status check_heap(const struct loam_boot *boot, struct loam_refusal *refusal)
{
    if ((unsigned)boot->heap_kind > LOAM_ALLOCATOR_HEAP)
        return loam_refuse(refusal, LOAM_INVALID, "loam: heap_kind is no kind of heap",
                           (unsigned)boot->heap_kind, 0);
    if (boot->heap_kind == LOAM_ALLOCATOR_FREELIST_SIZED)
        return loam_refuse(refusal, LOAM_INVALID,
                           "loam: a heap that must be told sizes cannot serve loam_free()",
                           LOAM_ALLOCATOR_FREELIST_SIZED, LOAM_ALLOCATOR_FREELIST);
    return LOAM_OK;
}

/* The kind that grows: its page map is set aside, nothing else. */
static enum loam_status start_cpu_heap(struct loam *mm, const struct loam_boot *boot,
                                       struct loam_allocator *out)
{
    const struct loam_pagemap_setup setup = {
        .start = boot->hhdm.offset,
        .page_count = heap_map_pages(mm, boot),
        .memory = loam_hhdm_pointer(boot->hhdm, mm->heap_range.start),
        .memory_bytes = mm->heap_range.size,
        .owner = mm,
    };
    __builtin_memset(setup.memory, 0, (size_t)setup.memory_bytes);
    LOAM_TRY(loam_heap_init(&mm->cpu_heap, &setup, boot->cpu_count));
    out->kind = LOAM_ALLOCATOR_HEAP;
    out->heap.heap = &mm->cpu_heap;
    return LOAM_OK;
}

static enum loam_status start_heap(struct loam *mm, const struct loam_boot *boot,
                                   struct loam_refusal *refusal)
{
    const enum loam_allocator_kind kind = heap_kind(boot);
    struct loam_locked_options options = {
        .caller_lock = boot->heap_caller_lock,
        .lock = boot->heap_lock,
        .debug = boot->heap_debug,
    };
    void *span = loam_hhdm_pointer(mm->tables.hhdm, mm->heap_range.start);
    enum loam_status st =
        kind == LOAM_ALLOCATOR_HEAP
            ? start_cpu_heap(mm, boot, &options.allocator)
            : loam_allocator_init(&mm->heap_room, kind, span, (size_t)mm->heap_range.size,
                                  &options.allocator);
    if (st != LOAM_OK)
        return loam_refuse(refusal, st, "loam: the heap's span is unusable", mm->heap_range.size,
                           HEAP_BYTES_MIN);
    st = loam_locked_init(&mm->heap, &options);
    if (st != LOAM_OK)
        return loam_refuse(refusal, st,
                           "loam: heap_lock is no kind of lock, or does not fit heap_caller_lock",
                           (unsigned)boot->heap_lock, 0);
    return LOAM_OK;
}

static enum loam_status bring_up(struct loam *mm, const struct loam_boot *boot,
                                 struct loam_refusal *refusal)
{
    struct start_plan plan;
    uint64_t window_bytes;

    mm->features = loam_cpu_identify();
    mm->reclaimed = false;
    mm->pressure_interval = 0;
    mm->added_bytes = 0;
    atomic_store(&mm->retire_count, 0);
    __builtin_memset(&mm->heap_books, 0, sizeof(mm->heap_books));
    loam_pressure_init(&mm->pressure, NULL);
    LOAM_TRY(loam_boot_check(boot, &mm->features, &window_bytes, refusal));
    mm->window_bytes = window_bytes;
    LOAM_TRY(check_heap(boot, refusal));
    LOAM_TRY(start_memmap(mm, boot, window_bytes, refusal));
    LOAM_TRY(start_early(mm, boot, &plan, refusal));
    LOAM_TRY(start_space(mm, boot, refusal));
    LOAM_TRY(start_usage(mm, boot, plan.nodes, refusal));
    LOAM_TRY(start_frames(mm, boot, &plan, refusal));
    LOAM_TRY(start_vmap(mm, boot, refusal));
    return start_heap(mm, boot, refusal);
}

enum loam_status loam_init(struct loam *mm, const struct loam_boot *boot,
                           struct loam_refusal *refusal)
{
    if (!loam_once_begin(&mm->once))
        return loam_refuse(refusal, LOAM_STATE, "loam: initialised already, or by another CPU now",
                           0, 0);
    const enum loam_status st = bring_up(mm, boot, refusal);
    if (st == LOAM_OK)
        loam_once_finish(&mm->once);
    else
        loam_once_abandon(&mm->once);
    LOAM_AUDIT(st != LOAM_OK || loam_audit(mm) == NULL);
    return st;
}

enum loam_status loam_enter(struct loam *mm)
{
    if (!loam_once_is_ready(&mm->once))
        return LOAM_STATE;
    if (!loam_cpu_can_enter(&mm->space.features))
        return LOAM_UNSUPPORTED;
    /* A flush that is served in between would load our tables before NXE and PAT are set. */
    const uint64_t irq = loam_x86_irq_save();
    loam_tlb_online(&mm->tlb); /* first: then no change is missed that it may have seen */
    const enum loam_status st = loam_cpu_enter(&mm->space.features, mm->space.root);
    loam_x86_irq_restore(irq);
    return st;
}
