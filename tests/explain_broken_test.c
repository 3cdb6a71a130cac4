/*
 * explain_broken_test.c - reports of faults on a machine that is broken: held locks,
 * damaged trees, garbage in page tables.
 */
#include "explain_world.h"

static void locks_that_are_held_are_not_waited_for(void **state)
{
    (void)state;
    named_machine();
    const uint64_t at = range_of(1, "a");
    map_at(at, 0x1000, take(1), LOAM_PROT_READ);
    loam_ticketlock_acquire(&vrange.lock);
    loam_ticketlock_acquire(&mm.usage.lock);
    for (unsigned i = 0; i < LOAM_SPACE_STRIPES; i++)
        loam_ticketlock_acquire(&mm.space.locks.stripe[i].lock);
    EXPECT_SAID(at, 3, "  where: the vrange was not asked, it is being changed\n");
    expect_words(paper, "  owner: not asked, the usage map is being changed\n");
    expect_words(paper, "why: the page is read-only");
    expect_no_words(paper, "where: unnamed");
    for (unsigned i = 0; i < LOAM_SPACE_STRIPES; i++)
        loam_ticketlock_release(&mm.space.locks.stripe[i].lock);
    loam_ticketlock_release(&mm.usage.lock);
    loam_ticketlock_release(&vrange.lock);
    EXPECT_SAID(at, 3, "  where: range a from");
    expect_words(paper, "owner: kernel");
    assert_true(loam_ticketlock_try(&vrange.lock) && loam_ticketlock_try(&mm.usage.lock));
}

static void trees_that_are_broken_are_not_followed(void **state)
{
    (void)state;
    named_machine();
    const uint64_t at = range_of(1, "a");
    map_at(at, 0x1000, take(1), LOAM_PROT_READ);
    struct loam_vrange_record *const root = vrange.window[0].root;
    const uint64_t bad[] = { 8, direct(GIB(2)), UINT64_MAX - 15, direct(MIB(2)) + 4 };
    for (unsigned i = 0; i < 4; i++) {
        vrange.window[0].root = (struct loam_vrange_record *)(uintptr_t)bad[i];
        EXPECT_SAID(at, 3, "  where: the vrange was not asked, its tree is broken\n");
    }
    vrange.window[0].root = root;
    root->left = root->right = root; /* no end */
    EXPECT_SAID(at, 3, "  where: the vrange was not asked, its tree is broken\n");

    const loam_phys usage_root = mm.usage.root;
    const uint64_t height = mm.usage.height;
    mm.usage.root.addr = GIB(2);
    EXPECT_SAID(at, 3, "  owner: not asked, the usage map is broken\n");
    mm.usage.root.addr = usage_root.addr + 4;
    EXPECT_SAID(at, 3, "  owner: not asked, the usage map is broken\n");
    mm.usage.root = usage_root;
    mm.usage.height = 13;
    EXPECT_SAID(at, 3, "  owner: not asked, the usage map is broken\n");
    mm.usage.height = height;
    mm.usage.root = loam_phys_none();
    EXPECT_SAID(at, 3, "  owner: nobody");
    names.usage = NULL;
    expect_no_words(explained(fault_at(at, 3)), "owner");
}

/* A map of two levels, whose parts point anywhere. */
static void nodes_that_point_anywhere_are_not_followed(void **state)
{
    (void)state;
    named_machine();
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(loam_usage_insert(&mm.usage,
                                           loam_phys_range_of(loam_phys_at(GIB(100 + i)), 0x1000),
                                           LOAM_OWNER_BAD),
                         LOAM_OK);
    assert_true(mm.usage.height == 1);
    for (unsigned i = 0; i < 100; i++) {
        EXPECT_SAID(direct(GIB(100 + i)), 0, "  owner: bad, 0x");
        EXPECT_SAID(direct(GIB(100 + i) + 0x1000), 0, "  owner: nobody");
    }
    uint64_t *const root = machine_ram(mm.usage.root.addr);
    uint64_t saved[512];
    const unsigned words = (unsigned)((LOAM_PAGE_SIZE - mm.usage.root.addr % LOAM_PAGE_SIZE) / 8);
    memcpy(saved, root, words * 8);
    for (unsigned round = 0; round < 500; round++) {
        for (unsigned i = 0; i < words; i++)
            root[i] = round == 0 ? 0 : test_random() >> test_random_below(64);
        expect_words(explained(fault_at(direct(GIB(150)), 0)), "  owner: ");
    }
    memset(root, 0, words * 8);
    EXPECT_SAID(direct(GIB(150)), 0, "  owner: not asked, the usage map is broken\n");
    memcpy(root, saved, words * 8);
    EXPECT_SAID(direct(GIB(150)), 0, "  owner: bad, 0x");
}

/* The processor and what is known of it: without one feature, or with five levels. */
static void poorer_machine(unsigned which)
{
    struct machine_cpu *const cpu = machine_cpu(0);
    struct loam_cpu_features *const features = &mm.space.features;
    if (which == 1) {
        cpu->efer &= ~UINT64_C(0x800);
        features->nx = false;
    } else if (which == 2) {
        cpu->gib_pages = features->gib_pages = false;
    } else if (which == 3) {
        cpu->pat = features->pat = false;
    } else if (which == 4) {
        machine_set_levels(5);
        features->levels = 5;
    }
}

/* Whatever the tables hold, and whatever is asked: it returns, and says what the
 * processor would do. */
static void garbage_in_tables_is_read_as_the_processor_reads_it(void **state)
{
    static const struct {
        unsigned kind;
        uint64_t error;
    } kinds[] = {
        { MACHINE_READ, 0 },
        { MACHINE_WRITE, 2 },
        { MACHINE_EXEC, 0x10 },
        { MACHINE_READ | MACHINE_USER, 4 },
        { MACHINE_WRITE | MACHINE_USER, 6 },
        { MACHINE_EXEC | MACHINE_USER, 0x14 },
    };
    unsigned met[8] = { 0 }, unmanaged = 0;

    (void)state;
    for (unsigned round = 0; round < 6; round++) {
        named_machine();
        poorer_machine(round);
        uint64_t tables[8];
        for (unsigned i = 0; i < 8; i++)
            tables[i] = take(1);
        for (unsigned i = 0; i < 8 * 512; i++) {
            uint64_t entry = tables[test_random_below(8)] | (test_random() & 0xfff);
            if (test_random_below(8) != 0)
                entry |= 0x1;
            if (test_random_below(4) != 0)
                entry &= ~UINT64_C(0x80);
            if (test_random_below(6) == 0)
                entry ^= UINT64_C(1) << test_random_below(64);
            if (test_random_below(16) == 0)
                entry = test_random();
            *(uint64_t *)machine_ram(tables[i / 512] + i % 512 * 8) = entry;
        }
        machine_cpu(0)->cr3 = tables[0];
        for (unsigned i = 0; i < 20000; i++) {
            uint64_t at = test_random();
            if (test_random_below(16) != 0)
                at = (uint64_t)((int64_t)(at << (round == 4 ? 7 : 16)) >> (round == 4 ? 7 : 16));
            const unsigned k = (unsigned)test_random_below(6);
            struct loam_fault fault = fault_at(at, kinds[k].error);
            fault.root = loam_phys_at(tables[0]);
            const enum machine_fault want = machine_probe(0, at, kinds[k].kind).fault;
            if (want == MACHINE_PROTECTION)
                fault.error |= LOAM_FAULT_PRESENT;
            const enum loam_fault_cause said = loam_explain_cause(&names, &fault, NULL);
            if (said == LOAM_FAULT_BY_TABLE) /* RAM that is not managed is not read */
                assert_true(want == MACHINE_BUS || unmanaged++ < 100);
            else if (said == LOAM_FAULT_BY_ADDRESS)
                assert_int_equal(want, MACHINE_NOT_CANONICAL);
            else if (said == LOAM_FAULT_BY_ABSENCE)
                assert_int_equal(want, MACHINE_NOT_PRESENT);
            else if (said == LOAM_FAULT_BY_FORMAT)
                assert_int_equal(want, MACHINE_RESERVED_BIT);
            else if (said == LOAM_FAULT_BY_NOTHING)
                assert_int_equal(want, MACHINE_OK);
            else
                assert_int_equal(want, MACHINE_PROTECTION);
            met[want]++;
            if (i % 50 == 0) {
                fault.error |= test_random() & 0x807f;
                expect_words(explained(fault), "  why: ");
            }
        }
    }
    for (unsigned i = 0; i <= MACHINE_BUS; i++)
        assert_true(met[i] > 100);
}

int main(void)
{
    const struct CMUnitTest broken_tests[] = {
        cmocka_unit_test(locks_that_are_held_are_not_waited_for),
        cmocka_unit_test(trees_that_are_broken_are_not_followed),
        cmocka_unit_test(nodes_that_point_anywhere_are_not_followed),
        cmocka_unit_test(garbage_in_tables_is_read_as_the_processor_reads_it),
    };
    return RUN_TESTS(broken_tests);
}
