/*
 * record_thread_test.c - several CPUs with the same blocks. Built with ThreadSanitizer too.
 */
#include "record_world.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define THREADS 4u
#define ROUNDS  3000u
#define SLOTS   32u
#define BASE    UINT64_C(8192)

static atomic_uint wrong;
static pthread_barrier_t barrier;

static void run_threads(void *(*body)(void *))
{
    pthread_t thread[THREADS];
    wrong = 0;
    assert_int_equal(pthread_barrier_init(&barrier, NULL, THREADS), 0);
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, body, (void *)i), 0);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    pthread_barrier_destroy(&barrier);
}

/* Per thread: the harness has one source of random numbers. */
static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static uint64_t start_thread(void *cpu)
{
    machine_set_cpu((unsigned)(uintptr_t)cpu);
    return 88172645463325252u + (uintptr_t)cpu * 977;
}

/* ---- one reference, several who give it up ------------------------------- */

static _Atomic uint64_t contended; /* page */
static unsigned contended_order, references;
static atomic_uint won, freed, refused;

/* Did a put panic? With another rule than these it is wrong. */
static bool put_is_refused(uint64_t page, unsigned order, const char *rule)
{
    panic_trap.armed = true;
    if (setjmp(panic_trap.landing) == 0) {
        const bool is_last = loam_record_put(&record, at_page(page), order);
        panic_trap.armed = false;
        freed += is_last;
        return false;
    }
    wrong += strcmp(panic_trap.seen.rule, UNKNOWN) != 0 && strcmp(panic_trap.seen.rule, rule) != 0;
    wrong += panic_trap.seen.subject != BYTES(page);
    return true;
}

static void begin_contest(unsigned round)
{
    contended_order = round % 3 * 3;
    references = 1 + round % 2;
    const uint64_t page = share_any(contended_order);
    wrong += page == NONE;
    if (references == 2)
        loam_record_get(&record, at_page(page));
    won = freed = refused = 0;
    contended = page;
}

static void end_contest(void)
{
    wrong += won != references;
    wrong += freed != 1;
    wrong += refused != THREADS - references;
}

static void *put_all_at_once(void *cpu)
{
    (void)start_thread(cpu);
    for (unsigned round = 0; round < ROUNDS; round++) {
        if (cpu == NULL)
            begin_contest(round);
        pthread_barrier_wait(&barrier);
        if (put_is_refused(contended, contended_order, UNKNOWN))
            refused++;
        else
            won++;
        pthread_barrier_wait(&barrier);
        if (cpu == NULL)
            end_contest();
    }
    return NULL;
}

static void put_F14_by_many_is_won_by_as_many_as_have_references(void **state)
{
    (void)state;
    for (int poison = 0; poison < 2; poison++) {
        RECORDS(poison != 0, THREADS, { BASE, BASE + BLOCK });
        run_threads(put_all_at_once);
        assert_int_equal(wrong, 0);
        expect_records_sound();
        expect_all_free();
    }
}

static bool split_is_refused(uint64_t page, unsigned order)
{
    panic_trap.armed = true;
    if (setjmp(panic_trap.landing) == 0) {
        loam_record_split(&record, at_page(page), order);
        panic_trap.armed = false;
        return false;
    }
    return true;
}

static void *put_or_split(void *cpu)
{
    (void)start_thread(cpu);
    for (unsigned round = 0; round < ROUNDS; round++) {
        if (cpu == NULL) {
            contended = share_any(5);
            wrong += contended == NONE;
            won = refused = freed = 0;
        }
        pthread_barrier_wait(&barrier);
        if ((uintptr_t)cpu % 2 == 0)
            refused += put_is_refused(contended, 5, WRONG);
        else
            won += !split_is_refused(contended, 5);
        pthread_barrier_wait(&barrier);
        if (cpu == NULL) {
            wrong += won + freed != 1;
            for (uint64_t i = 0; won == 1 && i < 32; i++)
                wrong += !loam_record_put(&record, at_page(contended + i), 0);
        }
    }
    return NULL;
}

/* Half of them split, half put: one has its way. A put that meets single frames finds
 * the wrong order. */
static void split_against_put_is_won_by_one(void **state)
{
    (void)state;
    RECORDS(false, THREADS, { BASE, BASE + BLOCK });
    run_threads(put_or_split);
    assert_int_equal(wrong, 0);
    expect_records_sound();
    expect_all_free();
}

/* One block; each CPU takes references and gives them up, and none is lost. */
static void *get_and_put(void *cpu)
{
    (void)start_thread(cpu);
    pthread_barrier_wait(&barrier);
    for (unsigned i = 0; i < 20 * ROUNDS; i++) {
        loam_record_get(&record, at_page(contended));
        if (i % 2 != 0)
            wrong += loam_record_put(&record, at_page(contended), 4);
    }
    return NULL;
}

static void references_of_one_block_are_counted(void **state)
{
    const unsigned left = THREADS * 10 * ROUNDS;

    (void)state;
    RECORDS(false, THREADS, { BASE, BASE + BLOCK });
    contended = share(4);
    run_threads(get_and_put);
    assert_int_equal(wrong, 0);
    assert_int_equal(loam_record_count(&record, at_page(contended)), left + 1);
    for (unsigned i = 0; i < left; i++)
        assert_false(loam_record_put(&record, at_page(contended), 4));
    assert_true(put(contended, 4));
    expect_all_free();
}

/* ---- traffic ------------------------------------------------------------- */

/* Blocks that somebody has one reference to: page * 32 + order; 0: none. */
static _Atomic uint64_t slot[SLOTS];

/* All words of a block hold its address: written when it is allocated, read by
 * everybody who has a reference. */
static void mark(uint64_t page, unsigned order)
{
    for (uint64_t i = page; i < page + (UINT64_C(1) << order); i++) {
        uint64_t *const words = machine_ram(BYTES(i));
        words[0] = words[511] = BYTES(page);
    }
}

static bool is_marked(uint64_t page, unsigned order)
{
    for (uint64_t i = page; i < page + (UINT64_C(1) << order); i++) {
        const uint64_t *const words = machine_ram(BYTES(i));
        if (words[0] != BYTES(page) || words[511] != BYTES(page))
            return false;
    }
    return true;
}

static uint64_t pick_up(uint64_t random)
{
    const unsigned order =
        random % 4 != 0 ? (unsigned)(random / 4 % 3) : (unsigned)(random / 4 % 9);
    const uint64_t page = share_any(order);
    if (page == NONE)
        return 0;
    mark(page, order);
    return page * 32 + order;
}

static void drop(uint64_t block)
{
    if (block == 0)
        return;
    wrong += !is_marked(block / 32, block % 32);
    (void)loam_record_put(&record, at_page(block / 32), block % 32);
}

/* Blocks wait in slots; who takes one out has its reference, adds some, passes one on
 * to another slot, and drops what was there. */
static void *pass_references_around(void *cpu)
{
    uint64_t seed = start_thread(cpu);

    for (unsigned i = 0; i < ROUNDS; i++) {
        const uint64_t random = next_random(&seed);
        const uint64_t block = atomic_exchange(&slot[random % SLOTS], 0);
        if (block == 0) {
            drop(atomic_exchange(&slot[random / 32 % SLOTS], pick_up(random / 1024)));
            continue;
        }
        wrong += loam_record_count(&record, at_page(block / 32)) == 0;
        if (random / 1024 % 4 != 0) {
            loam_record_get(&record, at_page(block / 32));
            drop(atomic_exchange(&slot[random / 32 % SLOTS], block));
        }
        drop(block);
    }
    return NULL;
}

static void references_cross_cpus(void **state)
{
    (void)state;
    for (int poison = 0; poison < 2; poison++) {
        RECORDS(poison != 0, THREADS, { BASE, BASE + 4 * BLOCK });
        machine_add_ram(BYTES(BASE), BYTES(4 * BLOCK));
        run_threads(pass_references_around);
        expect_records_sound();
        for (unsigned i = 0; i < SLOTS; i++)
            drop(atomic_exchange(&slot[i], 0));
        assert_int_equal(wrong, 0);
        expect_records_sound();
        expect_all_free();
    }
}

/* ---- nothing else orders what they do ------------------------------------ */

/* Blocks on their way to who frees them: page; 0: none. */
static _Atomic uint64_t passed;

/* CPU 0 allocates rows of a block that stays its own, CPU 1 frees them. On its way back
 * a row meets CPU 0 only at the block's bits, which it just reads, and at its record. */
static void *allocate_or_free(void *cpu)
{
    (void)start_thread(cpu);
    for (unsigned i = 0; i < ROUNDS && (uintptr_t)cpu < 2; i++) {
        uint64_t page = 0;
        if (cpu == NULL) {
            page = share_any(6);
            if (page == NONE)
                wrong++; /* only then: it would order them */
            mark(page, 6);
            while (atomic_load_explicit(&passed, memory_order_relaxed) != 0)
                sched_yield();
            atomic_store_explicit(&passed, page, memory_order_release);
            continue;
        }
        while ((page = atomic_load_explicit(&passed, memory_order_acquire)) == 0)
            sched_yield();
        atomic_store_explicit(&passed, 0, memory_order_relaxed);
        mark(page, 6);
        if (!loam_record_put(&record, at_page(page), 6))
            wrong++;
    }
    return NULL;
}

static void what_was_done_to_a_block_is_done_when_it_comes_back(void **state)
{
    (void)state;
    for (int poison = 0; poison < 2; poison++) {
        RECORDS(poison != 0, THREADS, { BASE, BASE + 4 * BLOCK });
        machine_add_ram(BYTES(BASE), BYTES(4 * BLOCK));
        run_threads(allocate_or_free);
        assert_int_equal(wrong, 0);
        expect_records_sound();
        expect_all_free();
    }
}

/* ---- memory that is added meanwhile -------------------------------------- */

static void *look_or_add(void *cpu)
{
    static struct loam_record_addition addition[SLOTS];

    (void)start_thread(cpu);
    for (unsigned i = 0; i < SLOTS; i++) {
        const uint64_t first = BASE + (2 + 2 * i) * BLOCK;
        if (cpu == NULL) {
            addition[i].range = range_of(first, first + 8);
            addition[i].memory_bytes = loam_record_add_bytes_needed(addition[i].range);
            addition[i].memory = give_memory(addition[i].memory_bytes);
            wrong += loam_record_add(&record, &addition[i]) != LOAM_OK;
        }
        for (unsigned look = 0; look < 500; look++)
            wrong += loam_record_count(&record, at_page(first + look % 8)) != 0;
    }
    return NULL;
}

static void record_adds_memory_while_others_look(void **state)
{
    (void)state;
    RECORDS(false, THREADS, { BASE, BASE + BLOCK });
    run_threads(look_or_add);
    assert_int_equal(wrong, 0);
    expect_records_sound();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(put_F14_by_many_is_won_by_as_many_as_have_references),
        cmocka_unit_test(split_against_put_is_won_by_one),
        cmocka_unit_test(references_of_one_block_are_counted),
        cmocka_unit_test(references_cross_cpus),
        cmocka_unit_test(what_was_done_to_a_block_is_done_when_it_comes_back),
        cmocka_unit_test(record_adds_memory_while_others_look),
    };

    return RUN_TESTS(tests);
}
