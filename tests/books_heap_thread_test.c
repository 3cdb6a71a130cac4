/*
 * books_heap_thread_test.c - the heap that grows, used by several CPUs at once: blocks are
 * allocated here and freed there, some are resized; it is trimmed meanwhile, and told that
 * memory is low. In the end not a page is missing.
 */
#include "loam_world.h"

#include <pthread.h>
#include <stdatomic.h>

#define THREADS 4u
#define STEPS   6000u
#define SHELVES 64u

/* At the start of each block; the rest is its mark. */
struct parcel {
    size_t size;
    unsigned char mark;
};

static _Atomic(struct parcel *) shelf[SHELVES];
static _Atomic unsigned lows;

struct worker {
    unsigned cpu;
    uint64_t seed;
    const char *broken;
};

static uint64_t draw(struct worker *self, uint64_t bound)
{
    self->seed ^= self->seed << 13;
    self->seed ^= self->seed >> 7;
    self->seed ^= self->seed << 17;
    return self->seed % bound;
}

static void fill(struct parcel *parcel, size_t size, unsigned char mark)
{
    parcel->size = size;
    parcel->mark = mark;
    memset(parcel + 1, mark, size - sizeof *parcel);
}

static void check(struct worker *self, const struct parcel *parcel, size_t size)
{
    const unsigned char *const byte = (const unsigned char *)(parcel + 1);
    for (size_t i = 0; i < size - sizeof *parcel; i++)
        if (byte[i] != parcel->mark)
            self->broken = "a block was somebody else's too";
}

static size_t draw_size(struct worker *self)
{
    const uint64_t kind = draw(self, 64);
    const uint64_t most = kind == 0 ? KIB(200) : kind < 6 ? KIB(9) : 600;
    return sizeof(struct parcel) + (size_t)draw(self, most);
}

static void take_apart(struct worker *self, struct parcel *parcel)
{
    if (parcel == NULL)
        return;
    check(self, parcel, parcel->size);
    if (draw(self, 8) == 0) {
        const size_t size = draw_size(self), kept = size < parcel->size ? size : parcel->size;
        struct parcel *const moved = loam_realloc(&mm, parcel, size);
        if (moved != NULL) {
            check(self, moved, kept);
            fill(moved, size, moved->mark);
            parcel = moved;
        }
    }
    if (draw(self, 2) == 0)
        loam_free_sized(&mm, parcel, parcel->size);
    else
        loam_free(&mm, parcel);
}

static void *work(void *argument)
{
    struct worker *const self = argument;
    machine_set_cpu(self->cpu);
    for (unsigned step = 0; step < STEPS; step++) {
        const size_t size = draw_size(self);
        struct parcel *const made = loam_malloc(&mm, size);
        if (made == NULL) {
            self->broken = "a request failed, of which there is memory";
            continue;
        }
        fill(made, size, (unsigned char)draw(self, 256));
        take_apart(self, atomic_exchange(&shelf[draw(self, SHELVES)], made));
        if (draw(self, 500) == 0)
            (void)loam_heap_trim(&mm.cpu_heap);
    }
    return NULL;
}

static void on_low(void *context, const struct loam_pressure_report *report)
{
    (void)context, (void)report;
    atomic_fetch_add(&lows, 1);
    loam_free(&mm, loam_malloc(&mm, 100));
}

static void run(bool debug)
{
    const struct loam_pressure_hooks hooks = { NULL, 15500, on_low, NULL }; /* nearly all is low */
    struct worker worker[THREADS];
    pthread_t thread[THREADS];
    struct loam_heap_stats stats;

    small_machine(THREADS);
    boot.heap_debug = debug;
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    assert_int_equal(loam_enter(&mm), LOAM_OK);
    assert_int_equal(loam_set_pressure(&mm, &hooks), LOAM_OK);
    atomic_store(&lows, 0);
    for (unsigned i = 0; i < THREADS; i++) {
        worker[i] = (struct worker){ .cpu = i, .seed = test_random() | 1 };
        assert_int_equal(pthread_create(&thread[i], NULL, work, &worker[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    machine_set_cpu(0);
    for (unsigned i = 0; i < SHELVES; i++)
        take_apart(&worker[0], atomic_exchange(&shelf[i], NULL));
    for (unsigned i = 0; i < THREADS; i++)
        if (worker[i].broken != NULL)
            fail_msg("CPU %u: %s", i, worker[i].broken);
    heap_settle();
    for (unsigned i = 0; i < THREADS; i++)
        loam_heap_trim_cpu(&mm.cpu_heap, i);
    (void)loam_heap_trim(&mm.cpu_heap);
    assert_null(loam_audit(&mm));
    assert_true(atomic_load(&lows) != 0);
    loam_heap_measure(&mm.cpu_heap, &stats);
    assert_int_equal(stats.live_count, 0);
    assert_int_equal(stats.page_count, stats.record_pages);
    assert_int_equal(total(LOAM_OWNER_HEAP), KIB(4) + stats.record_pages * KIB(4));
}

static void heap_H15_blocks_cross_cpus_and_no_page_is_lost(void **state)
{
    (void)state;
    run(false);
}

static void heap_H15_the_same_under_the_debug_layers_lock(void **state)
{
    (void)state;
    run(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heap_H15_blocks_cross_cpus_and_no_page_is_lost),
        cmocka_unit_test(heap_H15_the_same_under_the_debug_layers_lock),
    };
    return RUN_TESTS(tests);
}
