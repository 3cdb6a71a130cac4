/*
 * locked_thread_test.c - many CPUs on one heap. Built with ThreadSanitizer too: a
 * call that forgets the lock is a data race.
 */
#include "locked_world.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define THREADS    4u
#define ROUNDS     600u
#define SLOTS      32u
#define SIZE_BOUND 400u

static void run_threads(void *(*body)(void *))
{
    pthread_t thread[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, body, (void *)i), 0);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
}

/* A block says how large it is and is filled with one byte. */
struct note {
    size_t size_bytes;
    unsigned char fill[];
};

static atomic_uint wrong; /* blocks whose contents changed */

static struct note *write_note(size_t size_bytes, unsigned fill)
{
    struct note *note = loam_locked_alloc(&locked, sizeof(*note) + size_bytes, 16);
    if (note == NULL)
        return NULL;
    note->size_bytes = size_bytes;
    memset(note->fill, (int)fill, size_bytes);
    return note;
}

static void check_note(const struct note *note)
{
    for (size_t i = 1; i < note->size_bytes; i++)
        wrong += note->fill[i] != note->fill[0];
}

static struct note *grow_note(struct note *note, size_t size_bytes)
{
    const struct loam_resize resize = { sizeof(*note) + note->size_bytes,
                                        sizeof(*note) + size_bytes, 16 };
    struct note *moved = loam_locked_realloc(&locked, note, &resize);
    if (moved == NULL)
        return note;
    memset(moved->fill, (int)(size_bytes & 0xff), size_bytes);
    moved->size_bytes = size_bytes;
    return moved;
}

static void tear_note(struct note *note)
{
    check_note(note);
    loam_locked_free_sized(&locked, note, sizeof(*note) + note->size_bytes);
}

static _Atomic(struct note *) slot[SLOTS];

/* Put a block in a slot; what was there, perhaps of another CPU, is grown or freed. */
static void *pass_blocks_around(void *cpu)
{
    uint64_t seed = 88172645463325252u + (uintptr_t)cpu;

    machine_set_cpu((unsigned)(uintptr_t)cpu);
    for (unsigned i = 0; i < ROUNDS; i++) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        struct note *note = seed % 3 == 0 ? NULL : write_note(seed / 3 % SIZE_BOUND, i & 0xff);
        note = atomic_exchange(&slot[seed / 4096 % SLOTS], note);
        if (note != NULL && seed % 5 == 0) {
            check_note(note);
            note = grow_note(note, seed / 5 % SIZE_BOUND);
        }
        if (note != NULL)
            tear_note(note);
        if (i % 256 == 0 && loam_locked_audit(&locked) != NULL)
            wrong++;
    }
    return NULL;
}

static void blocks_H15_cross_cpus(void **state)
{
    (void)state;
    EACH_WAY
    {
        if (ways[way].lock == LOAM_LOCKED_NOT)
            continue;
        EACH_HEAP
        {
            locked_world_of(world.heap);
            wrong = 0;
            run_threads(pass_blocks_around);
            for (unsigned i = 0; i < SLOTS; i++) {
                struct note *note = atomic_exchange(&slot[i], NULL);
                if (note != NULL)
                    tear_note(note);
            }
            assert_int_equal(wrong, 0);
            assert_null(loam_locked_audit(&locked));
            const struct loam_locked_stats stats = locked_stats();
            assert_int_equal(stats.alloc_count, stats.free_count);
            /* A bump heap is full for long. */
            assert_true(world.heap == WORLD_BUMP || stats.alloc_count > THREADS * ROUNDS / 2);
            if (ways[way].debug)
                loam_debug_flush(&locked.debug);
            assert_int_equal(locked_stats().heap.used_count, 0);
            expect_unlocked();
        }
    }
}

/* All CPUs want more than there is, for long: whoever frees lets another on. */
static void *want_too_much(void *cpu)
{
    machine_set_cpu((unsigned)(uintptr_t)cpu);
    for (unsigned served = 0; served < 50;) {
        void *block = loam_locked_alloc(&locked, WORLD_BYTES / 3, 16);
        sched_yield();
        if (block == NULL)
            continue;
        served++;
        loam_locked_free_sized(&locked, block, WORLD_BYTES / 3);
    }
    return NULL;
}

static void storm_H26_of_requests_goes_on(void **state)
{
    (void)state;
    EACH_WAY
    {
        if (ways[way].lock == LOAM_LOCKED_NOT)
            continue;
        locked_world_of(WORLD_ARENA);
        run_threads(want_too_much);
        assert_int_equal(locked_stats().alloc_count, THREADS * 50);
        assert_int_equal(locked_stats().free_count, THREADS * 50);
        assert_null(loam_locked_audit(&locked));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_H15_cross_cpus),
        cmocka_unit_test(storm_H26_of_requests_goes_on),
    };
    return RUN_TESTS(tests);
}
