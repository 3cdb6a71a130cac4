/*
 * sim_steady.c - see sim_steady.h. What goes wrong here is a bug in Loam: it panics.
 */
#include "sim_steady.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "src/internal/check.h"
#include "tests/machine.h"
#include "tools/sim_host.h"

#define SLOTS      512u
#define LETTERS    8u
#define BULK       16u
#define ROUNDS_MIN 3u
#define ROUNDS_MAX 64u

/* A block in one word: address, order, and whether its first frame begins and ends with
 * a mark. 0: none. Few are marked: each mark is a page of host memory. */
#define BLOCK_ORDER  UINT64_C(0x1f)
#define BLOCK_MARKED UINT64_C(0x20)
#define FRAME_WORDS  (LOAM_PAGE_SIZE / sizeof(uint64_t))

_Static_assert(LOAM_ORDER_MAX <= BLOCK_ORDER, "an order fits");

struct worker {
    struct crew *crew;
    pthread_t thread;
    unsigned cpu;
    uint32_t node;
    uint64_t seed;
    uint64_t steps; /* to do */
    uint64_t slot[SLOTS];
    _Atomic uint64_t letter[LETTERS];
    struct sim_steady sum; /* its part */
};

struct crew {
    struct loam *mm;
    pthread_barrier_t start;
    const struct sim_numa *server;
    unsigned order_max;
    struct worker worker[LOAM_CPUS_MAX];
};

static uint64_t draw(struct worker *worker, uint64_t bound)
{
    worker->seed = worker->seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (worker->seed >> 33) % bound;
}

/* ---- blocks --------------------------------------------------------------- */

static loam_phys block_start(uint64_t block)
{
    return loam_phys_at(loam_page_floor(block));
}

static unsigned block_order(uint64_t block)
{
    return (unsigned)(block & BLOCK_ORDER);
}

static uint64_t *block_words(uint64_t block)
{
    return loam_hhdm_pointer(machine_hhdm(), block_start(block));
}

static uint64_t block_made(loam_phys start, unsigned order, bool marked)
{
    const uint64_t block = start.addr | order | (marked ? BLOCK_MARKED : 0);
    if (marked)
        block_words(block)[0] = block_words(block)[FRAME_WORDS - 1] = ~block;
    return block;
}

static void block_check(uint64_t block)
{
    if ((block & BLOCK_MARKED) == 0)
        return;
    const uint64_t *const words = block_words(block);
    LOAM_REQUIRE(words[0] == ~block && words[FRAME_WORDS - 1] == ~block,
                 "loam-sim: memory was given to two", block_start(block).addr, block_order(block));
}

/* ---- steps ---------------------------------------------------------------- */

static bool is_local(const struct worker *worker, loam_phys start)
{
    return sim_numa_node_at(worker->crew->server, start) == worker->node;
}

/* Of a steady state: mostly single frames, now and then something large. */
static unsigned draw_order(struct worker *worker)
{
    static const unsigned common[] = { 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 4, 5, 6, LOAM_ORDER_2M };
    static const unsigned rare[] = { 10, 11, 12, 13, 14, 16, 17, LOAM_ORDER_MAX };
    const unsigned order = draw(worker, 256) == 0 ? rare[draw(worker, sizeof rare / sizeof rare[0])]
                                                  : common[draw(worker, 16)];
    return order < worker->crew->order_max ? order : worker->crew->order_max;
}

static loam_phys take_any(struct worker *worker, unsigned order)
{
    const loam_phys start =
        loam_take_frames(worker->crew->mm, order, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL);
    if (loam_phys_is_none(start))
        return start;
    worker->sum.request_count++;
    worker->sum.frame_count += UINT64_C(1) << order;
    if (is_local(worker, start)) {
        worker->sum.local_count++;
        worker->sum.local_frames += UINT64_C(1) << order;
    }
    return start;
}

static loam_phys take_zeroed(struct worker *worker)
{
    const loam_phys start = loam_take_zeroed(worker->crew->mm, 0, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL);
    if (loam_phys_is_none(start))
        return start;
    const uint64_t *const words = block_words(start.addr);
    uint64_t found = 0;
    for (unsigned i = 0; i < FRAME_WORDS; i++)
        found |= words[i];
    LOAM_REQUIRE(found == 0, "loam-sim: a zeroed frame is not zero", start.addr, found);
    worker->sum.zeroed_count++;
    worker->sum.zeroed_local += is_local(worker, start);
    return start;
}

static void take_one(struct worker *worker, size_t at)
{
    const uint64_t way = draw(worker, 16);
    const unsigned order = way < 2 ? 0 : draw_order(worker);
    loam_phys start;
    if (way < 2)
        start = take_zeroed(worker);
    else if (way == 2)
        start = loam_take_frames(worker->crew->mm, order < 4 ? order : 4,
                                 draw(worker, 4) == 0 ? LOAM_ZONE_16M : LOAM_ZONE_4G,
                                 LOAM_OWNER_KERNEL);
    else
        start = take_any(worker, order);
    worker->sum.operation_count++;
    worker->sum.refusal_count += loam_phys_is_none(start);
    if (!loam_phys_is_none(start))
        worker->slot[at] =
            block_made(start, way == 2 && order > 4 ? 4 : order, way < 2 || draw(worker, 16) == 0);
}

/* Fill empty slots from here on with single frames. */
static void take_bulk(struct worker *worker, size_t at)
{
    loam_phys frame[BULK];
    size_t empty = 0;
    for (size_t i = at; i < SLOTS && empty < BULK; i++)
        empty += worker->slot[i] == 0;
    const size_t got =
        loam_take_bulk(worker->crew->mm, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL, frame, empty);
    worker->sum.operation_count += empty;
    worker->sum.refusal_count += empty - got;
    worker->sum.request_count += got;
    worker->sum.frame_count += got;
    for (size_t i = 0, slot = at; i < got; slot++) {
        if (worker->slot[slot] != 0)
            continue;
        worker->sum.local_count += is_local(worker, frame[i]);
        worker->sum.local_frames += is_local(worker, frame[i]);
        worker->slot[slot] = block_made(frame[i++], 0, false);
    }
}

static void give_one(struct worker *worker, uint64_t block)
{
    block_check(block);
    worker->sum.operation_count++;
    loam_give_frames(worker->crew->mm, block_start(block), block_order(block), LOAM_OWNER_KERNEL);
}

/* Give single frames back from this slot on. */
static void give_bulk(struct worker *worker, size_t at)
{
    loam_phys frame[BULK];
    size_t count = 0;
    for (size_t i = at; i < SLOTS && count < BULK; i++) {
        if (worker->slot[i] == 0 || block_order(worker->slot[i]) != 0)
            continue;
        block_check(worker->slot[i]);
        frame[count++] = block_start(worker->slot[i]);
        worker->slot[i] = 0;
    }
    worker->sum.operation_count += count;
    loam_give_bulk(worker->crew->mm, LOAM_OWNER_KERNEL, frame, count);
}

/* Let another CPU give it back. @return false: its letters are not read */
static bool send(struct worker *worker, uint64_t block)
{
    struct crew *const crew = worker->crew;
    struct worker *const to = &crew->worker[draw(worker, crew->server->cpu_count)];
    uint64_t none = 0;
    return to != worker &&
           atomic_compare_exchange_strong(&to->letter[draw(worker, LETTERS)], &none, block);
}

static void read_letter(struct worker *worker, size_t at)
{
    const uint64_t block = atomic_exchange(&worker->letter[at], 0);
    if (block == 0)
        return;
    worker->sum.remote_count++;
    give_one(worker, block);
}

static void step(struct worker *worker)
{
    const size_t at = (size_t)draw(worker, SLOTS);
    const uint64_t way = draw(worker, 32);
    const uint64_t block = worker->slot[at];
    read_letter(worker, at % LETTERS);
    if (block == 0 && way == 0) {
        take_bulk(worker, at);
    } else if (block == 0) {
        take_one(worker, at);
    } else if (way == 0) {
        give_bulk(worker, at);
    } else {
        worker->slot[at] = 0;
        if (way >= 8 || !send(worker, block))
            give_one(worker, block);
    }
    if (draw(worker, 32) == 0)
        (void)!loam_idle(worker->crew->mm, 4);
}

static void *work(void *argument)
{
    struct worker *const worker = argument;
    machine_set_cpu(worker->cpu);
    pthread_barrier_wait(&worker->crew->start);
    for (uint64_t i = 1; i <= worker->steps; i++) {
        step(worker);
        if (i % 32 == 0)
            sched_yield(); /* the host may have few CPUs: let the others in */
        if (i % 256 == 0)
            sim_progress_add(256);
    }
    return NULL;
}

/* ---- rounds --------------------------------------------------------------- */

/* All CPUs at once. */
static void run_round(struct crew *crew, uint64_t steps)
{
    for (unsigned cpu = 0; cpu < crew->server->cpu_count; cpu++) {
        struct worker *const worker = &crew->worker[cpu];
        memset(&worker->sum, 0, sizeof worker->sum);
        worker->steps = steps;
        const int error = pthread_create(&worker->thread, NULL, work, worker);
        LOAM_REQUIRE(error == 0, "loam-sim: the host has no thread for a CPU", cpu,
                     (uint64_t)error);
    }
    for (unsigned cpu = 0; cpu < crew->server->cpu_count; cpu++)
        pthread_join(crew->worker[cpu].thread, NULL);
}

static void count_block(struct sim_steady *sum, uint64_t block)
{
    sum->block_count += block != 0;
    sum->held_bytes += block != 0 ? loam_order_bytes(block_order(block)) : 0;
}

/* What is held now, letters included. */
static void count_held(struct crew *crew, struct sim_steady *sum)
{
    sum->block_count = sum->held_bytes = 0;
    for (unsigned cpu = 0; cpu < crew->server->cpu_count; cpu++) {
        for (size_t i = 0; i < SLOTS; i++)
            count_block(sum, crew->worker[cpu].slot[i]);
        for (size_t i = 0; i < LETTERS; i++)
            count_block(sum, crew->worker[cpu].letter[i]);
    }
}

static void run_until_steady(struct crew *crew, struct sim_steady *sum)
{
    uint64_t before = 0;
    for (unsigned round = 1; round <= ROUNDS_MAX && sum->round_count == 0; round++) {
        run_round(crew, SLOTS);
        count_held(crew, sum);
        const uint64_t now = sum->block_count;
        const uint64_t change = now > before ? now - before : before - now;
        if (round >= ROUNDS_MIN && change * 20 < now)
            sum->round_count = round;
        before = now;
    }
}

static void add_up(const struct crew *crew, struct sim_steady *sum)
{
    for (unsigned cpu = 0; cpu < crew->server->cpu_count; cpu++) {
        const struct sim_steady *const part = &crew->worker[cpu].sum;
        sum->operation_count += part->operation_count;
        sum->refusal_count += part->refusal_count;
        sum->remote_count += part->remote_count;
        sum->request_count += part->request_count;
        sum->local_count += part->local_count;
        sum->frame_count += part->frame_count;
        sum->local_frames += part->local_frames;
        sum->zeroed_count += part->zeroed_count;
        sum->zeroed_local += part->zeroed_local;
    }
}

static void give_all(struct crew *crew)
{
    for (unsigned cpu = 0; cpu < crew->server->cpu_count; cpu++) {
        struct worker *const worker = &crew->worker[cpu];
        machine_set_cpu(cpu);
        for (size_t i = 0; i < LETTERS; i++)
            read_letter(worker, i);
        for (size_t i = 0; i < SLOTS; i++)
            if (worker->slot[i] != 0)
                give_one(worker, worker->slot[i]);
    }
    machine_set_cpu(0);
}

static uint64_t count_whole(const struct loam *mm)
{
    uint64_t count = 0;
    for (unsigned zone = 0; zone < LOAM_ZONES; zone++) {
        struct loam_frame_stats stats;
        loam_frame_measure(&mm->frame, (enum loam_zone)zone, &stats);
        count += stats.block_count;
    }
    return count;
}

struct sim_steady sim_steady_run(struct loam *mm, const struct sim_numa *server, uint64_t steps)
{
    struct crew *const crew = calloc(1, sizeof *crew);
    struct sim_steady sum = { .slot_count = (uint64_t)SLOTS * server->cpu_count };
    LOAM_REQUIRE(crew != NULL, "loam-sim: the host has no memory for the CPUs", 0, 0);
    crew->mm = mm;
    crew->server = server;
    crew->order_max = LOAM_ORDER_MAX; /* a block is no more than a 64th of a node */
    while (loam_order_bytes(crew->order_max) > (server->node_gib << 30) / 64)
        crew->order_max--;
    for (unsigned cpu = 0; cpu < server->cpu_count; cpu++) {
        crew->worker[cpu].crew = crew;
        crew->worker[cpu].cpu = cpu;
        crew->worker[cpu].node = sim_numa_node_of_cpu(server, cpu);
        crew->worker[cpu].seed = cpu + 1;
    }
    pthread_barrier_init(&crew->start, NULL, server->cpu_count);
    sim_progress_step("filling up", 0);
    run_until_steady(crew, &sum);
    sim_progress_step("steady state", steps * server->cpu_count);
    struct loam_zero_stats before, after;
    loam_zero_measure(&mm->zeroed, &before);
    const uint64_t drains = atomic_load(&mm->frame.drain_count);
    const uint64_t start = sim_host_now();
    run_round(crew, steps);
    sum.nanoseconds = sim_host_now() - start;
    sum.drain_count = atomic_load(&mm->frame.drain_count) - drains;
    loam_zero_measure(&mm->zeroed, &after);
    sum.beforehand_count = after.hit_count - before.hit_count;
    add_up(crew, &sum);
    count_held(crew, &sum);
    sum.whole_count = count_whole(mm);
    sim_progress_step("giving back", 0);
    give_all(crew);
    pthread_barrier_destroy(&crew->start);
    free(crew);
    return sum;
}
