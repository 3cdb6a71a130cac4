/*
 * books_tables_test.c - changes of page tables get as many spare tables as they need,
 * whichever space is changed: loam_more_tables(). Those of mm->space alone are in
 * books_test.c.
 */
#include "loam_world.h"

#define PIECES 40u

static const struct loam_attr user = { LOAM_PROT_WRITE | LOAM_PROT_USER, LOAM_CACHE_WB };
static struct loam_space parent, child;

static enum loam_status create(struct loam_space *space)
{
    enum loam_status st;
    uint64_t more = 0;
    do
        st = loam_space_create(space, &mm.space);
    while (loam_more_tables(&mm, st, &more));
    return st;
}

static enum loam_status map(struct loam_space *space, struct loam_virt_range virt, uint64_t phys)
{
    enum loam_status st;
    uint64_t more = 0;
    do
        st = loam_space_map(space, virt, loam_phys_at(phys), user);
    while (loam_more_tables(&mm, st, &more));
    return st;
}

static enum loam_status clone(struct loam_space *to, struct loam_space *from)
{
    enum loam_status st;
    uint64_t more = 0;
    do
        st = loam_space_clone(to, from);
    while (loam_more_tables(&mm, st, &more));
    return st;
}

static enum loam_status protect(struct loam_space_batch *batch, struct loam_virt_range virt)
{
    enum loam_status st;
    uint64_t more = 0;
    do
        st = loam_space_batch_protect(batch, virt,
                                      (struct loam_attr){ LOAM_PROT_USER, LOAM_CACHE_WB });
    while (loam_more_tables(&mm, st, &more));
    return st;
}

/* As many spare tables as there should be, if there is memory: not fewer. */
static void fill_stock(void)
{
    uint64_t more = 0;
    while (loam_more_tables(&mm, LOAM_NO_MEMORY, &more))
        ;
}

static void destroy(struct loam_space *space)
{
    uint64_t more = 0;
    assert_int_equal(loam_space_destroy(space), LOAM_OK);
    assert_false(loam_more_tables(&mm, LOAM_OK, &more));
    assert_in_range(mm.tables.frame_count, 1, LOAM_SPARE_TABLES);
    fill_stock();
}

/* All tables that are out belong to one of the spaces. */
static void expect_tables_of(uint64_t other_count)
{
    assert_int_equal(mm.tables.out_count, mm.space.table_count + other_count);
    assert_int_equal(total(LOAM_OWNER_PAGE_TABLES),
                     (mm.tables.out_count + mm.tables.frame_count) * LOAM_PAGE_SIZE);
    assert_in_range(mm.tables.frame_count, 0, LOAM_SPARE_TABLES);
}

/*
 *   parent   [.]     [.]     [.]     ...   a page in each of 40 GiB-sized pieces
 *   child    [.]     [.]     [.]     ...   cloned: as many tables at once
 */
static void spaces_get_the_tables_that_the_stock_has_not(void **state)
{
    (void)state;
    small_machine(1);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    const uint64_t usable = total(LOAM_OWNER_USABLE);
    const uint64_t before = loam_space_digest(&mm.space);
    assert_int_equal(create(&parent), LOAM_OK);
    assert_int_equal(create(&child), LOAM_OK);
    for (uint64_t i = 0; i < PIECES; i++) {
        const struct loam_virt_range virt = { { GIB(1) * i + 0xdead000 }, KIB(4) };
        assert_int_equal(map(&parent, virt, MIB(3)), LOAM_OK);
    }
    assert_in_range(parent.table_count, 2 * PIECES + 2, 2 * PIECES + 3);
    expect_tables_of(parent.table_count + 1);
    assert_int_equal(clone(&child, &parent), LOAM_OK);
    assert_int_equal(child.table_count, parent.table_count);
    assert_null(loam_space_audit(&parent));
    assert_null(loam_space_audit(&child));
    destroy(&child);
    expect_tables_of(parent.table_count);
    destroy(&parent);
    expect_tables_of(0);
    assert_int_equal(total(LOAM_OWNER_USABLE), usable);
    assert_int_equal(loam_space_digest(&mm.space), before);
    assert_null(loam_audit(&mm));
}

/* One large page in each of 40 pieces; one small page out of each is made read-only. */
static void a_batch_gets_tables_while_it_is_open(void **state)
{
    struct loam_space_batch batch;
    (void)state;
    small_machine(1);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    const uint64_t usable = total(LOAM_OWNER_USABLE);
    assert_int_equal(create(&parent), LOAM_OK);
    for (uint64_t i = 0; i < PIECES; i++) {
        const struct loam_virt_range virt = { { GIB(1) * i }, MIB(2) };
        assert_int_equal(map(&parent, virt, MIB(4)), LOAM_OK);
    }
    const uint64_t tables = parent.table_count;
    loam_space_batch_begin(&batch, &parent);
    for (uint64_t i = 0; i < PIECES; i++) {
        const struct loam_virt_range virt = { { GIB(1) * i + KIB(4) }, KIB(4) };
        assert_int_equal(protect(&batch, virt), LOAM_OK);
    }
    loam_space_batch_finish(&batch);
    assert_int_equal(parent.table_count, tables + PIECES);
    expect_tables_of(parent.table_count);
    destroy(&parent);
    assert_int_equal(total(LOAM_OWNER_USABLE), usable);
    assert_null(loam_audit(&mm));
}

/* 1 MiB of memory, and a parent that has more than half of it in tables. */
static void a_clone_that_cannot_have_its_tables_changes_nothing(void **state)
{
    (void)state;
    power_on(1);
    add(MIB(1), MIB(2), LOAM_MEM_USABLE);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    const uint64_t usable = total(LOAM_OWNER_USABLE);
    assert_int_equal(create(&parent), LOAM_OK);
    assert_int_equal(create(&child), LOAM_OK);
    uint64_t count = 0;
    for (struct loam_virt_range virt = { { 0 }, KIB(4) };; virt.start.addr += MIB(2), count++) {
        fill_stock();
        const uint64_t before = loam_space_digest(&parent), all = loam_digest(&mm);
        const enum loam_status st = map(&parent, virt, MIB(3));
        if (st == LOAM_OK)
            continue;
        assert_int_equal(st, LOAM_NO_MEMORY);
        assert_int_equal(loam_space_digest(&parent), before);
        assert_int_equal(loam_digest(&mm), all);
        break;
    }
    assert_in_range(count, 16, 511);
    fill_stock();
    const uint64_t parent_before = loam_space_digest(&parent), all = loam_digest(&mm);
    const uint64_t child_before = loam_space_digest(&child);
    assert_int_equal(clone(&child, &parent), LOAM_NO_MEMORY);
    assert_int_equal(loam_space_digest(&parent), parent_before);
    assert_int_equal(loam_space_digest(&child), child_before);
    assert_int_equal(loam_digest(&mm), all);
    destroy(&child);
    destroy(&parent);
    assert_int_equal(total(LOAM_OWNER_USABLE), usable);
    assert_null(loam_audit(&mm));
}

/* Whichever step fails: all of the clone is there, or nothing. */
static void a_clone_survives_every_failure(void **state)
{
    unsigned failures = 0;
    (void)state;
    INJECT_EACH_POINT
    {
        small_machine(1);
        assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
        assert_int_equal(create(&parent), LOAM_OK);
        assert_int_equal(create(&child), LOAM_OK);
        for (uint64_t i = 0; i < PIECES; i++) {
            const struct loam_virt_range virt = { { GIB(1) * i }, KIB(4) };
            assert_int_equal(map(&parent, virt, MIB(3)), LOAM_OK);
        }
        const uint64_t before = loam_space_digest(&parent), none = loam_space_digest(&child);
        INJECT_ARM();
        const enum loam_status st = clone(&child, &parent);
        INJECT_DISARM();
        assert_int_equal(loam_space_digest(&child) == none, st != LOAM_OK);
        assert_int_equal(loam_space_digest(&parent) == before, st != LOAM_OK);
        failures += st != LOAM_OK;
        assert_int_equal(loam_space_destroy(&child), LOAM_OK);
        assert_int_equal(loam_space_destroy(&parent), LOAM_OK);
        assert_null(loam_audit(&mm));
    }
    assert_in_range(failures, 1, 100);
}

/* A change that fails whatever it gets: it has had all memory, and it is all back. */
static void attempts_end_when_there_is_no_memory_left(void **state)
{
    uint64_t more = 0, calls = 0, most = 0;
    (void)state;
    small_machine(1);
    assert_false(loam_more_tables(&mm, LOAM_NO_MEMORY, &more)); /* before loam_init() */
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    const uint64_t before = loam_digest(&mm);
    more = 0;
    while (loam_more_tables(&mm, LOAM_NO_MEMORY, &more)) {
        most = mm.tables.frame_count;
        calls++;
    }
    assert_in_range(calls, 8, 16);
    assert_true(most * LOAM_PAGE_SIZE > MIB(50));
    assert_int_equal(loam_digest(&mm), before);
    assert_null(loam_audit(&mm));
    more = 0;
    assert_true(loam_more_tables(&mm, LOAM_NO_MEMORY, &more));
    assert_int_equal(mm.tables.frame_count, 2 * LOAM_SPARE_TABLES);
    assert_true(loam_more_tables(&mm, LOAM_NO_MEMORY, &more));
    assert_int_equal(mm.tables.frame_count, 4 * LOAM_SPARE_TABLES);
    assert_false(loam_more_tables(&mm, LOAM_OVERLAP, &more));
    assert_int_equal(loam_digest(&mm), before);
    more = UINT64_MAX / 2; /* more tables than any machine has frames */
    assert_false(loam_more_tables(&mm, LOAM_NO_MEMORY, &more));
    assert_int_equal(loam_digest(&mm), before);
}

/* Tables of a space that lives are charged, too. */
static void audit_counts_the_tables_of_all_spaces(void **state)
{
    (void)state;
    small_machine(1);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    assert_int_equal(create(&parent), LOAM_OK);
    assert_int_equal(create(&child), LOAM_OK);
    assert_int_equal(map(&child, loam_virt_range_of(loam_virt_at(GIB(1)), KIB(4)), GIB(70)),
                     LOAM_OK);
    assert_null(loam_audit(&mm));
    assert_int_equal(loam_space_destroy(&child), LOAM_OK);
    assert_null(loam_audit(&mm));
    assert_int_equal(loam_space_destroy(&parent), LOAM_OK);
    assert_null(loam_audit(&mm));
}

/* Free memory, and tables that could be written to, are nobody's: checked builds say so. */
static void map_P16_P17_of_free_frames_and_of_page_tables_is_refused(void **state)
{
    const struct loam_attr rw = { LOAM_PROT_WRITE, LOAM_CACHE_WB };
    const struct loam_attr ro = { LOAM_PROT_READ, LOAM_CACHE_WB };
    const struct loam_virt_range virt = { { GIB(20) }, KIB(4) };
    const struct loam_phys_range unused = loam_phys_range_of(loam_phys_at(MIB(3)), KIB(4));
    struct loam_entry entry;
    (void)state;
    small_machine(1);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    const uint64_t before = loam_digest(&mm);
    assert_int_equal(loam_frame_free_in(&mm.frame, unused), 1);
    assert_int_equal(loam_map(&mm, virt, unused.start, ro), LOAM_INVALID);
    assert_int_equal(
        loam_space_entry(&mm.space, loam_hhdm_virt(mm.space.hhdm, unused.start), &entry), LOAM_OK);
    const loam_phys tables[] = { mm.space.root, { loam_page_floor(entry.where.addr) } };
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(loam_map(&mm, virt, tables[i], rw), LOAM_INVALID);
        assert_int_equal(loam_digest(&mm), before);
        assert_int_equal(loam_map(&mm, virt, tables[i], ro), LOAM_OK);
        assert_int_equal(loam_unmap(&mm, virt), LOAM_OK);
    }
    assert_null(loam_audit(&mm));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(audit_counts_the_tables_of_all_spaces),
        cmocka_unit_test(map_P16_P17_of_free_frames_and_of_page_tables_is_refused),
        cmocka_unit_test(spaces_get_the_tables_that_the_stock_has_not),
        cmocka_unit_test(a_batch_gets_tables_while_it_is_open),
        cmocka_unit_test(a_clone_that_cannot_have_its_tables_changes_nothing),
        cmocka_unit_test(a_clone_survives_every_failure),
        cmocka_unit_test(attempts_end_when_there_is_no_memory_left),
    };
    return RUN_TESTS(tests);
}
