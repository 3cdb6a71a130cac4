/*
 * loam_test.c - the layers together: bring-up, malloc family, audit. What is refused
 * is in loam_refusal_test.c.
 */
#include "loam_world.h"

#include <loam/x86.h>

static void init_charges_every_byte_to_one_owner(void **state)
{
    (void)state;
    small_machine(1);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    assert_null(loam_audit(&mm));
    assert_int_equal(mm.heap_range.size, MIB(4));
    assert_int_equal(total(LOAM_OWNER_HEAP), MIB(4));
    assert_int_equal(total(LOAM_OWNER_EXECUTABLE), KIB(256));
    assert_int_equal(total(LOAM_OWNER_BOOTLOADER), KIB(768));
    assert_int_equal(total(LOAM_OWNER_FRAMEBUFFER), MIB(4));
    assert_int_equal(total(LOAM_OWNER_RESERVED), KIB(388) + GIB(12) + KIB(4)); /* frame 0 too */
    assert_int_equal(total(LOAM_OWNER_USABLE) + total(LOAM_OWNER_HEAP) +
                         total(LOAM_OWNER_PAGE_TABLES) + total(LOAM_OWNER_METADATA),
                     KIB(632) + MIB(62));
    assert_int_equal(total(LOAM_OWNER_PAGE_TABLES),
                     (mm.space.table_count + mm.tables.frame_count) * LOAM_PAGE_SIZE);
}

static void init_builds_the_direct_map_and_the_image(void **state)
{
    struct loam_translation at;
    (void)state;
    small_machine(1);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);

    assert_int_equal(loam_space_query(&mm.space, loam_virt_at(IMAGE_VIRT + 0x123), &at), LOAM_OK);
    assert_int_equal(at.phys.addr, MIB(1) + 0x123);
    assert_true((at.attr.prot & LOAM_PROT_EXEC) != 0 && (at.attr.prot & LOAM_PROT_WRITE) == 0);

    const loam_virt alias = loam_hhdm_virt(boot.hhdm, loam_phys_at(MIB(1)));
    assert_int_equal(loam_space_query(&mm.space, alias, &at), LOAM_OK);
    assert_true((at.attr.prot & (LOAM_PROT_EXEC | LOAM_PROT_WRITE)) == 0);

    const loam_virt fb = loam_hhdm_virt(boot.hhdm, loam_phys_at(GIB(3)));
    assert_int_equal(loam_space_query(&mm.space, fb, &at), LOAM_OK);
    assert_int_equal(at.attr.cache, LOAM_CACHE_WC);

    const loam_virt hole = loam_hhdm_virt(boot.hhdm, loam_phys_at(MIB(64)));
    assert_int_equal(loam_space_query(&mm.space, hole, &at), LOAM_NOT_FOUND);
    const loam_virt reserved = loam_hhdm_virt(boot.hhdm, loam_phys_at(KIB(700)));
    assert_int_equal(loam_space_query(&mm.space, reserved, &at), LOAM_NOT_FOUND);
}

static void enter_moves_each_cpu_onto_the_tables(void **state)
{
    (void)state;
    small_machine(3);
    assert_int_equal(loam_enter(&mm), LOAM_STATE);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    for (unsigned cpu = 0; cpu < 3; cpu++) {
        machine_set_cpu(cpu);
        assert_int_equal(loam_enter(&mm), LOAM_OK);
        assert_int_equal(loam_x86_read_cr3(), mm.space.root.addr);
    }
    machine_set_cpu(0);
}

/* ---- malloc family ------------------------------------------------------- */

static void malloc_family_serves_from_the_heap(void **state)
{
    (void)state;
    small_machine(1);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    unsigned char *a = loam_malloc(&mm, 100);
    uint64_t *b = loam_calloc(&mm, 10, 8);
    void *c = loam_aligned_alloc(&mm, 4096, 10);
    assert_non_null(a);
    assert_non_null(b);
    assert_int_equal((uintptr_t)c % 4096, 0);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(b[i], 0);
    const unsigned char *heap = machine_ram(mm.heap_range.start.addr);
    assert_in_range((uintptr_t)a, (uintptr_t)heap, (uintptr_t)heap + MIB(4) - 100);
    memset(a, 0x77, 100);
    a = loam_realloc(&mm, a, 5000);
    assert_non_null(a);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(a[i], 0x77);
    assert_null(loam_calloc(&mm, SIZE_MAX / 2, 4));
    assert_null(loam_malloc(&mm, MIB(8)));
    assert_null(loam_realloc(&mm, a, MIB(8)));
    assert_null(loam_aligned_alloc(&mm, 24, 8));
    loam_free_sized(&mm, a, 5000);
    loam_free(&mm, b);
    loam_free(&mm, c);
    struct loam_freelist_stats stats;
    loam_freelist_measure(&mm.heap, &stats);
    assert_int_equal(stats.used_count, 0);
    assert_int_equal(stats.free_count, 1);
    assert_null(loam_audit(&mm));
}

/* ---- the audit sees what is wrong ---------------------------------------- */

static void audit_notices_books_that_do_not_add_up(void **state)
{
    (void)state;
    small_machine(1);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    mm.tables.out_count++;
    assert_string_equal(loam_audit(&mm),
                        "loam: frames out of the table stock are not the tables in the tree");
    mm.tables.out_count--;
    mm.nodes.out_count++;
    assert_string_equal(loam_audit(&mm),
                        "loam: frames out of the node stock are not the nodes of the usage map");
    mm.nodes.out_count--;
    mm.heap_range.size += KIB(4);
    assert_string_equal(loam_audit(&mm), "loam: the heap's span is not what is charged to it");
    mm.heap_range.size -= KIB(4);

    struct loam_interval interval;
    assert_true(loam_usage_lookup(&mm.usage, mm.space.root, &interval));
    const struct loam_phys_range root = { mm.space.root, KIB(4) };
    assert_int_equal(loam_usage_overwrite(&mm.usage, root, LOAM_OWNER_KERNEL), LOAM_OK);
    assert_string_equal(loam_audit(&mm),
                        "loam: page tables and their spare frames are not what is charged to them");
    assert_int_equal(loam_usage_overwrite(&mm.usage, root, LOAM_OWNER_PAGE_TABLES), LOAM_OK);
    const struct loam_phys_range node = { mm.nodes.first, KIB(4) };
    assert_int_equal(loam_usage_overwrite(&mm.usage, node, LOAM_OWNER_KERNEL), LOAM_OK);
    assert_string_equal(loam_audit(&mm),
                        "loam: usage nodes and their spare frames are not what is charged to them");
    assert_int_equal(loam_usage_overwrite(&mm.usage, node, LOAM_OWNER_METADATA), LOAM_OK);
    assert_null(loam_audit(&mm));
}

/* One wrong number in each layer: the audit names the layer, the digest differs. */
static void audit_and_digest_reach_every_layer(void **state)
{
    (void)state;
    small_machine(1);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    const struct {
        uint64_t *number;
        const char *layer;
    } parts[] = {
        { &mm.memmap.total_bytes[LOAM_MEM_USABLE], "memmap: " },
        { &mm.early.taken_pages, "early: " },
        { &mm.tables.frame_count, "stock: " },
        { &mm.nodes.frame_count, "stock: " },
        { &mm.usage.total_bytes[LOAM_OWNER_HEAP], "usage: " },
        { &mm.space.table_count, "paging: " },
        { &mm.heap.used_bytes, "freelist: " },
    };
    const uint64_t before = loam_digest(&mm);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        (*parts[i].number)++;
        const char *broken = loam_audit(&mm);
        assert_non_null(broken);
        assert_memory_equal(broken, parts[i].layer, strlen(parts[i].layer));
        assert_int_not_equal(loam_digest(&mm), before);
        (*parts[i].number)--;
        assert_null(loam_audit(&mm));
        assert_int_equal(loam_digest(&mm), before);
    }
    mm.reclaimed = true;
    assert_int_not_equal(loam_digest(&mm), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(init_charges_every_byte_to_one_owner),
        cmocka_unit_test(init_builds_the_direct_map_and_the_image),
        cmocka_unit_test(enter_moves_each_cpu_onto_the_tables),
        cmocka_unit_test(malloc_family_serves_from_the_heap),
        cmocka_unit_test(audit_and_digest_reach_every_layer),
        cmocka_unit_test(audit_notices_books_that_do_not_add_up),
    };
    return RUN_TESTS(tests);
}
