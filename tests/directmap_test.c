/*
 * directmap_test.c - which memory the direct map shows, and how; the kernel's
 * image; what is refused.
 */
#include <loam/directmap.h>
#include <loam/x86.h>

#include "paging_world.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define IMAGE    UINT64_C(0xffffffff80000000)
#define COVERED                                                                \
    (LOAM_MEM_BIT(LOAM_MEM_USABLE) | LOAM_MEM_BIT(LOAM_MEM_BOOT_RECLAIMABLE) | \
     LOAM_MEM_BIT(LOAM_MEM_EXECUTABLE) | LOAM_MEM_BIT(LOAM_MEM_FRAMEBUFFER) |  \
     LOAM_MEM_BIT(LOAM_MEM_RESERVED_MAPPED) | LOAM_MEM_BIT(LOAM_MEM_ACPI_RECLAIMABLE))

static const struct loam_image no_image = { .section_count = 0 };
static struct loam_refusal refusal;

static struct loam_memmap_entry entry(uint64_t start, uint64_t end, enum loam_mem_type type)
{
    const struct loam_memmap_entry e = {
        loam_phys_range_of(loam_phys_at(start), end - start),
        type,
    };
    return e;
}

/* The direct map of normalised entries. */
static enum loam_status build(struct loam_memmap_entry *entries, size_t count, loam_mem_types types,
                              const struct loam_image *image)
{
    const struct loam_memmap memmap = { .entry = entries, .entry_count = count };
    return loam_directmap_build(&space, &memmap, types, image, &refusal);
}

static uint64_t direct(uint64_t phys)
{
    return machine_hhdm().offset + phys;
}

/* One page of the direct map: there and alike on every CPU. */
static void expect_direct(uint64_t phys, struct loam_attr want, uint64_t page_size)
{
    expect_page(direct(phys), phys, want);
    assert_int_equal(page_size_at(direct(phys)), page_size);
}

/* A kernel of three sections at 16 MiB: text, rodata, data.
 *
 *   phys  16M [text 2M+8K )[rodata 4K+1 )[data 12K )
 */
static struct loam_image kernel_image(void)
{
    struct loam_image image = {
        .phys_base = loam_phys_at(MIB(16)),
        .virt_base = loam_virt_at(IMAGE),
        .section = { { range(IMAGE, MIB(2) + KIB(8)), LOAM_PROT_EXEC },
                     { range(IMAGE + MIB(2) + KIB(8), KIB(4) + 1), LOAM_PROT_READ },
                     { range(IMAGE + MIB(2) + KIB(16), KIB(12)), LOAM_PROT_WRITE } },
        .section_count = 3,
    };
    return image;
}

/* ---- the direct map ------------------------------------------------------ */

static void every_type_has_its_rights_and_cache_type(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    struct loam_memmap_entry entries[LOAM_MEM_TYPES];
    for (unsigned type = 0; type < LOAM_MEM_TYPES; type++)
        entries[type] = entry(MIB(type + 1), MIB(type + 2), (enum loam_mem_type)type);
    const loam_mem_types all = (1u << LOAM_MEM_TYPES) - 1;
    assert_int_equal(build(entries, LOAM_MEM_TYPES, all, &no_image), LOAM_OK);
    for (unsigned type = 0; type < LOAM_MEM_TYPES; type++) {
        const bool read_only = type == LOAM_MEM_ACPI_RECLAIMABLE || type == LOAM_MEM_ACPI_NVS ||
                               type == LOAM_MEM_RESERVED_MAPPED;
        expect_direct(MIB(type + 1),
                      attr(read_only ? LOAM_PROT_READ : LOAM_PROT_WRITE,
                           type == LOAM_MEM_FRAMEBUFFER ? LOAM_CACHE_WC : LOAM_CACHE_WB),
                      KIB(4));
    }
    expect_nothing(direct(0));
    expect_nothing(direct(MIB(LOAM_MEM_TYPES + 1)));
    world_check();
}

/* Only the types asked for; nothing of the others, nothing of the hole. */
static void other_types_and_holes_are_not_there(void **state)
{
    (void)state;
    for (unsigned only = 0; only < LOAM_MEM_TYPES; only++) {
        world_start((struct world_options){ .cpus = 1 });
        struct loam_memmap_entry entries[LOAM_MEM_TYPES];
        for (unsigned type = 0; type < LOAM_MEM_TYPES; type++)
            entries[type] = entry(MIB(2 * type), MIB(2 * type + 1), (enum loam_mem_type)type);
        assert_int_equal(build(entries, LOAM_MEM_TYPES, 1u << only, &no_image), LOAM_OK);
        for (unsigned type = 0; type < LOAM_MEM_TYPES; type++) {
            const enum machine_fault want = type == only ? MACHINE_OK : MACHINE_NOT_PRESENT;
            assert_int_equal(machine_access(0, direct(MIB(2 * type)), 0).fault, want);
            assert_int_equal(machine_access(0, direct(MIB(2 * type + 1) - 1), 0).fault, want);
            expect_nothing(direct(MIB(2 * type + 1)));
        }
    }
}

/*
 *   map    [usable      1 GiB .. 3.5 GiB + 6 MiB + 8 KiB )[reserved)
 *   pages  [1G    )[1G    )[2M 2M ...        )[4K 4K)
 */
static void pages_are_as_large_as_their_entry_allows(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    const uint64_t end = GIB(3) + MIB(518) + KIB(8);
    struct loam_memmap_entry entries[] = { entry(GIB(1), end, LOAM_MEM_USABLE),
                                           entry(end, GIB(4), LOAM_MEM_RESERVED) };
    assert_int_equal(build(entries, 2, COVERED, &no_image), LOAM_OK);
    expect_direct(GIB(1), RW, GIB(1));
    expect_direct(GIB(3) - 1, RW, GIB(1));
    expect_direct(GIB(3), RW, MIB(2));
    expect_direct(end - KIB(8) - 1, RW, MIB(2));
    expect_direct(end - KIB(8), RW, KIB(4));
    expect_direct(end - 1, RW, KIB(4));
    expect_nothing(direct(end));
    world_check();
}

/* Types alike in every attribute meet in mid-page: no page lies over the place. */
static void pages_never_cross_a_change_of_type(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    struct loam_memmap_entry entries[] = {
        entry(GIB(1), GIB(1) + MIB(3), LOAM_MEM_USABLE),
        entry(GIB(1) + MIB(3), GIB(3), LOAM_MEM_BOOT_RECLAIMABLE),
        entry(GIB(3), GIB(4), LOAM_MEM_USABLE),
    };
    assert_int_equal(build(entries, 3, COVERED, &no_image), LOAM_OK);
    expect_direct(GIB(1), RW, MIB(2));
    expect_direct(GIB(1) + MIB(3) - 1, RW, KIB(4));
    expect_direct(GIB(1) + MIB(3), RW, KIB(4));
    expect_direct(GIB(1) + MIB(4), RW, MIB(2));
    expect_direct(GIB(2), RW, GIB(1));
    expect_direct(GIB(3), RW, GIB(1));
    world_check();
}

/*
 * The tables lie at 18 TiB: at the host's addresses, that is with an offset in
 * the higher half. Memory below is shown there then, and global.
 */
static void pages_in_the_higher_half_are_global(void **state)
{
    (void)state;
    const uint64_t base = UINT64_C(0x120000000000);
    machine_reset(1);
    machine_set_base(base);
    const uint64_t offset = machine_hhdm().offset;
    if (offset >> 63 == 0)
        fail_msg("the host's window is not where this test needs it");
    machine_add_ram(base, PAGES(16));
    loam_stock_init(&stock, machine_hhdm(), NULL);
    loam_stock_add(&stock, loam_phys_range_of(loam_phys_at(base), PAGES(16)));
    const struct loam_cpu_features features = loam_cpu_identify();
    assert_int_equal(loam_space_init(&space, &stock, &features), LOAM_OK);
    assert_int_equal(loam_cpu_enter(&features, space.root), LOAM_OK);
    struct loam_memmap_entry entries[] = { entry(GIB(1), GIB(2), LOAM_MEM_USABLE),
                                           entry(GIB(3), GIB(3) + KIB(4), LOAM_MEM_FRAMEBUFFER),
                                           entry(GIB(4), GIB(4) + MIB(2), LOAM_MEM_ACPI_NVS) };
    const loam_mem_types types = COVERED | LOAM_MEM_BIT(LOAM_MEM_ACPI_NVS);
    assert_int_equal(build(entries, 3, types, &no_image), LOAM_OK);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(raw_entry(offset + entries[i].range.start.addr, NULL, NULL) & 0x100,
                         0x100);
    expect_direct(GIB(2) - 1, RW, GIB(1));
    expect_direct(GIB(3), attr(LOAM_PROT_WRITE, LOAM_CACHE_WC), KIB(4));
    expect_direct(GIB(4), RO, MIB(2));
    loam_x86_write_cr3(space.root.addr);
    assert_true(machine_tlb_holds(0, direct(GIB(1))));
    assert_null(loam_space_audit(&space));

    /* Its end is the end of the address space. */
    struct loam_memmap_entry last[] = { entry(0 - offset - GIB(1), 0 - offset, LOAM_MEM_USABLE) };
    assert_int_equal(build(last, 1, COVERED, &no_image), LOAM_OK);
    expect_direct(0 - offset - 1, RW, GIB(1));
    last[0] = entry(0 - offset, 0 - offset + KIB(4), LOAM_MEM_USABLE);
    assert_int_equal(build(last, 1, COVERED, &no_image), LOAM_INVALID);
    last[0] = entry(GIB(5), 0 - offset + KIB(4), LOAM_MEM_USABLE);
    assert_int_equal(build(last, 1, COVERED, &no_image), LOAM_INVALID);
    assert_string_equal(refusal.rule,
                        "directmap: memory ends above the direct map's half (physical)");
}

/* ---- the image ----------------------------------------------------------- */

/*
 *   map     [ executable 15 MiB .. 20 MiB                          )
 *   image          [text    )[rodata)[data   )
 *   direct  [ rw   )[ r      )[ r    )[ rw                         )
 */
static void text_and_rodata_have_no_writable_alias(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    const struct loam_image image = kernel_image();
    struct loam_memmap_entry entries[] = { entry(MIB(15), MIB(20), LOAM_MEM_EXECUTABLE) };
    assert_int_equal(build(entries, 1, COVERED, &image), LOAM_OK);
    const uint64_t text = MIB(16);
    const uint64_t rodata = text + MIB(2) + KIB(8);
    const uint64_t data = rodata + KIB(8);
    expect_direct(MIB(15), RW, KIB(4));
    expect_direct(text - 1, RW, KIB(4));
    expect_direct(text, RO, MIB(2));
    expect_direct(rodata - 1, RO, KIB(4));
    expect_direct(rodata, RO, KIB(4));
    expect_direct(data - 1, RO, KIB(4)); /* the page that rodata's last byte is in */
    expect_direct(data, RW, KIB(4));
    expect_direct(MIB(20) - 1, RW, KIB(4));

    expect_page(IMAGE, text, RX);
    assert_int_equal(page_size_at(IMAGE), MIB(2));
    expect_page(IMAGE + MIB(2), text + MIB(2), RX);
    expect_page(IMAGE + rodata - text, rodata, RO);
    expect_page(IMAGE + data - text, data, RW);
    expect_page(IMAGE + data - text + KIB(12) - 1, data + KIB(12) - 1, RW);
    expect_nothing(IMAGE - 1);
    expect_nothing(IMAGE + data - text + KIB(12));
    assert_int_equal(raw_entry(IMAGE, NULL, NULL) & 0x100, 0x100); /* global */
    assert_int_equal(raw_entry(IMAGE + data - text, NULL, NULL) & 0x100, 0x100);
    assert_int_equal(raw_entry(direct(data), NULL, NULL) & 0x100, 0); /* lower half here */
    world_check();
}

/* A section that spans two entries, one that begins before its entry, gaps. */
static void sections_are_cut_where_entries_end(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    struct loam_image image = kernel_image();
    image.section[2].virt = range(IMAGE + MIB(3), KIB(4)); /* a gap before data */
    struct loam_memmap_entry entries[] = {
        entry(MIB(16) + KIB(4), MIB(17), LOAM_MEM_EXECUTABLE),
        entry(MIB(17), MIB(18) + KIB(4), LOAM_MEM_USABLE),
        entry(MIB(18) + KIB(12), MIB(20), LOAM_MEM_EXECUTABLE),
    };
    assert_int_equal(build(entries, 3, COVERED, &image), LOAM_OK);
    expect_nothing(direct(MIB(16)));
    expect_direct(MIB(16) + KIB(4), RO, KIB(4));
    expect_direct(MIB(17), RO, KIB(4));
    expect_direct(MIB(18) + KIB(4) - 1, RO, KIB(4));
    expect_nothing(direct(MIB(18) + KIB(4)));
    expect_direct(MIB(18) + KIB(12), RO, KIB(4));
    expect_direct(MIB(18) + KIB(16), RW, KIB(4));
    expect_direct(MIB(19), RW, KIB(4));
    expect_page(IMAGE, MIB(16), RX); /* mapped as image all the same */
    world_check();
}

static void an_image_outside_the_covered_memory_has_no_alias(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    const struct loam_image image = kernel_image();
    struct loam_memmap_entry entries[] = { entry(MIB(15), MIB(20), LOAM_MEM_EXECUTABLE),
                                           entry(MIB(20), MIB(22), LOAM_MEM_USABLE) };
    assert_int_equal(build(entries, 2, LOAM_MEM_BIT(LOAM_MEM_USABLE), &image), LOAM_OK);
    expect_nothing(direct(MIB(16)));
    expect_page(IMAGE, MIB(16), RX);
    expect_direct(MIB(20), RW, MIB(2));
}

/* ---- entering it --------------------------------------------------------- */

/*
 *                    before enter              after
 *   direct map       NX is a reserved bit      fine
 *   framebuffer      whatever the PAT says     write-combining
 */
static void each_cpu_needs_nxe_and_pat_for_it(void **state)
{
    (void)state;
    world_start((struct world_options){ .cpus = 3 });
    struct loam_memmap_entry entries[] = { entry(GIB(1), GIB(2), LOAM_MEM_USABLE),
                                           entry(GIB(3), GIB(3) + MIB(4), LOAM_MEM_FRAMEBUFFER) };
    assert_int_equal(build(entries, 2, COVERED, &no_image), LOAM_OK);
    for (unsigned cpu = 0; cpu < 3; cpu++) { /* as the bootloader left it */
        machine_cpu(cpu)->efer &= ~LOAM_EFER_NXE;
        machine_cpu(cpu)->pat_msr = UINT64_C(0x0007040600070406);
        machine_tlb_clear(cpu);
        assert_int_equal(machine_access(cpu, direct(GIB(1)), MACHINE_READ).fault,
                         MACHINE_RESERVED_BIT);
        machine_cpu(cpu)->efer |= LOAM_EFER_NXE;
        assert_int_equal(machine_access(cpu, direct(GIB(3)), MACHINE_WRITE).type, MACHINE_WT);
    }
    for (unsigned cpu = 0; cpu < 3; cpu++) {
        machine_cpu(cpu)->efer &= ~LOAM_EFER_NXE;
        machine_set_cpu(cpu);
        assert_int_equal(loam_cpu_enter(&space.features, space.root), LOAM_OK);
        const struct machine_access fb = machine_access(cpu, direct(GIB(3)), MACHINE_WRITE);
        assert_int_equal(fb.fault, MACHINE_OK);
        assert_int_equal(fb.type, MACHINE_WC);
        assert_int_equal(machine_access(cpu, direct(GIB(1)), MACHINE_WRITE).type, MACHINE_WB);
        assert_int_equal(machine_access(cpu, direct(GIB(1)), MACHINE_EXEC).fault,
                         MACHINE_PROTECTION);
    }
}

/* ---- refusals ------------------------------------------------------------ */

static void memory_above_the_half_is_refused(void **state)
{
    (void)state;
    world_start((struct world_options){ .phys_bits = 52 });
    const uint64_t top = (UINT64_C(1) << 47) - machine_hhdm().offset;
    struct loam_memmap_entry last[] = { entry(top - GIB(1), top, LOAM_MEM_USABLE) };
    assert_int_equal(build(last, 1, COVERED, &no_image), LOAM_OK);
    const struct {
        uint64_t start, end;
    } rows[] = { { top, top + GIB(1) },
                 { top - KIB(4), top + KIB(4) },
                 { GIB(1), top + KIB(4) },
                 { UINT64_C(1) << 51, (UINT64_C(1) << 51) + KIB(4) },
                 { 0 - machine_hhdm().offset, 0 - machine_hhdm().offset + KIB(4) },
                 { KIB(4), 0 - KIB(4) },
                 { KIB(4), 0 - GIB(1) - machine_hhdm().offset } };
    for (size_t i = 0; i < COUNT(rows); i++) {
        world_start((struct world_options){ .phys_bits = 52 });
        struct loam_memmap_entry entries[] = { entry(rows[i].start, rows[i].end, LOAM_MEM_USABLE) };
        assert_int_equal(build(entries, 1, COVERED, &no_image), LOAM_INVALID);
        assert_string_equal(refusal.rule,
                            "directmap: memory ends above the direct map's half (physical)");
        assert_int_equal(refusal.have, rows[i].end);
        assert_int_equal(refusal.need, 0);
        world_check();
    }
}

static void build_names_what_stopped_it(void **state)
{
    (void)state;
    struct loam_memmap_entry entries[] = { entry(GIB(1), GIB(2), LOAM_MEM_USABLE) };
    const struct loam_image image = kernel_image();

    world_start((struct world_options){ .frames = 1 });
    assert_int_equal(build(entries, 1, COVERED, &no_image), LOAM_NO_MEMORY);
    assert_string_equal(refusal.rule, "directmap: no frame left for a page table at (virtual)");
    assert_int_equal(refusal.have, direct(GIB(1)));
    assert_int_equal(refusal.need, 0);
    const struct loam_memmap memmap = { .entry = entries, .entry_count = 1 };
    assert_int_equal(loam_directmap_build(&space, &memmap, COVERED, &no_image, NULL),
                     LOAM_NO_MEMORY);

    world_start((struct world_options){ 0 });
    assert_int_equal(map(direct(GIB(1)) + KIB(4), KIB(4), 0, RO), LOAM_OK);
    assert_int_equal(build(entries, 1, COVERED, &no_image), LOAM_OVERLAP);
    assert_string_equal(refusal.rule, "directmap: something else is mapped at (virtual)");
    assert_int_equal(refusal.have, direct(GIB(1)));
    assert_int_equal(refusal.need, 0);

    world_start((struct world_options){ 0 });
    assert_int_equal(map(IMAGE + KIB(4), KIB(4), 0, RO), LOAM_OK);
    assert_int_equal(build(entries, 1, COVERED, &image), LOAM_OVERLAP);
    assert_int_equal(refusal.have, IMAGE);

    world_start((struct world_options){ .phys_bits = 36 });
    entries[0] = entry(UINT64_C(1) << 36, (UINT64_C(1) << 36) + KIB(4), LOAM_MEM_USABLE);
    assert_int_equal(build(entries, 1, COVERED, &no_image), LOAM_INVALID);
    assert_string_equal(refusal.rule, "directmap: cannot be mapped at all (physical)");
    assert_int_equal(refusal.have, UINT64_C(1) << 36);
    assert_int_equal(refusal.need, direct(UINT64_C(1) << 36));
}

/* Whatever fails: the stock's frames are all in the space, none is lost. */
static void every_injected_failure_is_reported_and_loses_no_frame(void **state)
{
    (void)state;
    const struct loam_image image = kernel_image();
    INJECT_EACH_POINT
    {
        world_start((struct world_options){ 0 });
        struct loam_memmap_entry entries[] = { entry(MIB(15), MIB(20), LOAM_MEM_EXECUTABLE),
                                               entry(GIB(1), GIB(2), LOAM_MEM_USABLE) };
        INJECT_ARM();
        const enum loam_status st = build(entries, 2, COVERED, &image);
        INJECT_DISARM();
        assert_int_equal(st, inject_fired() ? LOAM_NO_MEMORY : LOAM_OK);
        world_check();
    }
}

static void expect_bad_image(const struct loam_image *image, const char *rule, uint64_t have,
                             uint64_t need)
{
    world_start((struct world_options){ 0 });
    refusal.rule = "";
    assert_int_equal(loam_image_check(image, &space.features, &refusal), LOAM_INVALID);
    assert_string_equal(refusal.rule, rule);
    assert_int_equal(refusal.have, have);
    assert_int_equal(refusal.need, need);
    assert_int_equal(loam_image_check(image, &space.features, NULL), LOAM_INVALID);
}

static void image_check_names_what_is_wrong(void **state)
{
    (void)state;
    const char *const unaligned = "image: base is not page-aligned";
    const char *const lower = "image: section is not in the higher half";
    const char *const size = "image: section is empty or passes 2^64";
    const char *const rights = "image: rights of a section are not WRITE, EXEC or neither";
    world_start((struct world_options){ 0 });
    struct loam_image image = kernel_image();
    assert_int_equal(loam_image_check(&image, &space.features, &refusal), LOAM_OK);
    assert_int_equal(loam_image_check(&no_image, &space.features, &refusal), LOAM_OK);

    for (unsigned i = 3; i < LOAM_IMAGE_SECTIONS_MAX; i++) {
        image.section[i].virt = range(IMAGE + MIB(i), KIB(4));
        image.section[i].prot = LOAM_PROT_READ;
    }
    image.section_count = LOAM_IMAGE_SECTIONS_MAX;
    assert_int_equal(loam_image_check(&image, &space.features, &refusal), LOAM_OK);
    assert_int_equal(loam_image_phys(&image).size, MIB(7) + KIB(4));
    image.section_count = LOAM_IMAGE_SECTIONS_MAX + 1;
    expect_bad_image(&image, "image: too many sections", 9, 8);
    image = kernel_image();
    image.phys_base.addr += 1;
    expect_bad_image(&image, unaligned, IMAGE | image.phys_base.addr, 0);
    image = kernel_image();
    image.virt_base.addr -= 0x800;
    expect_bad_image(&image, unaligned, image.virt_base.addr | MIB(16), 0);
    image = kernel_image();
    image.section[1].virt.start.addr += 0x10;
    expect_bad_image(&image, "image: section is not page-aligned", IMAGE + MIB(2) + KIB(8) + 0x10,
                     0);
    image = kernel_image();
    image.section[0].virt.start.addr = LOWER;
    expect_bad_image(&image, lower, LOWER, 0);
    image.section[0].virt.start.addr = UINT64_C(0xff00000000000000); /* with 5 levels only */
    expect_bad_image(&image, lower, UINT64_C(0xff00000000000000), 0);
    image = kernel_image();
    image.section[1].virt.size = 0;
    expect_bad_image(&image, size, 0, 0);
    image.section[2].virt.size = UINT64_C(0x80000000);
    image.section[1].virt.size = KIB(8);
    expect_bad_image(&image, size, UINT64_C(0x80000000), 0);
    image = kernel_image();
    const loam_prot bad[] = { LOAM_PROT_WRITE | LOAM_PROT_EXEC, LOAM_PROT_USER, LOAM_PROT_GLOBAL };
    for (unsigned i = 0; i < 3; i++) {
        image.section[1].prot = bad[i];
        expect_bad_image(&image, rights, bad[i], 0);
    }
}

static void image_check_names_what_is_misplaced(void **state)
{
    (void)state;
    const char *const shared = "image: sections share a page or do not ascend";
    const char *const above = "image: section ends above the CPU's physical addresses";
    struct loam_image image = kernel_image();
    const uint64_t rodata = image.section[1].virt.start.addr;
    image.section[0].virt.size += 1; /* one byte in rodata's first page */
    expect_bad_image(&image, shared, rodata, IMAGE);
    image = kernel_image();
    image.section[1] = image.section[0];
    expect_bad_image(&image, shared, IMAGE, IMAGE);
    image = kernel_image();
    image.section[1] = image.section[2];
    image.section[2] = kernel_image().section[1];
    expect_bad_image(&image, shared, rodata, rodata + KIB(8));
    image = kernel_image();
    image.virt_base.addr += KIB(4);
    expect_bad_image(&image, "image: section lies below the image's base", IMAGE, IMAGE + KIB(4));

    world_start((struct world_options){ 0 });
    const uint64_t limit = UINT64_C(1) << 46;
    const uint64_t size = MIB(2) + KIB(28);
    image = kernel_image();
    image.phys_base.addr = limit - size;
    assert_int_equal(loam_image_check(&image, &space.features, &refusal), LOAM_OK);
    image.phys_base.addr += KIB(4);
    expect_bad_image(&image, above, limit + KIB(4), limit);
    image.phys_base.addr = limit;
    expect_bad_image(&image, above, limit + MIB(2) + KIB(8), limit);
    image.phys_base.addr = 0 - KIB(4);
    expect_bad_image(&image, above, MIB(2) + KIB(4), limit);
    image.phys_base.addr = limit - KIB(4); /* the second section begins above it */
    image.section[0].virt.size = KIB(4);
    expect_bad_image(&image, above, limit - KIB(4) + size - KIB(12), limit);
    image.section[1].virt.start.addr = IMAGE + KIB(4); /* just there */
    image.section[1].virt.size = KIB(4);
    expect_bad_image(&image, above, limit + KIB(4), limit);
}

/* A section may reach the last byte of the address space. */
static void image_may_end_at_2_to_the_64(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    struct loam_image image = kernel_image();
    image.section[2].virt = range(0 - KIB(8), KIB(8));
    assert_int_equal(loam_image_check(&image, &space.features, &refusal), LOAM_OK);
    assert_int_equal(build(NULL, 0, COVERED, &image), LOAM_OK);
    expect_page(UINT64_MAX, MIB(16) + MIB(2048) - 1, RW);
    world_check();
}

static void image_phys_spans_all_sections(void **state)
{
    (void)state;
    const struct loam_image image = kernel_image();
    assert_int_equal(loam_image_phys(&image).start.addr, MIB(16));
    assert_int_equal(loam_image_phys(&image).size, MIB(2) + KIB(28));
    assert_int_equal(loam_image_phys(&no_image).size, 0);
    struct loam_image late = image; /* the base need not be a section's */
    late.section[0] = late.section[2];
    late.section_count = 1;
    assert_int_equal(loam_image_phys(&late).start.addr, MIB(18) + KIB(16));
    assert_int_equal(loam_image_phys(&late).size, KIB(12));
}

static void image_add_skips_empty_sections_and_stops_when_full(void **state)
{
    (void)state;
    static const char text[64];
    struct loam_image image = { .section_count = 0 };
    assert_true(loam_image_add(&image, text, text, LOAM_PROT_EXEC));
    assert_int_equal(image.section_count, 0);
    for (unsigned i = 0; i < LOAM_IMAGE_SECTIONS_MAX; i++)
        assert_true(loam_image_add(&image, text + i, text + 2 * i + 1, LOAM_PROT_READ));
    assert_int_equal(image.section[3].virt.start.addr, (uintptr_t)text + 3);
    assert_int_equal(image.section[3].virt.size, 4);
    assert_false(loam_image_add(&image, text, text + 1, LOAM_PROT_READ));
    assert_true(loam_image_add(&image, text, text, LOAM_PROT_READ));
    assert_int_equal(image.section_count, LOAM_IMAGE_SECTIONS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_has_its_rights_and_cache_type),
        cmocka_unit_test(other_types_and_holes_are_not_there),
        cmocka_unit_test(pages_are_as_large_as_their_entry_allows),
        cmocka_unit_test(pages_never_cross_a_change_of_type),
        cmocka_unit_test(pages_in_the_higher_half_are_global),
        cmocka_unit_test(text_and_rodata_have_no_writable_alias),
        cmocka_unit_test(sections_are_cut_where_entries_end),
        cmocka_unit_test(an_image_outside_the_covered_memory_has_no_alias),
        cmocka_unit_test(each_cpu_needs_nxe_and_pat_for_it),
        cmocka_unit_test(memory_above_the_half_is_refused),
        cmocka_unit_test(build_names_what_stopped_it),
        cmocka_unit_test(every_injected_failure_is_reported_and_loses_no_frame),
        cmocka_unit_test(image_check_names_what_is_wrong),
        cmocka_unit_test(image_check_names_what_is_misplaced),
        cmocka_unit_test(image_may_end_at_2_to_the_64),
        cmocka_unit_test(image_phys_spans_all_sections),
        cmocka_unit_test(image_add_skips_empty_sections_and_stops_when_full),
    };
    return RUN_TESTS(tests);
}
