/*
 * threads.c - several threads.
 *
 *     larson       a server: each thread works on a table, leaves it to a new thread
 *     producers    some make blocks, others free them (xmalloc)
 *     ring         each makes blocks, and frees those of its neighbour
 *     scratch      each has a block of one thread's making, writes it, and makes others
 *     thrash       the same from the start with blocks of its own
 *     mstress      tables of blocks, exchanged for those of others, by changing threads
 *     rptest       sizes up to 16000, half of the blocks freed by whoever comes next
 *     sh8          a mix of sizes, some kept, some left to the next
 *     spawn        threads that live for a few hundred blocks
 */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "programs.h"

#define LARSON_SLOTS       ((size_t)20000)
#define LARSON_GENERATIONS ((size_t)25)
#define LARSON_STEPS       ((size_t)50000)
#define BATCH              ((size_t)120)
#define PRODUCER_BATCHES   ((size_t)60000)
#define QUEUE_LIMIT        ((size_t)512)
#define RING_BATCHES       ((size_t)20000)
#define RING_KEPT          ((size_t)200)
#define SCRATCH_BLOCKS     ((size_t)12000)
#define SCRATCH_WRITES     ((size_t)8000)
#define MSTRESS_TABLE      ((size_t)20000)
#define MSTRESS_STEPS      ((size_t)700000)
#define MSTRESS_ROUNDS     ((size_t)12)
#define RPTEST_BLOCKS      ((size_t)2500)
#define RPTEST_LOOPS       ((size_t)100)
#define SH8_BLOCKS         ((size_t)50000)
#define SH8_ROUNDS         ((size_t)80)
#define SPAWN_THREADS      ((size_t)6000)
#define SPAWN_BLOCKS       ((size_t)400)

static void **table_new(size_t count)
{
    void **table = calloc(count, sizeof *table);
    if (table == NULL)
        program_fail("out of memory");
    return table;
}

static void table_free(struct program_tally *tally, void **table, size_t count)
{
    for (size_t i = 0; i < count; i++)
        program_end(tally, table[i]);
    free(table);
}

/* ---- larson ---------------------------------------------------------------------- */

static void larson_body(struct program_thread *thread)
{
    void **table = ((void ***)thread->shared)[thread->index];
    struct program_tally *tally = &thread->tally;
    const size_t steps = program_share(thread->load, LARSON_STEPS);
    for (size_t step = 0; step < steps; step++) {
        const uint64_t draw = program_random(&thread->random);
        const size_t slot = (size_t)(draw % LARSON_SLOTS);
        program_end(tally, table[slot]);
        table[slot] = program_make(tally, 10 + (size_t)(draw >> 20) % 491);
    }
}

/* Each generation has the tables of others: what it frees first, they made. */
static uint64_t larson_run(const struct program_load *load)
{
    struct program_tally tally = { 0 };
    struct program_load each = *load;
    void **tables[PROGRAM_THREADS];
    for (unsigned i = 0; i < load->threads; i++)
        tables[i] = table_new(LARSON_SLOTS);
    for (size_t generation = 0; generation < LARSON_GENERATIONS; generation++) {
        each.seed = load->seed + generation;
        program_threads(&each, &tally, tables, larson_body);
        void **first = tables[0];
        memmove(tables, tables + 1, (load->threads - 1) * sizeof tables[0]);
        tables[load->threads - 1] = first;
    }
    for (unsigned i = 0; i < load->threads; i++)
        table_free(&tally, tables[i], LARSON_SLOTS);
    return program_sum(&tally);
}

/* ---- producers and consumers ----------------------------------------------------- */

struct batch {
    struct batch *next;
    void *blocks[BATCH];
};

struct queue {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct batch *first;
    size_t count;
    unsigned producers; /* that are not done */
};

static void queue_put(struct queue *queue, struct batch *batch)
{
    (void)pthread_mutex_lock(&queue->lock);
    while (queue->count == QUEUE_LIMIT)
        (void)pthread_cond_wait(&queue->changed, &queue->lock);
    batch->next = queue->first;
    queue->first = batch;
    queue->count++;
    (void)pthread_cond_broadcast(&queue->changed);
    (void)pthread_mutex_unlock(&queue->lock);
}

/* @return NULL: there will be no more */
static struct batch *queue_get(struct queue *queue)
{
    (void)pthread_mutex_lock(&queue->lock);
    while (queue->first == NULL && queue->producers > 0)
        (void)pthread_cond_wait(&queue->changed, &queue->lock);
    struct batch *batch = queue->first;
    if (batch != NULL) {
        queue->first = batch->next;
        queue->count--;
    }
    (void)pthread_cond_broadcast(&queue->changed);
    (void)pthread_mutex_unlock(&queue->lock);
    return batch;
}

static struct batch *batch_make(struct program_thread *thread)
{
    struct batch *batch = program_take(sizeof *batch);
    for (size_t i = 0; i < BATCH; i++)
        batch->blocks[i] = program_make(&thread->tally, program_log_size(&thread->random, 8, 512));
    batch->next = NULL;
    return batch;
}

static void batch_end(struct program_thread *thread, struct batch *batch)
{
    for (size_t i = 0; i < BATCH; i++)
        program_end(&thread->tally, batch->blocks[i]);
    free(batch);
}

static void producers_body(struct program_thread *thread)
{
    struct queue *queue = thread->shared;
    if (thread->index % 2 != 0) {
        for (struct batch *batch = queue_get(queue); batch != NULL; batch = queue_get(queue))
            batch_end(thread, batch);
        return;
    }
    const size_t batches = program_share(thread->load, PRODUCER_BATCHES) / thread->load->threads;
    for (size_t i = 0; i < batches; i++)
        queue_put(queue, batch_make(thread));
    (void)pthread_mutex_lock(&queue->lock);
    queue->producers--;
    (void)pthread_cond_broadcast(&queue->changed);
    (void)pthread_mutex_unlock(&queue->lock);
}

static uint64_t producers_run(const struct program_load *load)
{
    struct program_tally tally = { 0 };
    struct queue queue = { .producers = (load->threads + 1) / 2 };
    if (load->threads < 2)
        program_fail("too few threads");
    (void)pthread_mutex_init(&queue.lock, NULL);
    (void)pthread_cond_init(&queue.changed, NULL);
    program_threads(load, &tally, &queue, producers_body);
    return program_sum(&tally);
}

/* ---- ring ------------------------------------------------------------------------ */

struct ring {
    _Atomic(struct batch *) boxes[PROGRAM_THREADS]; /* to each thread */
};

static void ring_body(struct program_thread *thread)
{
    struct ring *ring = thread->shared;
    const size_t batches = program_share(thread->load, RING_BATCHES);
    const unsigned next = (thread->index + 1) % thread->load->threads;
    struct batch *kept[RING_KEPT] = { NULL };
    for (size_t i = 0; i < batches + RING_KEPT; i++) {
        struct batch *batch = kept[i % RING_KEPT];
        kept[i % RING_KEPT] = i < batches ? batch_make(thread) : NULL;
        /* Where the neighbour has not come to its last one, that is back here. */
        if (batch != NULL)
            batch = atomic_exchange(&ring->boxes[next], batch);
        if (batch != NULL)
            batch_end(thread, batch);
        batch = atomic_exchange(&ring->boxes[thread->index], NULL);
        if (batch != NULL)
            batch_end(thread, batch);
    }
}

static uint64_t ring_run(const struct program_load *load)
{
    struct ring ring = { .boxes = { NULL } };
    struct program_thread rest = { .load = load };
    program_threads(load, &rest.tally, &ring, ring_body);
    for (unsigned i = 0; i < load->threads; i++) {
        struct batch *batch = atomic_load(&ring.boxes[i]);
        if (batch != NULL)
            batch_end(&rest, batch);
    }
    return program_sum(&rest.tally);
}

/* ---- blocks on one cache line ---------------------------------------------------- */

/* Compilers are not to know it: they would warn of what does not happen. */
static const volatile size_t scratch_bytes = 8;

/* Two threads that write to one line wait for each other: an allocator that gives one
 * thread's neighbours to another makes them. */
static void scratch_write(void *block, size_t writes)
{
    volatile unsigned char *bytes = block;
    for (size_t i = 0; i < writes; i++)
        bytes[7]++;
}

static void scratch_body(struct program_thread *thread)
{
    void **given = thread->shared;
    const size_t blocks = program_share(thread->load, SCRATCH_BLOCKS);
    if (given != NULL) {
        scratch_write(given[thread->index], SCRATCH_WRITES);
        free(given[thread->index]);
    }
    for (size_t i = 0; i < blocks; i++) {
        unsigned char *block = program_make(&thread->tally, scratch_bytes);
        const unsigned char before = block[7];
        scratch_write(block, SCRATCH_WRITES / 256 * 256);
        if (block[7] != before)
            program_fail("a block has changed");
        program_end(&thread->tally, block);
    }
}

static uint64_t scratch_run(const struct program_load *load)
{
    struct program_tally tally = { 0 };
    void *given[PROGRAM_THREADS];
    for (unsigned i = 0; i < load->threads; i++) {
        given[i] = calloc(1, scratch_bytes);
        if (given[i] == NULL)
            program_fail("out of memory");
    }
    program_threads(load, &tally, given, scratch_body);
    return program_sum(&tally);
}

static uint64_t thrash_run(const struct program_load *load)
{
    struct program_tally tally = { 0 };
    program_threads(load, &tally, NULL, scratch_body);
    return program_sum(&tally);
}

/* ---- mstress --------------------------------------------------------------------- */

struct exchange {
    _Atomic(void *) blocks[MSTRESS_TABLE];
};

static size_t mstress_size(uint64_t draw)
{
    if (draw % 128 == 0)
        return (size_t)1 << (10 + (draw >> 8) % 7); /* up to 64 KiB */
    return 8 + (size_t)(draw >> 8) % 8 * ((draw >> 16) % 8 == 0 ? 128 : 16);
}

static void mstress_body(struct program_thread *thread)
{
    struct exchange *exchange = thread->shared;
    struct program_tally *tally = &thread->tally;
    void **table = table_new(MSTRESS_TABLE);
    size_t count = 0;
    const size_t steps = program_share(thread->load, MSTRESS_STEPS) / thread->load->threads;
    for (size_t step = 0; step < steps; step++) {
        const uint64_t draw = program_random(&thread->random);
        if (count < MSTRESS_TABLE && draw % 8 < 5) {
            table[count++] = program_make(tally, mstress_size(draw >> 3));
        } else if (count > 0) {
            const size_t slot = (size_t)(draw >> 32) % count;
            if ((draw >> 3) % 4 == 0) {
                const size_t other = (size_t)(draw >> 16) % MSTRESS_TABLE;
                table[slot] = atomic_exchange(&exchange->blocks[other], table[slot]);
            }
            program_end(tally, table[slot]);
            table[slot] = table[--count];
        }
    }
    table_free(tally, table, count);
}

static uint64_t mstress_run(const struct program_load *load)
{
    struct program_tally tally = { 0 };
    struct program_load each = *load;
    struct exchange *exchange = calloc(1, sizeof *exchange);
    if (exchange == NULL)
        program_fail("out of memory");
    for (size_t round = 0; round < MSTRESS_ROUNDS; round++) {
        each.seed = load->seed + round;
        program_threads(&each, &tally, exchange, mstress_body);
        /* Half of what was left over goes between the rounds. */
        for (size_t i = round % 2; i < MSTRESS_TABLE; i += 2)
            program_end(&tally, atomic_exchange(&exchange->blocks[i], NULL));
    }
    for (size_t i = 0; i < MSTRESS_TABLE; i++)
        program_end(&tally, atomic_exchange(&exchange->blocks[i], NULL));
    free(exchange);
    return program_sum(&tally);
}

/* ---- rptest ---------------------------------------------------------------------- */

struct handover {
    _Atomic(void **) table;
};

/* Small sizes are more likely, in a straight line. */
static size_t rptest_size(uint64_t *random, size_t max)
{
    const size_t a = (size_t)(program_random(random) % max);
    const size_t b = (size_t)(program_random(random) % max);
    return 16 + (a < b ? a : b);
}

static void rptest_body(struct program_thread *thread)
{
    struct handover *handover = thread->shared;
    struct program_tally *tally = &thread->tally;
    const size_t loops = program_share(thread->load, RPTEST_LOOPS);
    for (size_t loop = 0; loop < loops; loop++) {
        void **table = table_new(RPTEST_BLOCKS);
        for (size_t i = 0; i < RPTEST_BLOCKS; i++) {
            table[i] = program_make(tally, rptest_size(&thread->random, 16000));
            const size_t old = (size_t)(program_random(&thread->random) % (i + 1));
            if (i % 4 != 0)
                continue;
            program_end(tally, table[old]);
            table[old] = program_make(tally, rptest_size(&thread->random, 16000));
        }
        for (size_t i = loop % 2; i < RPTEST_BLOCKS; i += 2) {
            program_end(tally, table[i]);
            table[i] = NULL;
        }
        table = atomic_exchange(&handover->table, table);
        if (table != NULL)
            table_free(tally, table, RPTEST_BLOCKS);
    }
}

static uint64_t rptest_run(const struct program_load *load)
{
    struct program_tally tally = { 0 };
    struct handover handover = { .table = NULL };
    program_threads(load, &tally, &handover, rptest_body);
    void **table = atomic_load(&handover.table);
    if (table != NULL)
        table_free(&tally, table, RPTEST_BLOCKS);
    return program_sum(&tally);
}

/* ---- sh8 ------------------------------------------------------------------------- */

static void sh8_body(struct program_thread *thread)
{
    struct handover *handover = thread->shared;
    struct program_tally *tally = &thread->tally;
    void **table = table_new(SH8_BLOCKS);
    const size_t rounds = program_share(thread->load, SH8_ROUNDS) / thread->load->threads;
    for (size_t round = 0; round < rounds; round++) {
        /* One in 64 is up to 8 KiB, the others up to 256 bytes. */
        for (size_t i = 0; i < SH8_BLOCKS; i++) {
            const size_t max = i % 64 == 0 ? 8192 : 256;
            table[i] = program_make(tally, rptest_size(&thread->random, max));
        }
        /* Newest first, oldest first, and the rest with the table to whoever comes. */
        for (size_t i = SH8_BLOCKS; i > SH8_BLOCKS / 2; i--) {
            program_end(tally, table[i - 1]);
            table[i - 1] = NULL;
        }
        for (size_t i = 0; i < SH8_BLOCKS / 4; i++) {
            program_end(tally, table[i]);
            table[i] = NULL;
        }
        void **other = atomic_exchange(&handover->table, table);
        table = other == NULL ? table_new(SH8_BLOCKS) : other;
        for (size_t i = 0; i < SH8_BLOCKS; i++)
            program_end(tally, table[i]);
        memset(table, 0, SH8_BLOCKS * sizeof *table);
    }
    table_free(tally, table, SH8_BLOCKS);
}

static uint64_t sh8_run(const struct program_load *load)
{
    struct program_tally tally = { 0 };
    struct handover handover = { .table = NULL };
    program_threads(load, &tally, &handover, sh8_body);
    void **table = atomic_load(&handover.table);
    if (table != NULL)
        table_free(&tally, table, SH8_BLOCKS);
    return program_sum(&tally);
}

/* ---- spawn ----------------------------------------------------------------------- */

/* A tenth of what a thread makes outlives it. */
static void spawn_body(struct program_thread *thread)
{
    void **table = ((void ***)thread->shared)[thread->index];
    struct program_tally *tally = &thread->tally;
    for (size_t i = 0; i < SPAWN_BLOCKS; i++) {
        void *block = program_make(tally, program_log_size(&thread->random, 16, 4096));
        const size_t slot = (size_t)(program_random(&thread->random) % SPAWN_BLOCKS);
        program_end(tally, table[slot]);
        table[slot] = block;
    }
    for (size_t i = 0; i < SPAWN_BLOCKS; i++) {
        if (i % 10 == 0)
            continue;
        program_end(tally, table[i]);
        table[i] = NULL;
    }
}

static uint64_t spawn_run(const struct program_load *load)
{
    struct program_tally tally = { 0 };
    struct program_load each = *load;
    void **tables[PROGRAM_THREADS];
    for (unsigned i = 0; i < load->threads; i++)
        tables[i] = table_new(SPAWN_BLOCKS);
    const size_t rounds = program_share(load, SPAWN_THREADS) / load->threads;
    for (size_t round = 0; round < rounds; round++) {
        each.seed = load->seed + round;
        program_threads(&each, &tally, tables, spawn_body);
    }
    for (unsigned i = 0; i < load->threads; i++)
        table_free(&tally, tables[i], SPAWN_BLOCKS);
    return program_sum(&tally);
}

/* ---------------------------------------------------------------------------------- */

const struct program programs_threads[] = {
    { "larson", larson_run, 4 }, { "producers", producers_run, 4 },
    { "ring", ring_run, 4 },     { "scratch", scratch_run, 2 },
    { "thrash", thrash_run, 2 }, { "mstress", mstress_run, 4 },
    { "rptest", rptest_run, 4 }, { "sh8", sh8_run, 2 },
    { "spawn", spawn_run, 4 },   { NULL, NULL, 0 },
};
