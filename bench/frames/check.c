/*
 * check.c - is every allocator one? Random allocations and frees beside a plain array
 * that says which frames are in use.
 */
#include <stdlib.h>
#include <string.h>

#include "../arena/actions.h"
#include "bench.h"

#define CHECK_FRAME_COUNT ((uint64_t)1 << 19) /* 2 GiB */
#define CHECK_STEPS       100000u
#define CHECK_LIVE_MAX    4096u
#define FRAME_BYTES       ((uint64_t)4096)

struct block {
    uint64_t address;
    unsigned order;
};

struct check {
    const struct frames_peer *peer;
    bool *in_use; /* CHECK_FRAME_COUNT */
    struct block live[CHECK_LIVE_MAX];
    size_t live_count;
};

static void check_that(const struct check *check, bool is_so, const char *rule)
{
    if (!is_so)
        bench_fail(check->peer->name, rule);
}

/* A block changes hands: none of its frames was on that side before. */
static void check_mark(struct check *check, struct block block, bool in_use)
{
    const uint64_t first = (block.address - FRAMES_BASE) / FRAME_BYTES;
    const uint64_t count = UINT64_C(1) << block.order;
    check_that(check,
               block.address >= FRAMES_BASE && first < CHECK_FRAME_COUNT &&
                   count <= CHECK_FRAME_COUNT - first,
               "gave a block that is not its own");
    check_that(check, block.address % (FRAME_BYTES << block.order) == 0, "gave an unaligned block");
    for (uint64_t i = first; i < first + count; i++) {
        check_that(check, check->in_use[i] != in_use, "gave a frame twice");
        check->in_use[i] = in_use;
    }
}

static void check_alloc(struct check *check, unsigned order)
{
    const struct block block = { check->peer->alloc(order), order };
    if (block.address == FRAMES_NONE)
        return;
    check_mark(check, block, true);
    check->live[check->live_count++] = block;
}

static void check_free(struct check *check, size_t index)
{
    const struct block block = check->live[index];
    check->live[index] = check->live[--check->live_count];
    check_mark(check, block, false);
    check->peer->free(block.address, block.order);
}

static void check_random(struct check *check)
{
    uint64_t state = 1;
    for (unsigned step = 0; step < CHECK_STEPS; step++) {
        const uint64_t draw = bench_random(&state);
        const unsigned order = (unsigned)__builtin_ctzll(draw >> 32 | UINT64_C(1) << 18);
        if (check->live_count == CHECK_LIVE_MAX || (check->live_count != 0 && draw % 2 == 0))
            check_free(check, (size_t)(draw / 2 % check->live_count));
        else
            check_alloc(check, order <= check->peer->order_max ? order : 0);
    }
    while (check->live_count != 0)
        check_free(check, check->live_count - 1);
}

/* All frames, one by one; returns how many there are. */
static uint64_t check_fill(struct check *check)
{
    uint64_t count = 0;
    for (;; count++) {
        const struct block block = { check->peer->alloc(0), 0 };
        if (block.address == FRAMES_NONE)
            return count;
        check_mark(check, block, true);
    }
}

static void check_empty(struct check *check)
{
    for (uint64_t i = 0; i < CHECK_FRAME_COUNT; i++)
        if (check->in_use[i])
            check->peer->free(FRAMES_BASE + i * FRAME_BYTES, 0);
    memset(check->in_use, 0, CHECK_FRAME_COUNT * sizeof *check->in_use);
}

static void check_bulk(struct check *check)
{
    uint64_t addresses[100];
    const size_t count = check->peer->alloc_bulk(addresses, 100);
    check_that(check, count == 100, "gives no full array");
    for (size_t i = 0; i < count; i++)
        check_mark(check, (struct block){ addresses[i], 0 }, true);
    for (size_t i = 0; i < count; i++)
        check_mark(check, (struct block){ addresses[i], 0 }, false);
    check->peer->free_bulk(addresses, count);
}

/* CPU 0 takes all, CPU 1 frees all, CPU 0 takes all again: how many does it miss? */
static uint64_t check_stranded(struct check *check)
{
    frames_cpu = 1;
    check_empty(check);
    frames_cpu = 0;
    const uint64_t count = check_fill(check);
    check_empty(check);
    return CHECK_FRAME_COUNT - count;
}

static void check_peer(const struct bench_plan *plan, const struct frames_peer *peer, FILE *file)
{
    static struct check check;
    bool *in_use = calloc(CHECK_FRAME_COUNT, sizeof *in_use);
    if (in_use == NULL)
        bench_fail("out of memory", "the benchmark itself");
    check = (struct check){ .peer = peer, .in_use = in_use };
    bench_bring_up(peer, CHECK_FRAME_COUNT, plan->cpu_count);
    check_random(&check);
    if (peer->alloc_bulk != NULL)
        check_bulk(&check);
    check_that(&check, check_fill(&check) == CHECK_FRAME_COUNT, "lost frames");
    if (peer->is_shared && plan->cpu_count > 1 && !peer->is_limit) {
        const uint64_t stranded = check_stranded(&check);
        if (file != NULL)
            (void)fprintf(file, "%s,%llu\n", peer->name, (unsigned long long)stranded);
        if (stranded != 0)
            printf("%s: %llu of %llu frames that CPU 1 freed are kept from CPU 0\n", peer->name,
                   (unsigned long long)stranded, (unsigned long long)CHECK_FRAME_COUNT);
    }
    free(in_use);
}

void bench_check(const struct bench_plan *plan)
{
    FILE *file = bench_file(plan->directory, "stranded.csv", "peer,frames");
    for (size_t p = 0; p < plan->peer_count; p++) {
        bench_progress("checking %s", plan->peers[p]->name);
        check_peer(plan, plan->peers[p], file);
    }
    bench_progress("%s", "");
    bench_close(file);
}
