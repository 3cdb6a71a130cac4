/*
 * memmap.c - normalise the boot memory map: a sweep over sorted boundaries.
 *
 *   raw      [ usable              )    [ usable )
 *                  [ reserved )       [ kernel )
 *   events   ^     ^          ^    ^  ^ ^      ^ ^     address, layer left, entered
 *   result   [ u  )[ reserved )[ u )  [ kernel )[)
 *
 * Every raw entry is a walk over at most four page boundaries through at most
 * three layers; a usable one with odd ends is partly usable, usable, partly
 * usable. Each boundary is one event, a word: the address, whose low 12 bits are
 * free for the two layers. Events are sorted and swept upwards with one counter
 * per layer; between two addresses the page type is the highest layer with a
 * count. So the result cannot depend on the order of the input.
 *
 * All of it happens in the caller's storage: E events, E <= 4n, lie in its tail
 * and the result grows from its head, with room for E entries of 24 bytes:
 *
 *   0          24 e            16 E + 8 k                  24 E
 *   [ e results )                  [ E - k unread events    )
 *
 * Invariant: e <= k, since k addresses bound at most k - 1 stretches and only
 * frame 0 makes two entries of one. And 24 e <= 24 k <= 16 E + 8 k because
 * k <= E: no result is written over an unread event.
 *
 * Cost: O(n log n), every raw entry is read once.
 */
#include <loam/memmap.h>

#include "internal/check.h"
#include "internal/digest.h"
#include "internal/refuse.h"

/* What pages can be covered by, ascending: partly usable ones rank lowest and
 * become reserved, so that they do not hide what else there is; then the types. */
#define MEMMAP_PARTLY 0u
#define MEMMAP_LAYERS (LOAM_MEM_TYPES + 1u)
#define MEMMAP_NONE   15u /* in an event: not a layer */

#define MEMMAP_LIMIT (UINT64_C(1) << LOAM_PHYS_BITS_MAX)

LOAM_STATIC_ASSERT(sizeof(struct loam_memmap_entry) == 3 * sizeof(uint64_t),
                   "an event takes a third of an entry");
LOAM_STATIC_ASSERT(MEMMAP_LAYERS <= MEMMAP_NONE && 2 * 4 <= LOAM_PAGE_SHIFT,
                   "two layers fit into the low bits of an event");
LOAM_STATIC_ASSERT(LOAM_MEM_BAD + 1 == LOAM_MEM_TYPES, "every type is counted");
LOAM_STATIC_ASSERT(LOAM_REPAIR_PAGE_ZERO + 1 == LOAM_REPAIRS, "every repair is counted");

struct memmap_work {
    struct loam_memmap *map;
    const struct loam_memmap_request *request;
    unsigned char *events; /* in the storage; the first of event_count words */
    size_t event_count;
    size_t read_count;           /* events swept over; map->entry_count <= this */
    uint64_t limit;              /* first address that the CPU does not have */
    uint64_t window;             /* first address that the direct map does not show */
    size_t cover[MEMMAP_LAYERS]; /* entries in each layer at the sweep's place */
};

static unsigned memmap_layer_of(enum loam_mem_type type)
{
    return (unsigned)type + 1u;
}

static void memmap_repair(const struct memmap_work *work, enum loam_repair repair,
                          struct loam_phys_range where)
{
    const struct loam_repair_visitor *visitor = work->request->visitor;

    work->map->repair_count[repair]++;
    if (visitor != NULL)
        visitor->visit(visitor->context, repair, where);
}

/* ---- events -------------------------------------------------------------- */

/* Through memcpy: the storage is declared as entries. */
static uint64_t memmap_event(const unsigned char *events, size_t index)
{
    uint64_t event;

    __builtin_memcpy(&event, events + index * sizeof(event), sizeof(event));
    return event;
}

static void memmap_set_event(unsigned char *events, size_t index, uint64_t event)
{
    __builtin_memcpy(events + index * sizeof(event), &event, sizeof(event));
}

static void memmap_push(struct memmap_work *work, uint64_t at, unsigned leave, unsigned enter)
{
    LOAM_ASSERT(loam_is_page_aligned(at));
    work->events -= sizeof(at);
    work->event_count++;
    memmap_set_event(work->events, 0, at | leave << 4 | enter);
}

/* Restore the heap below @p root, whose subtrees are heaps: largest on top. */
static void memmap_sift_down(unsigned char *events, size_t root, size_t count)
{
    const uint64_t sinking = memmap_event(events, root);

    for (size_t child = 2 * root + 1; child < count; child = 2 * root + 1) {
        if (child + 1 < count && memmap_event(events, child) < memmap_event(events, child + 1))
            child++;
        if (memmap_event(events, child) <= sinking)
            break;
        memmap_set_event(events, root, memmap_event(events, child));
        root = child;
    }
    memmap_set_event(events, root, sinking);
}

/* Heapsort: in place, no recursion, no bad input. */
static void memmap_sort(unsigned char *events, size_t count)
{
    for (size_t root = count / 2; root > 0; root--)
        memmap_sift_down(events, root - 1, count);
    for (size_t last = count; last > 1; last--) {
        const uint64_t largest = memmap_event(events, 0);
        memmap_set_event(events, 0, memmap_event(events, last - 1));
        memmap_set_event(events, last - 1, largest);
        memmap_sift_down(events, 0, last - 1);
    }
}

/* ---- entries in ---------------------------------------------------------- */

/* Fields through volatile: each is read once, whatever the compiler thinks. */
static struct loam_memmap_entry memmap_read(const volatile struct loam_memmap_entry *raw)
{
    struct loam_memmap_entry entry;

    entry.range.start = loam_phys_at(raw->range.start.addr);
    entry.range.size = raw->range.size;
    entry.type = raw->type;
    return entry;
}

/* Known type, not empty, below the limit. Returns false if nothing is left. */
static bool memmap_sanitise(const struct memmap_work *work, struct loam_memmap_entry *entry)
{
    const uint64_t start = entry->range.start.addr;

    if (entry->range.size == 0) {
        memmap_repair(work, LOAM_REPAIR_EMPTY, entry->range);
        return false;
    }
    if (!loam_range_fits(start, entry->range.size)) {
        memmap_repair(work, LOAM_REPAIR_WRAP, entry->range);
        entry->range.size = 0 - start; /* start is not 0: up to 2^64 exactly */
    }
    if ((unsigned)entry->type >= LOAM_MEM_TYPES) {
        memmap_repair(work, LOAM_REPAIR_UNKNOWN_TYPE, entry->range);
        entry->type = LOAM_MEM_RESERVED;
    }
    if (start + (entry->range.size - 1) >= work->limit) {
        memmap_repair(work, LOAM_REPAIR_LIMIT, entry->range);
        if (start >= work->limit)
            return false;
        entry->range.size = work->limit - start;
    }
    return true;
}

/* Outer bounds hold every page touched, inner bounds every page usable. */
static void memmap_add_usable(struct memmap_work *work, struct loam_phys_range range,
                              uint64_t outer_start, uint64_t outer_end)
{
    const unsigned usable = memmap_layer_of(LOAM_MEM_USABLE);
    const uint64_t end = range.start.addr + range.size;
    const uint64_t floor = loam_page_floor(end);
    const uint64_t inner_start = outer_start + (outer_start < range.start.addr) * LOAM_PAGE_SIZE;
    const uint64_t inner_end = floor < work->window ? floor : work->window;

    if (inner_start != outer_start || floor != outer_end)
        memmap_repair(work, LOAM_REPAIR_SHRUNK, range);
    if (end > work->window)
        memmap_repair(work, LOAM_REPAIR_UNREACHABLE, range);

    unsigned inside = MEMMAP_NONE;
    if (outer_start < inner_start || inner_start >= inner_end) {
        memmap_push(work, outer_start, inside, MEMMAP_PARTLY);
        inside = MEMMAP_PARTLY;
    }
    if (inner_start < inner_end) {
        memmap_push(work, inner_start, inside, usable);
        inside = usable;
    }
    if (inside == usable && inner_end < outer_end) {
        memmap_push(work, inner_end, inside, MEMMAP_PARTLY);
        inside = MEMMAP_PARTLY;
    }
    memmap_push(work, outer_end, inside, MEMMAP_NONE);
}

static void memmap_add(struct memmap_work *work, const struct loam_memmap_entry *entry)
{
    const uint64_t start = entry->range.start.addr;
    const uint64_t end = start + entry->range.size; /* at most the limit: no wrap */
    const uint64_t outer_start = loam_page_floor(start);
    const uint64_t outer_end = loam_page_floor(end - 1) + LOAM_PAGE_SIZE;

    if (entry->type == LOAM_MEM_USABLE) {
        memmap_add_usable(work, entry->range, outer_start, outer_end);
        return;
    }
    if (outer_start != start || outer_end != end)
        memmap_repair(work, LOAM_REPAIR_GROWN, entry->range);
    memmap_push(work, outer_start, MEMMAP_NONE, memmap_layer_of(entry->type));
    memmap_push(work, outer_end, memmap_layer_of(entry->type), MEMMAP_NONE);
}

/* ---- entries out --------------------------------------------------------- */

/* Append pages, extending the last entry when type and edge match. */
static void memmap_emit(struct memmap_work *work, uint64_t start, uint64_t end,
                        enum loam_mem_type type)
{
    struct loam_memmap *map = work->map;

    LOAM_ASSERT(start < end);
    map->total_bytes[type] += end - start;
    if (map->entry_count > 0) {
        struct loam_memmap_entry *last = &map->entry[map->entry_count - 1];
        if (last->type == type && start - last->range.start.addr == last->range.size) {
            last->range.size += end - start;
            return;
        }
    }
    struct loam_memmap_entry *entry = &map->entry[map->entry_count++];
    LOAM_ASSERT(map->entry_count <= work->read_count); /* see the file's header */
    entry->range = loam_phys_range_of(loam_phys_at(start), end - start);
    entry->type = type;
}

/* One stretch that the same entries cover. */
static void memmap_emit_stretch(struct memmap_work *work, uint64_t start, uint64_t end)
{
    const unsigned usable = memmap_layer_of(LOAM_MEM_USABLE);
    const bool is_usable_here = work->cover[MEMMAP_PARTLY] != 0 || work->cover[usable] != 0;
    unsigned types = is_usable_here ? 1 : 0;
    unsigned top = work->cover[usable] != 0 ? usable : MEMMAP_PARTLY;

    for (unsigned layer = usable + 1; layer < MEMMAP_LAYERS; layer++) {
        if (work->cover[layer] != 0) {
            top = layer;
            types++;
        }
    }
    if (types == 0)
        return;
    if (types > 1)
        memmap_repair(work, LOAM_REPAIR_OVERLAP,
                      loam_phys_range_of(loam_phys_at(start), end - start));
    if (start == 0 && top == usable) { /* 0 means "nothing" to too much code */
        const struct loam_phys_range frame = { loam_phys_at(0), LOAM_PAGE_SIZE };
        memmap_repair(work, LOAM_REPAIR_PAGE_ZERO, frame);
        memmap_emit(work, 0, LOAM_PAGE_SIZE, LOAM_MEM_RESERVED);
        start = LOAM_PAGE_SIZE;
    }
    if (start < end)
        memmap_emit(work, start, end,
                    top == MEMMAP_PARTLY ? LOAM_MEM_RESERVED : (enum loam_mem_type)(top - 1));
}

static void memmap_sweep(struct memmap_work *work)
{
    uint64_t at = 0;

    while (work->read_count < work->event_count) {
        const uint64_t event = memmap_event(work->events, work->read_count++);
        const uint64_t next = loam_page_floor(event);
        const unsigned leave = event >> 4 & 0xf;
        const unsigned enter = event & 0xf;

        if (at < next)
            memmap_emit_stretch(work, at, next);
        at = next;
        if (leave != MEMMAP_NONE) {
            LOAM_ASSERT(work->cover[leave] != 0); /* was entered at a lower address */
            work->cover[leave]--;
        }
        if (enter != MEMMAP_NONE)
            work->cover[enter]++;
    }
}

/* ---- interface ----------------------------------------------------------- */

static enum loam_status memmap_check(const struct loam_memmap_request *request,
                                     struct loam_refusal *refusal)
{
    const size_t count = request->raw_count;
    const size_t entry_bytes = sizeof(struct loam_memmap_entry);
    const uintptr_t raw = (uintptr_t)request->raw;
    const uintptr_t storage = (uintptr_t)request->storage;

    if (request->raw == NULL || count == 0)
        return loam_refuse(refusal, LOAM_INVALID, "memmap: no memory map (entries)", 0, 1);
    if (request->phys_bits < 32 || request->phys_bits > LOAM_PHYS_BITS_MAX)
        return loam_refuse(refusal, LOAM_INVALID, "memmap: physical addresses have 32 to 52 bits",
                           request->phys_bits, LOAM_PHYS_BITS_MAX);
    if (storage == 0 || storage % _Alignof(struct loam_memmap_entry) != 0)
        return loam_refuse(refusal, LOAM_INVALID,
                           "memmap: no storage, or not aligned to 8 bytes (address)", storage, 0);
    if (count > SIZE_MAX / LOAM_MEMMAP_STORAGE(entry_bytes) ||
        request->storage_count < LOAM_MEMMAP_STORAGE(count))
        return loam_refuse(refusal, LOAM_NO_SPACE,
                           "memmap: map too fragmented: entries, and what there is room for", count,
                           request->storage_count / LOAM_MEMMAP_STORAGE((size_t)1));
    if (raw - storage < LOAM_MEMMAP_STORAGE(count) * entry_bytes ||
        storage - raw < count * entry_bytes)
        return loam_refuse(refusal, LOAM_INVALID, "memmap: storage overlaps the raw map (address)",
                           storage, 0);
    return LOAM_OK;
}

enum loam_status loam_memmap_init(struct loam_memmap *map,
                                  const struct loam_memmap_request *request,
                                  struct loam_refusal *refusal)
{
    const enum loam_status st = memmap_check(request, refusal);
    if (st != LOAM_OK)
        return st;

    struct memmap_work work;
    __builtin_memset(map, 0, sizeof(*map));
    __builtin_memset(&work, 0, sizeof(work));
    map->entry = request->storage;
    work.map = map;
    work.request = request;
    work.events = (unsigned char *)(request->storage + LOAM_MEMMAP_STORAGE(request->raw_count));
    work.limit = UINT64_C(1) << request->phys_bits;
    work.window = work.limit;
    if (request->window_bytes != 0 && request->window_bytes < work.limit)
        work.window = loam_page_floor(request->window_bytes);

    for (size_t i = 0; i < request->raw_count; i++) {
        struct loam_memmap_entry entry = memmap_read(&request->raw[i]);
        if (memmap_sanitise(&work, &entry))
            memmap_add(&work, &entry);
    }
    memmap_sort(work.events, work.event_count);
    memmap_sweep(&work);
    LOAM_AUDIT(loam_memmap_audit(map) == NULL);
    return LOAM_OK;
}

size_t loam_memmap_find(const struct loam_memmap *map, loam_phys p)
{
    size_t low = 0;
    size_t high = map->entry_count;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const struct loam_phys_range *range = &map->entry[middle].range;
        if (range->start.addr + range->size <= p.addr)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static const char *memmap_audit_entry(const struct loam_memmap_entry *entry)
{
    const uint64_t start = entry->range.start.addr;
    const uint64_t size = entry->range.size;

    if ((unsigned)entry->type >= LOAM_MEM_TYPES)
        return "memmap: an entry has a known type";
    if (size == 0)
        return "memmap: an entry is not empty";
    if (!loam_is_page_aligned(start) || !loam_is_page_aligned(size))
        return "memmap: an entry is page-aligned";
    if (size > MEMMAP_LIMIT || start > MEMMAP_LIMIT - size)
        return "memmap: an entry ends at or below 2^52";
    if (start == 0 && entry->type == LOAM_MEM_USABLE)
        return "memmap: frame 0 is not usable";
    return NULL;
}

const char *loam_memmap_audit(const struct loam_memmap *map)
{
    uint64_t total_bytes[LOAM_MEM_TYPES] = { 0 };
    uint64_t end = 0;

    for (size_t i = 0; i < map->entry_count; i++) {
        const struct loam_memmap_entry *entry = &map->entry[i];
        const char *broken = memmap_audit_entry(entry);
        if (broken != NULL)
            return broken;
        if (entry->range.start.addr < end)
            return "memmap: entries are ascending and disjoint";
        if (i > 0 && entry->range.start.addr == end && entry[-1].type == entry->type)
            return "memmap: touching entries of one type are merged";
        end = entry->range.start.addr + entry->range.size;
        total_bytes[entry->type] += entry->range.size;
    }
    for (unsigned type = 0; type < LOAM_MEM_TYPES; type++) {
        if (map->total_bytes[type] != total_bytes[type])
            return "memmap: totals are the sums of the entries";
    }
    return NULL;
}

uint64_t loam_memmap_digest(const struct loam_memmap *map)
{
    uint64_t digest = loam_digest_add(LOAM_DIGEST_START, map->entry_count);

    for (size_t i = 0; i < map->entry_count; i++) {
        digest = loam_digest_add(digest, map->entry[i].range.start.addr);
        digest = loam_digest_add(digest, map->entry[i].range.size);
        digest = loam_digest_add(digest, map->entry[i].type);
    }
    for (unsigned type = 0; type < LOAM_MEM_TYPES; type++)
        digest = loam_digest_add(digest, map->total_bytes[type]);
    return digest;
}

const char *loam_mem_type_name(enum loam_mem_type type)
{
    static const char *const names[LOAM_MEM_TYPES] = {
        [LOAM_MEM_USABLE] = "usable",
        [LOAM_MEM_BOOT_RECLAIMABLE] = "bootloader-reclaimable",
        [LOAM_MEM_ACPI_RECLAIMABLE] = "acpi-reclaimable",
        [LOAM_MEM_EXECUTABLE] = "executable",
        [LOAM_MEM_RESERVED_MAPPED] = "reserved-mapped",
        [LOAM_MEM_ACPI_NVS] = "acpi-nvs",
        [LOAM_MEM_RESERVED] = "reserved",
        [LOAM_MEM_FRAMEBUFFER] = "framebuffer",
        [LOAM_MEM_BAD] = "bad",
    };
    return (unsigned)type < LOAM_MEM_TYPES ? names[type] : "unknown type";
}

const char *loam_repair_name(enum loam_repair repair)
{
    static const char *const names[LOAM_REPAIRS] = {
        [LOAM_REPAIR_EMPTY] = "empty",
        [LOAM_REPAIR_WRAP] = "wrap",
        [LOAM_REPAIR_LIMIT] = "limit",
        [LOAM_REPAIR_UNREACHABLE] = "unreachable",
        [LOAM_REPAIR_SHRUNK] = "shrunk",
        [LOAM_REPAIR_GROWN] = "grown",
        [LOAM_REPAIR_UNKNOWN_TYPE] = "unknown-type",
        [LOAM_REPAIR_OVERLAP] = "overlap",
        [LOAM_REPAIR_PAGE_ZERO] = "page-zero",
    };
    return (unsigned)repair < LOAM_REPAIRS ? names[repair] : "unknown repair";
}
