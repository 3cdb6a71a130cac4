/*
 * map.c - who owns which physical range.
 *
 *   firmware   [usable                    )[reserved)   [usable        )
 *   ours            [shim)     [files)                       [carved)
 *   map        [us )[rec )[us )[exec )[us )[reserved)   [us )[reclm )[u)
 *
 * One sorted array of disjoint entries, neighbours of one type merged. Usable,
 * reclaimable and executable entries are whole pages: usable memory is rounded
 * inward when it enters and only cut at page bounds afterwards.
 *
 * Memory is taken from the top down, so that the low megabyte stays for what
 * needs it. Taking never changes what the HHDM covers, only whose it is: the
 * page tables may therefore be carved while the HHDM is being built.
 */
#include "shim.h"

#define ENTRIES_MAX     16384u
#define RECLAIMABLE_ONE (UINT64_C(16) << 10) /* carved at a time for small objects */

extern const char shim_start[], shim_end[];

static struct loam_limine_memmap_entry entries[ENTRIES_MAX];
static size_t entry_count;

static uint64_t end_of(const struct loam_limine_memmap_entry *entry)
{
    return entry->base + entry->length;
}

/* Append [base, end) to the @p count pieces, extending the last one if it fits. */
static size_t add_piece(struct loam_limine_memmap_entry *piece, size_t count, uint64_t base,
                        uint64_t end, uint64_t type)
{
    if (base >= end)
        return count;
    if (count > 0 && piece[count - 1].type == type && end_of(&piece[count - 1]) == base) {
        piece[count - 1].length += end - base;
        return count;
    }
    piece[count] = (struct loam_limine_memmap_entry){ base, end - base, type };
    return count + 1;
}

/* First entry that ends at or after @p address. */
static size_t first_reaching(uint64_t address)
{
    size_t low = 0;
    size_t high = entry_count;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (end_of(&entries[middle]) < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Give [base, end) to @p type, whatever was there. */
void map_set(uint64_t base, uint64_t end, uint64_t type)
{
    struct loam_limine_memmap_entry piece[3];
    size_t pieces = 0;

    if (base >= end)
        return;
    const size_t first = first_reaching(base); /* entries that only touch count too */
    size_t last = first;
    while (last < entry_count && entries[last].base <= end)
        last++;
    if (first < last)
        pieces = add_piece(piece, pieces, entries[first].base,
                           base < end_of(&entries[first]) ? base : end_of(&entries[first]),
                           entries[first].type);
    pieces = add_piece(piece, pieces, base, end, type);
    if (first < last) {
        const struct loam_limine_memmap_entry *tail = &entries[last - 1];
        pieces =
            add_piece(piece, pieces, end > tail->base ? end : tail->base, end_of(tail), tail->type);
    }
    if (entry_count - (last - first) + pieces > ENTRIES_MAX)
        fail("the memory map is too fragmented");
    memmove(&entries[first + pieces], &entries[last], (entry_count - last) * sizeof entries[0]);
    memcpy(&entries[first], piece, pieces * sizeof piece[0]);
    entry_count = entry_count - (last - first) + pieces;
}

/* Give what @p from has of [base, end) to @p to. */
void map_change(uint64_t base, uint64_t end, uint64_t from, uint64_t to)
{
    while (base < end) { /* base increases */
        const size_t i = first_reaching(base + 1);
        if (i == entry_count || entries[i].base >= end)
            return;
        const uint64_t stop = end_of(&entries[i]) < end ? end_of(&entries[i]) : end;
        if (entries[i].type == from)
            map_set(base > entries[i].base ? base : entries[i].base, stop, to);
        base = stop;
    }
}

/*
 * Take the highest usable memory that ends at or below @p limit.
 *
 * @param limit at most REACH
 *
 * @return its physical address, zeroed; 0 only if nothing is large enough below a
 *         limit of 1 MiB or less, else that ends the boot
 */
uint64_t map_carve(uint64_t size, uint64_t align, uint64_t limit, uint64_t type)
{
    const uint64_t wanted = page_ceil(size > 0 ? size : 1);

    for (size_t i = entry_count; i-- > 0;) {
        const uint64_t base = entries[i].base;
        const uint64_t top = end_of(&entries[i]) < limit ? end_of(&entries[i]) : limit;
        if (entries[i].type != LOAM_LIMINE_MEMMAP_USABLE || top < base || top - base < wanted)
            continue;
        const uint64_t start = (top - wanted) & ~(align - 1);
        if (start < base)
            continue;
        map_set(start, start + wanted, type);
        memset(at(start), 0, wanted);
        return start;
    }
    if (limit <= LOW_MEMORY_END)
        return 0;
    fail_number("out of memory; bytes wanted:", wanted);
}

size_t map_count(void)
{
    return entry_count;
}

const struct loam_limine_memmap_entry *map_entry(size_t index)
{
    return &entries[index];
}

void *reclaimable(uint64_t size)
{
    static uint64_t next, left;
    const uint64_t wanted = (size + 15) & ~UINT64_C(15);

    if (wanted > left) {
        left = page_ceil(wanted > RECLAIMABLE_ONE ? wanted : RECLAIMABLE_ONE);
        next = map_carve(left, PAGE_SIZE, REACH, LOAM_LIMINE_MEMMAP_BOOTLOADER_RECLAIMABLE);
    }
    void *object = at(next);
    next += wanted;
    left -= wanted;
    return object;
}

/* ---- what the HHDM maps ----------------------------------------------------------- */

static enum map_kind kind_of(uint64_t type, unsigned revision)
{
    switch (type) {
    case LOAM_LIMINE_MEMMAP_USABLE:
    case LOAM_LIMINE_MEMMAP_BOOTLOADER_RECLAIMABLE:
    case LOAM_LIMINE_MEMMAP_EXECUTABLE_AND_MODULES:
        return MAP_WRITE_BACK;
    case LOAM_LIMINE_MEMMAP_ACPI_RECLAIMABLE:
    case LOAM_LIMINE_MEMMAP_ACPI_NVS:
    case LOAM_LIMINE_MEMMAP_RESERVED_MAPPED:
        return revision >= 4 ? MAP_WRITE_BACK : MAP_UNMAPPED;
    case LOAM_LIMINE_MEMMAP_FRAMEBUFFER:
        return MAP_WRITE_COMBINING;
    default:
        return MAP_UNMAPPED;
    }
}

/* The first run at or above @p from; false if there is none. */
bool map_next_run(uint64_t from, unsigned revision, struct map_run *run)
{
    size_t i = first_reaching(from + 1);

    while (i < entry_count && kind_of(entries[i].type, revision) == MAP_UNMAPPED)
        i++;
    if (i == entry_count)
        return false;
    run->kind = kind_of(entries[i].type, revision);
    run->base = page_floor(entries[i].base);
    if (run->base < from)
        run->base = from;
    run->end = page_ceil(end_of(&entries[i]));
    while (++i < entry_count && page_floor(entries[i].base) <= run->end &&
           kind_of(entries[i].type, revision) == run->kind)
        run->end = page_ceil(end_of(&entries[i]));
    return true;
}

/* ---- building ------------------------------------------------------------------------ */

static void add_firmware(const struct input *input, bool usable)
{
    for (unsigned i = 0; i < input->firmware_count; i++) {
        const struct loam_limine_memmap_entry *e = &input->firmware[i];
        if ((e->type == LOAM_LIMINE_MEMMAP_USABLE) != usable || e->base >= PHYS_LIMIT)
            continue;
        const uint64_t end = e->length < PHYS_LIMIT - e->base ? e->base + e->length : PHYS_LIMIT;
        const bool whole_pages = usable || e->type == LOAM_LIMINE_MEMMAP_BOOTLOADER_RECLAIMABLE;
        if (whole_pages)
            map_set(page_ceil(e->base), page_floor(end), e->type);
        else
            map_set(e->base, end, e->type);
    }
}

/* A restrictive entry may end inside a page of usable memory: drop the rest of it. */
static void trim_usable(void)
{
    uint64_t done = 0;

    for (;;) { /* by address: trimming may merge entries away */
        const size_t i = first_reaching(done + 1);
        if (i == entry_count)
            return;
        const struct loam_limine_memmap_entry e = entries[i];
        done = end_of(&e);
        if (e.type != LOAM_LIMINE_MEMMAP_USABLE &&
            e.type != LOAM_LIMINE_MEMMAP_BOOTLOADER_RECLAIMABLE)
            continue;
        const uint64_t head = page_ceil(e.base) < done ? page_ceil(e.base) : done;
        const uint64_t tail = page_floor(done) > head ? page_floor(done) : head;
        map_set(e.base, head, LOAM_LIMINE_MEMMAP_RESERVED);
        map_set(tail, done, LOAM_LIMINE_MEMMAP_RESERVED);
    }
}

/* Every second page of the largest usable entry becomes reserved, from its start,
 * until there are about @p wanted entries or it is used up to a quarter. */
static void split_usable(uint64_t wanted)
{
    struct loam_limine_memmap_entry largest = { 0, 0, 0 };

    for (size_t i = 0; i < entry_count; i++) {
        if (entries[i].type == LOAM_LIMINE_MEMMAP_USABLE && entries[i].length > largest.length &&
            entries[i].base < REACH)
            largest = entries[i];
    }
    const uint64_t end = largest.base + largest.length / 4;
    for (uint64_t page = largest.base + PAGE_SIZE; page < end && entry_count < wanted;
         page += 2 * PAGE_SIZE)
        map_set(page, page + PAGE_SIZE, LOAM_LIMINE_MEMMAP_RESERVED);
}

void map_build(const struct input *input, const struct options *options)
{
    entry_count = 0;
    add_firmware(input, true);
    add_firmware(input, false); /* what is not usable wins */
    trim_usable();
    map_set(0, PAGE_SIZE, LOAM_LIMINE_MEMMAP_RESERVED);

    /* The files and the shim itself, before anything is carved. */
    map_set((uintptr_t)shim_start, page_ceil((uintptr_t)shim_end),
            LOAM_LIMINE_MEMMAP_BOOTLOADER_RECLAIMABLE);
    for (unsigned i = 0; i < input->file_count; i++) {
        const struct boot_file *file = &input->file[i];
        map_set(page_floor(file->base), page_ceil(file->base + file->size),
                LOAM_LIMINE_MEMMAP_EXECUTABLE_AND_MODULES);
    }
    if (options->phantom_size > 0)
        map_set(options->phantom_base, options->phantom_base + options->phantom_size,
                LOAM_LIMINE_MEMMAP_USABLE);
    map_change(options->limit, PHYS_LIMIT, LOAM_LIMINE_MEMMAP_USABLE, LOAM_LIMINE_MEMMAP_RESERVED);
    if (options->split_count > 0)
        split_usable(options->split_count);
}
