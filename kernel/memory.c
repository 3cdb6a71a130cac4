/*
 * memory.c - see memory.h.
 */
#include "memory.h"

#include <loam/x86.h>
#include <stdatomic.h>

#include "layout.h"
#include "loader.h"
#include "log.h"
#include "text.h"

#define RAW_ENTRIES_MAX   1024u
#define REPAIRS_SHOWN_MAX 16u
#define IDLE_FRAMES       8u /* zeroed at once: then a CPU looks for work again */

LOAM_BOOT_STORAGE(storage, RAW_ENTRIES_MAX);

struct loam memory;

static bool refuse(const char *who, enum loam_status status, const struct loam_refusal *refusal)
{
    if (refusal->have == 0 && refusal->need == 0)
        log_error("%s refused (%s): %s", who, loam_status_name(status), refusal->rule);
    else
        log_error("%s refused (%s): %s: have %lu (0x%lx), need %lu (0x%lx)", who,
                  loam_status_name(status), refusal->rule, refusal->have, refusal->have,
                  refusal->need, refusal->need);
    return false;
}

static void show_repair(void *context, enum loam_repair repair, struct loam_phys_range where)
{
    unsigned *shown = context;
    if ((*shown)++ < REPAIRS_SHOWN_MAX)
        log_info("memory map repaired: %s: %p, 0x%lx bytes", loam_repair_name(repair),
                 (void *)(uintptr_t)where.start.addr, where.size);
}

static bool name_sections(struct loam_image *image)
{
    return loam_image_add(image, kernel_text_start, kernel_text_end, LOAM_PROT_EXEC) &&
           loam_image_add(image, kernel_rodata_start, kernel_rodata_end, LOAM_PROT_READ) &&
           loam_image_add(image, kernel_data_start, kernel_data_end, LOAM_PROT_WRITE);
}

bool memory_heap_grows(void)
{
    return memory.heap.options.allocator.kind == LOAM_ALLOCATOR_HEAP;
}

bool memory_take_over(const struct options *options)
{
    struct loam_boot boot;
    struct loam_refusal refusal = { "?", 0, 0 };
    unsigned repairs_shown = 0;
    const struct loam_repair_visitor visitor = { show_repair, &repairs_shown };

    enum loam_status st = loam_boot_limine(&boot, &storage, &loader_limine, &refusal);
    if (st != LOAM_OK)
        return refuse("loam_boot_limine", st, &refusal);
    log_info("memory map: %zu entries from %s", boot.raw_count, loader.name);
    if (boot.cpu_count > LOAM_CPUS_MAX) {
        log_warn("%u CPUs, of which %u are kept", boot.cpu_count, (unsigned)LOAM_CPUS_MAX);
        boot.cpu_count = LOAM_CPUS_MAX;
    }
    boot.heap_bytes = options->heap_bytes;
    boot.heap_kind = options->heap_kind;
    boot.heap_lock = options->heap_lock;
    boot.heap_debug = options->heap_debug;
    boot.probe = options->probe;
    boot.repairs = &visitor;
    if (!name_sections(&boot.image)) {
        log_error("boot: more image sections than Loam has room for");
        return false;
    }
    st = loam_init(&memory, &boot, &refusal);
    if (st != LOAM_OK)
        return refuse("loam_init", st, &refusal);
    if (repairs_shown > REPAIRS_SHOWN_MAX)
        log_info("memory map repaired: %u more", repairs_shown - REPAIRS_SHOWN_MAX);
    st = loam_enter(&memory);
    if (st != LOAM_OK) {
        log_error("loam_enter refused (%s)", loam_status_name(st));
        return false;
    }
    const uint64_t wanted =
        options->heap_bytes != 0 ? options->heap_bytes : LOAM_HEAP_BYTES_DEFAULT;
    if (!memory_heap_grows() && memory.heap_range.size < wanted)
        log_warn("heap: %lu bytes were wanted, there was room for %lu", wanted,
                 memory.heap_range.size);
    return true;
}

void memory_report(void)
{
    const struct loam_memmap *map = &memory.memmap;
    const uint64_t image = (uint64_t)(uintptr_t)kernel_text_start;
    struct loam_translation at;
    const uint64_t heap = loam_hhdm_virt(memory.tables.hhdm, memory.heap_range.start).addr;
    for (unsigned i = 0; i < LOAM_MEM_TYPES; i++) {
        if (map->total_bytes[i] != 0)
            log_info("memory map: %lu bytes %s", map->total_bytes[i],
                     loam_mem_type_name((enum loam_mem_type)i));
    }
    for (unsigned i = 0; i < LOAM_REPAIRS; i++) {
        if (map->repair_count[i] != 0)
            log_info("memory map: %lu times repaired: %s", map->repair_count[i],
                     loam_repair_name((enum loam_repair)i));
    }
    log_info("HHDM offset: 0x%016lx", memory.tables.hhdm.offset);
    if (loam_space_query(&memory.space, loam_virt_at(image), &at) == LOAM_OK)
        log_info("kernel image: 0x%016lx, physical 0x%016lx", image, at.phys.addr);
    log_info("page tables: %u levels, %lu tables, root %p", memory.features.levels,
             memory.space.table_count, (void *)(uintptr_t)memory.space.root.addr);
    log_info("CPU features: NX %d, 1 GiB pages %d, global pages %d, PAT %d, %u physical bits",
             memory.features.nx, memory.features.gib_pages, memory.features.global_pages,
             memory.features.pat, memory.features.phys_bits);
    log_info("heap: 0x%016lx..0x%016lx, %lu bytes, %s, %s lock, debug %s", heap,
             heap + memory.heap_range.size, memory.heap_range.size,
             loam_allocator_name(memory.heap.options.allocator.kind),
             memory.heap.options.lock == LOAM_LOCKED_SPIN ? "spin" : "ticket",
             memory.heap.options.debug ? "on" : "off");
}

void memory_report_heap(void)
{
    struct loam_locked_stats stats;
    loam_locked_measure(&memory.heap, &stats);
    log_info("heap: %s, %zu bytes in %zu blocks, at most %zu so far",
             loam_allocator_name(memory.heap.options.allocator.kind), stats.heap.used_bytes,
             stats.heap.used_count, stats.heap.peak_bytes);
    if (memory_heap_grows()) {
        struct loam_heap_stats pages;
        loam_heap_measure(&memory.cpu_heap, &pages);
        log_info("heap: %lu pages, of which %lu hold its own records", pages.page_count,
                 pages.record_pages);
    }
    if (memory_heap_grows() && !memory.heap.options.debug)
        return; /* nobody counts calls */
    log_info("heap: %lu allocations, %lu frees, %lu resizes, %lu refusals", stats.alloc_count,
             stats.free_count, stats.realloc_count, stats.refusal_count);
}

static _Atomic(unsigned) idle_count; /* CPUs that zero frames */
static _Atomic(unsigned) stop_count; /* who does not want that */

bool memory_idle(void)
{
    atomic_fetch_add(&idle_count, 1);
    const size_t count = atomic_load(&stop_count) != 0 ? 0 : loam_idle(&memory, IDLE_FRAMES);
    atomic_fetch_sub(&idle_count, 1);
    return count != 0;
}

void memory_idle_stop(void)
{
    atomic_fetch_add(&stop_count, 1);
    while (atomic_load(&idle_count) != 0)
        loam_x86_pause();
}

void memory_idle_resume(void)
{
    atomic_fetch_sub(&stop_count, 1);
}

const char *memory_audit(void)
{
    memory_idle_stop();
    const char *broken = loam_audit(&memory);
    memory_idle_resume();
    return broken;
}

bool memory_is_mapped(const void *start, uint64_t size)
{
    uint64_t at = loam_virt_of(start).addr;
    struct loam_mapping run;
    if (!loam_range_fits(at, size))
        return false;
    while (size != 0) {
        if (loam_space_next(&memory.space, loam_virt_at(at), &run) != LOAM_OK ||
            run.virt.start.addr > at)
            return false;
        const uint64_t shown = run.virt.size - (at - run.virt.start.addr);
        if (shown >= size)
            return true;
        at += shown;
        size -= shown;
    }
    return true;
}

/* The debug layer gives all blocks back that it holds; the heap's lock is taken. All CPUs
 * are here or idle: what the heap has for them goes back, too. */
static void settle_heap(void)
{
    if (memory.heap.options.debug)
        loam_debug_flush(&memory.heap.debug);
    if (!memory_heap_grows())
        return;
    for (unsigned i = 0; i < memory.cpu_heap.cpu_count; i++)
        loam_heap_trim_cpu(&memory.cpu_heap, i);
    (void)loam_heap_trim(&memory.cpu_heap);
}

static void take_heap(struct memory_snapshot *now)
{
    const struct loam_allocator *heap = &memory.heap.options.allocator;
    const loam_irq_state state = loam_locked_acquire(&memory.heap);
    settle_heap();
    loam_allocator_measure(heap, &now->heap);
    if (heap->kind == LOAM_ALLOCATOR_BUMP)
        now->mark = loam_bump_now(heap->heap.bump);
    loam_locked_release(&memory.heap, state);
}

/* Memory of a bump heap that was freed out of order. With no block live, it has
 * given all back by itself: that is not helped. */
static void release_heap(const struct memory_snapshot *before)
{
    const struct loam_allocator *heap = &memory.heap.options.allocator;
    const loam_irq_state state = loam_locked_acquire(&memory.heap);
    settle_heap();
    if (heap->kind == LOAM_ALLOCATOR_BUMP && before->mark.count != 0 &&
        heap->heap.bump->count == before->mark.count)
        loam_bump_release(heap->heap.bump, before->mark);
    loam_locked_release(&memory.heap, state);
}

/* Pages of the heap's own records: they follow the most that there ever were. */
static uint64_t heap_record_bytes(void)
{
    struct loam_heap_stats stats = { .record_pages = 0 };
    if (memory_heap_grows())
        loam_heap_measure(&memory.cpu_heap, &stats);
    return stats.record_pages * LOAM_PAGE_SIZE;
}

struct memory_snapshot memory_snapshot_take(void)
{
    struct memory_snapshot now;
    if (memory_heap_grows()) { /* what it could not do inside is done by the next call */
        loam_free(&memory, loam_malloc(&memory, 1));
        (void)loam_vmap_purge(&memory);
    }
    take_heap(&now);
    for (unsigned i = 0; i < LOAM_OWNERS; i++)
        now.owner_bytes[i] = loam_owner_bytes(&memory, (enum loam_owner)i);
    /* Spare tables, nodes and records come and go as they are needed: usable, here. */
    const uint64_t tables = loam_stock_level(&memory.tables) * LOAM_PAGE_SIZE;
    const uint64_t nodes =
        (loam_stock_level(&memory.nodes) + memory.usage.node_frame_count) * LOAM_PAGE_SIZE;
    now.owner_bytes[LOAM_OWNER_PAGE_TABLES] -= tables;
    now.owner_bytes[LOAM_OWNER_METADATA] -= nodes;
    const uint64_t records = heap_record_bytes();
    now.owner_bytes[LOAM_OWNER_HEAP] -= records;
    now.owner_bytes[LOAM_OWNER_USABLE] += tables + nodes + records;
    return now;
}

bool memory_snapshot_holds(const struct memory_snapshot *before, const char *after_what)
{
    release_heap(before);
    const struct memory_snapshot now = memory_snapshot_take();
    const char *broken = memory_audit();
    bool holds = broken == NULL;
    if (broken != NULL)
        log_error("after %s: audit: %s", after_what, broken);
    for (unsigned i = 0; i < LOAM_OWNERS; i++) {
        if (now.owner_bytes[i] == before->owner_bytes[i])
            continue;
        log_error("after %s: %s has %lu bytes, had %lu", after_what,
                  loam_owner_name((enum loam_owner)i), now.owner_bytes[i], before->owner_bytes[i]);
        holds = false;
    }
    if (now.heap.used_bytes != before->heap.used_bytes ||
        now.heap.used_count != before->heap.used_count) {
        log_error("after %s: heap has %zu bytes in %zu blocks, had %zu in %zu", after_what,
                  now.heap.used_bytes, now.heap.used_count, before->heap.used_bytes,
                  before->heap.used_count);
        holds = false;
    }
    return holds;
}
