/*
 * heap_guard_test.c - handlers that come at any instruction, into a heap whose guard lets
 * them: LOAM_GUARD_NONE. A timer's signal is the interrupt; where the library has turned
 * interrupts off it does nothing.
 */
#define LOAM_GUARD 2 /* LOAM_GUARD_NONE; config.h names it later */

#include "alone/heap.c" /* before there is a heap that its names would hide */

#include "heap_world.h"

#include <signal.h>
#include <sys/time.h>

#define KEPT 64u

LOAM_STATIC_ASSERT(LOAM_GUARD == LOAM_GUARD_NONE, "what is tested here");

static struct loam_slab_cache *cache;

static struct {
    volatile unsigned came, was_inside, wrong;
    unsigned char *block[KEPT];
    uint64_t seed;
    bool is_object[KEPT];
    size_t size_bytes[KEPT];
} handler;

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static void exchange(unsigned at, uint64_t random)
{
    unsigned char *const old = handler.block[at];

    if (old != NULL) {
        handler.wrong += old[0] != 0xee || old[handler.size_bytes[at] - 1] != 0xee;
        if (handler.is_object[at])
            loam_slab_free(cache, old);
        else
            loam_heap_free(&heap, old);
    }
    handler.is_object[at] = random % 4 == 0;
    handler.size_bytes[at] = handler.is_object[at] ? 48 : 1 + random / 4 % 200;
    handler.block[at] = handler.is_object[at] ? loam_slab_alloc(cache)
                                              : loam_heap_alloc(&heap, handler.size_bytes[at]);
    if (handler.block[at] != NULL)
        memset(handler.block[at], 0xee, handler.size_bytes[at]);
}

static void on_signal(int number)
{
    (void)number;
    if (world_irq_is_off)
        return;
    const struct loam_heap_cpu *const cpu = atomic_load(&heap.cpu[0]);
    handler.came++;
    handler.was_inside += cpu != NULL && cpu->guard.is_inside != 0;
    for (unsigned i = 0; i < 4; i++) {
        const uint64_t random = next_random(&handler.seed);
        exchange(random % KEPT, random / KEPT);
    }
    if (next_random(&handler.seed) % 64 == 0)
        (void)loam_heap_trim(&heap);
}

static void timer(long microseconds)
{
    const struct itimerval every = { { 0, microseconds }, { 0, microseconds } };
    assert_int_equal(setitimer(ITIMER_REAL, &every, NULL), 0);
}

static void h27_handlers_come_at_any_instruction(void **state)
{
    static unsigned char *block[512];
    static size_t size_bytes[512];
    const struct sigaction action = { .sa_handler = on_signal };
    const struct loam_slab_setup setup = { .name = "of handlers", .size_bytes = 48 };
    uint64_t seed = 77;
    unsigned wrong = 0;

    (void)state;
    heap_on(1);
    memset(&handler, 0, sizeof(handler));
    handler.seed = 99;
    assert_int_equal(loam_slab_create(&heap, &setup, &cache), LOAM_OK);
    assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
    timer(40);
    for (unsigned i = 0; i < 50000000 && handler.came < 8000; i++) {
        const uint64_t random = next_random(&seed);
        const unsigned at = random % COUNT(block);
        if (block[at] != NULL) {
            wrong += block[at][0] != 0x11 || block[at][size_bytes[at] - 1] != 0x11;
            loam_heap_free(&heap, block[at]);
        }
        size_bytes[at] = 1 + random / 512 % (random % 1024 == 0 ? 90000 : 200);
        block[at] = loam_heap_alloc(&heap, size_bytes[at]);
        if (block[at] != NULL)
            memset(block[at], 0x11, size_bytes[at]);
    }
    timer(0);
    assert_int_equal(wrong, 0);
    assert_int_equal(handler.wrong, 0);
    assert_true(handler.came > 1000);
    assert_true(handler.was_inside > 0);
    for (unsigned i = 0; i < COUNT(block); i++)
        loam_heap_free(&heap, block[i]);
    for (unsigned i = 0; i < KEPT; i++) {
        if (handler.is_object[i])
            loam_slab_free(cache, handler.block[i]);
        else
            loam_heap_free(&heap, handler.block[i]);
    }
    assert_int_equal(loam_slab_destroy(cache, NULL), LOAM_OK);
    expect_all_given_back();
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(h27_handlers_come_at_any_instruction),
};

int main(void)
{
    return RUN_TESTS(tests);
}
