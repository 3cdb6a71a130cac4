/*
 * tlb_model_test.c - random changes, flushes and switches against what the tables say.
 *
 * After each change and its flush, no CPU may get anywhere but where a walk without any
 * cache gets, in the space that it has loaded; whatever it loads later, too. Tables and
 * frames that are flushed belong to somebody else at once.
 */
#include "tlb_world.h"

#define STEPS       3000u
#define MODEL_PAGES 6u
#define SPACES      9u /* more than slots, with the kernel's */

static struct loam_tlb_batch batch;
static uint64_t next_page;

/* The higher half's pages are what one walks to: some are global, some not. */
static uint64_t random_entry(bool higher)
{
    if (test_random_below(3) == 0)
        return 0;
    next_page += LOAM_PAGE_SIZE;
    return next_page | PRESENT | (higher && test_random_below(2) == 0 ? G : 0);
}

static void expect_what_the_tables_say(void)
{
    for (unsigned cpu = 0; cpu < machine_cpu_count(); cpu++) {
        if (tlb.cpu[cpu].loaded == NULL)
            continue;
        for (unsigned i = 0; i < MODEL_PAGES; i++) {
            const uint64_t at[2] = { LOWER(i), HIGHER(i) };
            for (unsigned half = 0; half < 2; half++) {
                const uint64_t want = machine_probe(cpu, at[half], MACHINE_READ).phys;
                assert_int_equal(seen_by(cpu, at[half]), want);
            }
        }
    }
    world_check();
}

/* A last table moves: the old one is freed, and filled by its next owner. */
static uint64_t move_table(struct tree *tree)
{
    const uint64_t old = tree->last;
    const uint64_t place = new_table();
    memcpy(machine_ram(place), machine_ram(old), LOAM_PAGE_SIZE);
    tree->last = place;
    *entry_of(tree->middle, 1) = place | PRESENT;
    loam_tlb_batch_tables(&batch);
    return old;
}

static void reuse_table(uint64_t table)
{
    for (unsigned i = 0; i < MODEL_PAGES; i++)
        *entry_of(table, i) = POISON | PRESENT;
}

/* Change a page; tell the batch as the rules demand. */
static void change_page(struct loam_tlb_space *space, bool higher, unsigned i)
{
    const uint64_t table = higher ? world.shared.last : world.tree[space - world.space].last;
    uint64_t *const slot = entry_of(table, i);
    const uint64_t old = *slot;
    const uint64_t at = higher ? HIGHER(i) : LOWER(i);
    *slot = random_entry(higher);
    if ((old & 1) == 0)
        return; /* what is not present is not cached */
    if (higher && (old & G) != 0)
        loam_tlb_batch_add_global(&batch, pages_at(at, 1), LOAM_PAGE_SIZE);
    else
        loam_tlb_batch_add(&batch, pages_at(at, 1), LOAM_PAGE_SIZE);
}

/* A few pages, and perhaps a table, in one batch. */
static void random_change(void)
{
    struct loam_tlb_space *const space = &world.space[test_random_below(world.count)];
    const bool is_kernel = space == kernel_space();
    const bool moves =
        world.next_frame < RAM + (RAM_PAGES - 4) * LOAM_PAGE_SIZE && test_random_below(8) == 0;
    const bool higher = is_kernel && test_random_below(2) == 0;
    uint64_t freed = 0;
    loam_tlb_batch_begin(&batch, space);
    for (uint64_t n = test_random_below(4) + 1; n > 0; n--)
        change_page(space, higher, (unsigned)test_random_below(MODEL_PAGES));
    if (is_kernel && test_random_below(4) == 0)
        change_page(space, !higher, (unsigned)test_random_below(MODEL_PAGES));
    if (moves &&
        (batch.flush.range_count == 0 || (higher ? batch.flush.is_kernel : batch.is_lower)))
        freed = move_table(higher ? &world.shared : &world.tree[space - world.space]);
    if (test_random_below(16) == 0)
        loam_tlb_batch_full(&batch);
    loam_tlb_batch_flush(&batch);
    if (freed != 0)
        reuse_table(freed);
}

static void random_move(unsigned cpu)
{
    machine_set_cpu(cpu);
    if (tlb.cpu[cpu].loaded == NULL) {
        loam_tlb_online(&tlb);
        loam_x86_write_cr3(kernel_space()->root.addr);
    } else if (cpu != 0 && tlb.cpu[cpu].loaded == kernel_space() && test_random_below(4) == 0) {
        loam_tlb_offline(&tlb);
    } else {
        loam_tlb_switch(&tlb, &world.space[test_random_below(world.count)]);
    }
}

static void random_world(struct world_options options, unsigned steps)
{
    next_page = UINT64_C(0x10000000);
    world_start(options);
    for (unsigned i = 1; i < SPACES; i++)
        (void)add_space();
    for (unsigned step = 0; step < steps; step++) {
        const unsigned cpu = (unsigned)test_random_below(machine_cpu_count());
        if (test_random_below(2) == 0) {
            random_move(cpu);
        } else {
            machine_set_cpu(cpu);
            random_change();
        }
        expect_what_the_tables_say();
    }
}

static void cpus_see_what_the_tables_say(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 16; kind++) {
        const struct world_options options = {
            .cpus = 3,
            .no_pcid = (kind & 1) != 0,
            .no_invpcid = (kind & 2) != 0,
            .no_global_pages = (kind & 4) != 0,
            .invlpgb_pages = (kind & 8) != 0 ? 3 : 0,
        };
        random_world(options, STEPS);
    }
}

static void one_cpu_sees_what_the_tables_say(void **state)
{
    (void)state;
    random_world((struct world_options){ .cpus = 1 }, STEPS);
    assert_int_equal(machine_flush_count(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cpus_see_what_the_tables_say),
        cmocka_unit_test(one_cpu_sees_what_the_tables_say),
    };
    return RUN_TESTS(tests);
}
