/*
 * books_thread_test.c - all that moves memory between owners, from several CPUs at once;
 * frames change hands in between and are given back by whoever has them. In the end the
 * books add up to the frame. Rows F15 and F28 of the bad-input list.
 */
#include "loam_world.h"

#include <pthread.h>
#include <stdatomic.h>

#define THREADS 4u
#define STEPS   2500u
#define SHELVES 64u
#define BULK    40u

/* Frames that somebody put there and anybody may take: address + order + owner * 16. */
static _Atomic uint64_t shelf[SHELVES];
static _Atomic bool is_over;

struct worker {
    unsigned cpu;
    uint64_t seed;
    struct loam_phys_range range; /* size 0: none */
    const char *broken;
};

static uint64_t draw(struct worker *self, uint64_t bound)
{
    self->seed ^= self->seed << 13;
    self->seed ^= self->seed >> 7;
    self->seed ^= self->seed << 17;
    return self->seed % bound;
}

static const enum loam_owner owners[] = { LOAM_OWNER_KERNEL, LOAM_OWNER_FRAMEBUFFER,
                                          LOAM_OWNER_EXECUTABLE };

static void give_word(uint64_t word)
{
    if (word != 0)
        loam_give_frames(&mm, loam_phys_at(loam_page_floor(word)), (unsigned)(word % 16),
                         (enum loam_owner)(word / 16 % 16));
}

/* Take a block and put it on a shelf; what is there already goes back, whosever it was. */
static void step_frames(struct worker *self)
{
    const unsigned order = (unsigned)draw(self, 5);
    const enum loam_owner owner = owners[draw(self, 3)];
    const loam_phys block = loam_take_frames(&mm, order, LOAM_ZONE_ANY, owner);
    if (loam_phys_is_none(block))
        return;
    memset(machine_ram(block.addr), (int)self->cpu, loam_order_bytes(order));
    const uint64_t word = block.addr + order + (uint64_t)owner * 16;
    give_word(atomic_exchange(&shelf[draw(self, SHELVES)], word));
}

static void step_bulk(struct worker *self)
{
    loam_phys frame[BULK];
    const enum loam_owner owner = owners[draw(self, 3)];
    const size_t taken = loam_take_bulk(&mm, LOAM_ZONE_4G, owner, frame, draw(self, BULK + 1));
    for (size_t i = 0; i < taken; i++)
        memset(machine_ram(frame[i].addr), (int)self->cpu, 64);
    for (size_t i = 0; i < taken; i++)
        if (*(unsigned char *)machine_ram(frame[i].addr + 63) != self->cpu)
            self->broken = "a frame was somebody else's too";
    loam_give_bulk(&mm, owner, frame, taken);
}

static void step_range(struct worker *self)
{
    if (self->range.size != 0) {
        unsigned char *const first = machine_ram(self->range.start.addr);
        if (first[0] != self->cpu || first[self->range.size - 1] != self->cpu)
            self->broken = "a range was somebody else's too";
        if (loam_give(&mm, self->range, LOAM_OWNER_KERNEL) != LOAM_OK)
            self->broken = "a range cannot be given back";
        self->range.size = 0;
        return;
    }
    const struct loam_frame_request request = {
        .page_count = 1 + draw(self, 20),
        .align_bytes = draw(self, 2) == 0 ? 0 : KIB(64),
    };
    if (loam_take(&mm, &request, LOAM_OWNER_KERNEL, &self->range) == LOAM_OK)
        memset(machine_ram(self->range.start.addr), (int)self->cpu, self->range.size);
    else
        self->range.size = 0;
}

static void step_tables(struct worker *self)
{
    const struct loam_attr attr = { LOAM_PROT_WRITE, LOAM_CACHE_WB };
    const struct loam_virt_range virt = { { GIB(64) * (self->cpu + 1) + GIB(draw(self, 16)) },
                                          KIB(4) };
    if (loam_map(&mm, virt, loam_phys_at(GIB(64)), attr) == LOAM_OK &&
        loam_unmap(&mm, virt) != LOAM_OK)
        self->broken = "a page cannot be unmapped";
}

static void *work(void *worker)
{
    struct worker *const self = worker;
    machine_set_cpu(self->cpu);
    for (unsigned i = 0; i < STEPS && self->broken == NULL; i++) {
        switch (draw(self, 8)) {
        case 0:
            step_range(self);
            break;
        case 1:
            step_tables(self);
            break;
        case 2:
            step_bulk(self);
            break;
        default:
            step_frames(self);
        }
    }
    return NULL;
}

/* Figures taken meanwhile are possible ones. */
static void *watch(void *usable)
{
    machine_set_cpu(THREADS + 1);
    while (!atomic_load(&is_over)) {
        for (unsigned i = 0; i < LOAM_OWNERS; i++)
            if (i != LOAM_OWNER_RESERVED &&
                loam_owner_bytes(&mm, (enum loam_owner)i) > *(const uint64_t *)usable)
                return NULL;
    }
    return usable;
}

static void expect_books_add_up(const uint64_t before[LOAM_OWNERS])
{
    const uint64_t spare = (LOAM_SPARE_TABLES + 4 * LOAM_SPARE_NODES) * LOAM_PAGE_SIZE;
    uint64_t sum = 0;
    uint64_t sum_before = 0;
    assert_null(loam_audit(&mm));
    for (unsigned i = 0; i < LOAM_OWNERS; i++) {
        const uint64_t now = total((enum loam_owner)i);
        sum += now;
        sum_before += before[i];
        if (i == LOAM_OWNER_USABLE || i == LOAM_OWNER_PAGE_TABLES || i == LOAM_OWNER_METADATA)
            assert_in_range(now + spare, before[i], before[i] + 2 * spare);
        else
            assert_int_equal(now, before[i]);
    }
    assert_int_equal(sum, sum_before);
}

/* @param room bytes left: less than what they all want, or plenty */
static void run(uint64_t room)
{
    struct worker worker[THREADS];
    pthread_t thread[THREADS];
    pthread_t watcher;
    uint64_t before[LOAM_OWNERS];
    void *result;
    small_machine(THREADS + 2); /* the main thread, workers, and who watches */
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    static loam_phys kept[20000];
    const size_t keeps =
        room == 0 ? 0 : (size_t)((total(LOAM_OWNER_USABLE) - room) / LOAM_PAGE_SIZE);
    assert_int_equal(loam_take_bulk(&mm, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL, kept, keeps), keeps);
    for (unsigned i = 0; i < LOAM_OWNERS; i++)
        before[i] = total((enum loam_owner)i);
    uint64_t all = MIB(64);
    atomic_store(&is_over, false);
    assert_int_equal(pthread_create(&watcher, NULL, watch, &all), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        worker[i] = (struct worker){ .cpu = i + 1, .seed = test_random() | 1 };
        assert_int_equal(pthread_create(&thread[i], NULL, work, &worker[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
        assert_null(worker[i].broken);
        if (worker[i].range.size != 0)
            assert_int_equal(loam_give(&mm, worker[i].range, LOAM_OWNER_KERNEL), LOAM_OK);
    }
    atomic_store(&is_over, true);
    assert_int_equal(pthread_join(watcher, &result), 0);
    assert_non_null(result);
    assert_null(loam_audit(&mm)); /* with all that is on the shelves */
    for (unsigned i = 0; i < SHELVES; i++)
        give_word(atomic_exchange(&shelf[i], 0));
    expect_books_add_up(before);
}

static void books_add_up_after_all_cpus_at_once(void **state)
{
    (void)state;
    run(0);
}

static void books_F15_add_up_where_memory_is_used_up_all_the_time(void **state)
{
    (void)state;
    run(KIB(800));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(books_add_up_after_all_cpus_at_once),
        cmocka_unit_test(books_F15_add_up_where_memory_is_used_up_all_the_time),
    };
    return RUN_TESTS(tests);
}
