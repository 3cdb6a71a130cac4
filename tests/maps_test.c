/*
 * maps_test.c - layer 1 against every recorded memory map.
 *
 * The maps are in $SHARED_MEMMAPS, or in ../shared/memmaps seen from here.
 */
#include "harness.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include <loam/memmap.h>

#include "mapfile.h"

#define FILES_MIN 128 /* fewer: somebody lost maps */

/* ---- an independent definition ------------------------------------------- */

/*
 * All page boundaries are sorted; between two neighbours every raw entry is
 * asked. Types and repairs of order, alignment or overlap fall out of the same
 * sentence: the largest type that covers these pages.
 */
struct oracle {
    struct loam_memmap_entry *entry;
    size_t entry_count;
    uint64_t total_bytes[LOAM_MEM_TYPES];
};

static int compare_boundaries(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a;
    const uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* The last byte of an entry that the CPU can address; start is below the limit. */
static uint64_t last_byte(const struct loam_memmap_entry *e, uint64_t limit)
{
    const uint64_t start = e->range.start.addr;
    return e->range.size - 1 >= limit - start ? limit - 1 : start + (e->range.size - 1);
}

/* Type of the pages [from, to), which every entry covers evenly; -1: a hole. */
static int oracle_type(const struct loam_memmap_request *request, uint64_t from, uint64_t to)
{
    const uint64_t limit = UINT64_C(1) << request->phys_bits;
    int best = -1;
    bool touched = false;

    for (size_t i = 0; i < request->raw_count; i++) {
        const struct loam_memmap_entry *e = &request->raw[i];
        if (e->range.size == 0 || e->range.start.addr >= limit)
            continue;
        const uint64_t last = last_byte(e, limit);
        if (e->range.start.addr >= to || last < from)
            continue;
        touched = true;
        int type = (int)e->type < 0 || (int)e->type > (int)LOAM_MEM_BAD ? (int)LOAM_MEM_RESERVED
                                                                        : (int)e->type;
        const bool shown = request->window_bytes == 0 || to <= request->window_bytes;
        if (type == (int)LOAM_MEM_USABLE && (e->range.start.addr > from || last < to - 1 || !shown))
            type = -1;
        best = type > best ? type : best;
    }
    if (best == (int)LOAM_MEM_USABLE && from == 0)
        return (int)LOAM_MEM_RESERVED;
    return best == -1 && touched ? (int)LOAM_MEM_RESERVED : best;
}

static void oracle_add(struct oracle *oracle, uint64_t from, uint64_t to, enum loam_mem_type type)
{
    oracle->total_bytes[type] += to - from;
    if (oracle->entry_count > 0) {
        struct loam_memmap_entry *e = &oracle->entry[oracle->entry_count - 1];
        if (e->type == type && e->range.start.addr + e->range.size == from) {
            e->range.size += to - from;
            return;
        }
    }
    oracle->entry[oracle->entry_count].range = loam_phys_range_of(loam_phys_at(from), to - from);
    oracle->entry[oracle->entry_count++].type = type;
}

static void oracle_make(struct oracle *oracle, const struct loam_memmap_request *request)
{
    const uint64_t limit = UINT64_C(1) << request->phys_bits;
    uint64_t *boundary = malloc((4 * request->raw_count + 3) * sizeof *boundary);
    size_t count = 0;

    assert_non_null(boundary);
    memset(oracle, 0, sizeof *oracle);
    oracle->entry = malloc((4 * request->raw_count + 3) * sizeof *oracle->entry);
    assert_non_null(oracle->entry);
    boundary[count++] = 0; /* frame 0 is special, and so is the window's end */
    boundary[count++] = LOAM_PAGE_SIZE;
    boundary[count++] = loam_page_floor(request->window_bytes);
    for (size_t i = 0; i < request->raw_count; i++) {
        const struct loam_memmap_entry *e = &request->raw[i];
        if (e->range.size == 0 || e->range.start.addr >= limit)
            continue;
        const uint64_t start = e->range.start.addr;
        const uint64_t end = last_byte(e, limit) + 1;
        boundary[count++] = loam_page_floor(start);
        boundary[count++] = loam_page_floor(start + LOAM_PAGE_SIZE - 1);
        boundary[count++] = loam_page_floor(end);
        boundary[count++] = loam_page_floor(end + LOAM_PAGE_SIZE - 1);
    }
    qsort(boundary, count, sizeof *boundary, compare_boundaries);
    for (size_t i = 0; i + 1 < count; i++) {
        if (boundary[i] == boundary[i + 1])
            continue;
        const int type = oracle_type(request, boundary[i], boundary[i + 1]);
        if (type >= 0)
            oracle_add(oracle, boundary[i], boundary[i + 1], (enum loam_mem_type)type);
    }
    free(boundary);
}

/* ---- every recorded map -------------------------------------------------- */

static void assert_same(const struct loam_memmap *map, const struct loam_memmap_entry *entry,
                        size_t entry_count, const uint64_t *total_bytes)
{
    assert_int_equal(map->entry_count, entry_count);
    for (size_t i = 0; i < entry_count; i++) {
        assert_int_equal(map->entry[i].range.start.addr, entry[i].range.start.addr);
        assert_int_equal(map->entry[i].range.size, entry[i].range.size);
        assert_int_equal(map->entry[i].type, entry[i].type);
    }
    assert_memory_equal(map->total_bytes, total_bytes, sizeof map->total_bytes);
}

/* Agrees with the oracle, and so do all rotations, forwards and backwards. */
static void check_map(const struct mapfile *file, uint64_t window_bytes)
{
    const size_t count = file->entry_count;
    struct loam_memmap_entry *raw = malloc(2 * count * sizeof *raw);
    struct loam_memmap_entry *storage = malloc(LOAM_MEMMAP_STORAGE(count) * sizeof *storage);
    struct loam_memmap_request request = {
        .raw = file->entry,
        .raw_count = count,
        .storage = storage,
        .storage_count = LOAM_MEMMAP_STORAGE(count),
        .phys_bits = (file->present & MAPFILE_BITS) != 0 ? (unsigned)file->phys_bits : 52,
        .window_bytes = window_bytes,
    };
    struct loam_memmap map;
    struct oracle oracle;

    assert_non_null(raw);
    assert_non_null(storage);
    oracle_make(&oracle, &request);
    assert_int_equal(loam_memmap_init(&map, &request, NULL), LOAM_OK);
    assert_null(loam_memmap_audit(&map));
    assert_same(&map, oracle.entry, oracle.entry_count, oracle.total_bytes);

    const struct loam_memmap first = map;
    for (unsigned backwards = 0; backwards < 2; backwards++) {
        for (size_t i = 0; i < 2 * count; i++)
            raw[i] = file->entry[backwards != 0 ? count - 1 - i % count : i % count];
        for (size_t rotation = 0; rotation < count; rotation++) {
            request.raw = raw + rotation;
            assert_int_equal(loam_memmap_init(&map, &request, NULL), LOAM_OK);
            assert_null(loam_memmap_audit(&map));
            assert_same(&map, oracle.entry, oracle.entry_count, oracle.total_bytes);
            assert_memory_equal(map.repair_count, first.repair_count, sizeof map.repair_count);
        }
    }
    free(oracle.entry);
    free(storage);
    free(raw);
}

/* What every recording has. */
static void check_metadata(const struct mapfile *file, enum mapfile_format format)
{
    const unsigned all = 2 * MAPFILE_FIRMWARE_TYPE - 1;

    assert_int_equal(file->format, format);
    if (format == MAPFILE_E820) {
        assert_int_equal(file->present, 0);
        return;
    }
    assert_int_equal(file->present | MAPFILE_FRAMEBUFFER, all);
    assert_true(file->phys_bits >= 32 && file->phys_bits <= 52);
    assert_true(file->paging_levels == 4 || file->paging_levels == 5);
    assert_true(file->cpu_count >= 1);
    assert_true(file->revision_accepted || file->revision_loaded_tag != file->revision_requested);
    bool image_is_in_map = false;
    bool framebuffer_is_in_map = false;
    for (size_t i = 0; i < file->entry_count; i++) {
        const struct loam_memmap_entry *e = &file->entry[i];
        image_is_in_map |= e->type == LOAM_MEM_EXECUTABLE &&
                           loam_phys_range_contains(e->range, loam_phys_at(file->kernel_phys)) &&
                           file->kernel_image_size <= e->range.size;
        framebuffer_is_in_map |=
            e->type == LOAM_MEM_FRAMEBUFFER &&
            loam_phys_range_contains(e->range,
                                     loam_phys_at(file->framebuffer.address - file->hhdm_offset)) &&
            file->framebuffer.pitch * file->framebuffer.height <= e->range.size &&
            file->framebuffer.width * file->framebuffer.bits_per_pixel <=
                8 * file->framebuffer.pitch;
    }
    assert_true(image_is_in_map);
    assert_int_equal(framebuffer_is_in_map, (file->present & MAPFILE_FRAMEBUFFER) != 0);
}

/* All files below one directory; returns how many. */
static unsigned check_directory(const char *name, const char *suffix, enum mapfile_format format)
{
    const char *root = getenv("SHARED_MEMMAPS");
    char path[4096];
    unsigned count = 0;

    root = root != NULL ? root : "../shared/memmaps";
    snprintf(path, sizeof path, "%s/%s", root, name);
    DIR *dir = opendir(path);
    if (dir == NULL)
        fail_msg("cannot open %s; set SHARED_MEMMAPS", path);
    for (const struct dirent *d = readdir(dir); d != NULL; d = readdir(dir)) {
        struct mapfile file;
        struct mapfile_error error = { 0, "" };
        const char *dot = strrchr(d->d_name, '.');
        if (dot == NULL || strcmp(dot, suffix) != 0)
            continue;
        snprintf(path, sizeof path, "%s/%s/%s", root, name, d->d_name);
        if (mapfile_load(&file, path, &error) != LOAM_OK)
            fail_msg("%s:%zu: %s", path, error.line, error.message);
        check_metadata(&file, format);
        check_map(&file, 0);
        check_map(&file, UINT64_C(256) << 20);
        mapfile_free(&file);
        count++;
    }
    closedir(dir);
    return count;
}

static void every_recorded_map_agrees_with_the_definition_in_every_order(void **state)
{
    (void)state;
    const unsigned limine = check_directory("limine", ".memmap", MAPFILE_LIMINE);
    const unsigned e820 = check_directory("e820", ".e820", MAPFILE_E820);
    assert_true(limine > 0 && e820 > 0);
    assert_true(limine + e820 >= FILES_MIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_recorded_map_agrees_with_the_definition_in_every_order),
    };
    return RUN_TESTS(tests);
}
