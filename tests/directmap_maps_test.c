/*
 * directmap_maps_test.c - the direct map of every recorded memory map, compared
 * with the map and the image themselves.
 *
 * The maps are in $SHARED_MEMMAPS, or in ../shared/memmaps seen from here.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include <loam/directmap.h>

#include "mapfile.h"
#include "paging_world.h"

#define FILES_MIN 100u
#define TYPES                                                                  \
    (LOAM_MEM_BIT(LOAM_MEM_USABLE) | LOAM_MEM_BIT(LOAM_MEM_BOOT_RECLAIMABLE) | \
     LOAM_MEM_BIT(LOAM_MEM_EXECUTABLE) | LOAM_MEM_BIT(LOAM_MEM_FRAMEBUFFER) |  \
     LOAM_MEM_BIT(LOAM_MEM_RESERVED_MAPPED) | LOAM_MEM_BIT(LOAM_MEM_ACPI_RECLAIMABLE))

static struct loam_memmap memmap;
static struct loam_image image;

static uint64_t end_of(struct loam_phys_range r)
{
    return r.start.addr + r.size;
}

/* Text, rodata and data in the recorded image; each some pages long. */
static void make_image(const struct mapfile *file)
{
    static const loam_prot prots[] = { LOAM_PROT_EXEC, LOAM_PROT_READ, LOAM_PROT_WRITE };
    memset(&image, 0, sizeof(image));
    const uint64_t third = loam_page_floor(file->kernel_image_size / 3);
    if ((file->present & MAPFILE_KERNEL_IMAGE_SIZE) == 0 || third == 0)
        return;
    image.phys_base = loam_phys_at(file->kernel_phys);
    image.virt_base = loam_virt_at(file->kernel_virt);
    image.section_count = 3;
    for (unsigned i = 0; i < 3; i++) {
        image.section[i].virt = range(file->kernel_virt + i * third, third);
        image.section[i].prot = prots[i];
    }
    assert_int_equal(loam_image_check(&image, &space.features, NULL), LOAM_OK);
}

static bool is_fixed(uint64_t phys)
{
    for (unsigned i = 0; i < image.section_count; i++) {
        const uint64_t start =
            image.section[i].virt.start.addr - image.virt_base.addr + image.phys_base.addr;
        if ((image.section[i].prot & LOAM_PROT_WRITE) == 0 && phys >= start &&
            phys - start < image.section[i].virt.size)
            return true;
    }
    return false;
}

/* By definition: what the page at @p phys is like in the direct map. */
static bool is_covered(uint64_t phys, struct loam_attr *want)
{
    for (size_t i = 0; i < memmap.entry_count; i++) {
        const struct loam_memmap_entry *const e = &memmap.entry[i];
        if (!loam_phys_range_contains(e->range, loam_phys_at(phys)))
            continue;
        const bool firmware =
            e->type == LOAM_MEM_ACPI_RECLAIMABLE || e->type == LOAM_MEM_RESERVED_MAPPED;
        want->prot = firmware || is_fixed(phys) ? LOAM_PROT_READ : LOAM_PROT_WRITE;
        want->cache = e->type == LOAM_MEM_FRAMEBUFFER ? LOAM_CACHE_WC : LOAM_CACHE_WB;
        return (TYPES >> e->type & 1) != 0;
    }
    return false;
}

static void check_page(uint64_t phys)
{
    const uint64_t virt = machine_hhdm().offset + phys;
    struct loam_attr want;
    if (phys >= machine_window())
        return;
    if (is_covered(phys, &want))
        expect_page(virt, phys, want);
    else
        expect_nothing(virt);
}

/* Around every edge, and in the middle of everything. */
static void check_edges(void)
{
    for (size_t i = 0; i < memmap.entry_count; i++) {
        const struct loam_phys_range r = memmap.entry[i].range;
        check_page(r.start.addr);
        if (r.start.addr != 0)
            check_page(r.start.addr - LOAM_PAGE_SIZE);
        check_page(end_of(r) - LOAM_PAGE_SIZE);
        check_page(end_of(r));
        check_page(r.start.addr + loam_page_floor(test_random_below(r.size)));
    }
    for (unsigned i = 0; i < image.section_count; i++) {
        const uint64_t offset = image.section[i].virt.start.addr - image.virt_base.addr;
        const uint64_t phys = image.phys_base.addr + offset;
        check_page(phys);
        check_page(phys - LOAM_PAGE_SIZE);
        expect_page(image.section[i].virt.start.addr, phys,
                    attr(image.section[i].prot, LOAM_CACHE_WB));
    }
}

/*
 * Every run of pages lies inside one entry of a covered type; together they are
 * as many bytes as the covered types: so nothing is missing and nothing is too
 * much. No page may be writable and executable, or alias a read-only section.
 */
static void check_runs(void)
{
    uint64_t covered = 0;
    uint64_t mapped = 0;
    for (unsigned type = 0; type < LOAM_MEM_TYPES; type++)
        covered += (TYPES >> type & 1) != 0 ? memmap.total_bytes[type] : 0;
    struct loam_mapping run;
    uint64_t from = 0;
    while (loam_space_next(&space, loam_virt_at(from), &run) == LOAM_OK && from >> 63 == 0) {
        const uint64_t phys = run.virt.start.addr - machine_hhdm().offset;
        from = run.virt.start.addr + run.virt.size;
        if (from >> 63 != 0) /* the image */
            break;
        struct loam_attr want;
        assert_int_equal(run.phys.addr, phys);
        for (uint64_t at = phys; at < phys + run.virt.size; at += run.page_size) {
            const size_t i = loam_memmap_find(&memmap, loam_phys_at(at));
            assert_in_range(i, 0, memmap.entry_count - 1);
            /* one page, one entry */
            assert_true(at >= memmap.entry[i].range.start.addr &&
                        at + run.page_size <= end_of(memmap.entry[i].range));
            assert_true(is_covered(at, &want));
            assert_int_equal(run.attr.prot & ~(space.features.nx ? 0 : LOAM_PROT_EXEC), want.prot);
            assert_int_equal(run.attr.cache, want.cache);
            assert_int_equal(is_fixed(at), is_fixed(at + run.page_size - 1));
        }
        mapped += run.virt.size;
    }
    assert_int_equal(mapped, covered);
}

static void check_map(const struct mapfile *file)
{
    const size_t storage_count = LOAM_MEMMAP_STORAGE(file->entry_count);
    struct loam_memmap_entry *const storage = calloc(storage_count, sizeof(*storage));
    assert_non_null(storage);
    const bool cpu_known = (file->present & MAPFILE_CPUID) != 0;
    world_start((struct world_options){
        .phys_bits = (file->present & MAPFILE_BITS) != 0 ? (unsigned)file->phys_bits : 0,
        .no_gib_pages = cpu_known && !file->has_1g_pages,
        .no_nx = cpu_known && !file->has_nx,
        .frames = 4096,
    });
    const struct loam_memmap_request request = {
        .raw = file->entry,
        .raw_count = file->entry_count,
        .storage = storage,
        .storage_count = storage_count,
        .phys_bits = space.features.phys_bits,
        .window_bytes = machine_window(),
    };
    assert_int_equal(loam_memmap_init(&memmap, &request, NULL), LOAM_OK);
    make_image(file);
    assert_int_equal(loam_directmap_build(&space, &memmap, TYPES, &image, NULL), LOAM_OK);
    world_check();
    check_runs();
    check_edges();
    free(storage);
}

/* @return how many files there are */
static unsigned check_directory(const char *name, const char *suffix)
{
    const char *root = getenv("SHARED_MEMMAPS");
    char path[4096];
    unsigned count = 0;

    root = root != NULL ? root : "../shared/memmaps";
    snprintf(path, sizeof(path), "%s/%s", root, name);
    DIR *const dir = opendir(path);
    if (dir == NULL)
        fail_msg("cannot open %s; set SHARED_MEMMAPS", path);
    for (const struct dirent *d = readdir(dir); d != NULL; d = readdir(dir)) {
        const char *const dot = strrchr(d->d_name, '.');
        struct mapfile file;
        if (dot == NULL || strcmp(dot, suffix) != 0)
            continue;
        snprintf(path, sizeof(path), "%s/%s/%s", root, name, d->d_name);
        if (mapfile_load(&file, path, NULL) != LOAM_OK)
            fail_msg("cannot read %s", path);
        check_map(&file);
        mapfile_free(&file);
        count++;
    }
    closedir(dir);
    return count;
}

static void every_recorded_map_is_shown_exactly(void **state)
{
    (void)state;
    const unsigned limine = check_directory("limine", ".memmap");
    const unsigned e820 = check_directory("e820", ".e820");
    assert_true(limine + e820 >= FILES_MIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_recorded_map_is_shown_exactly),
    };
    return RUN_TESTS(tests);
}
