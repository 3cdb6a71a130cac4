/*
 * selftest_zeroed.c - frames that idle CPUs have zeroed are zero, whatever was in them.
 */
#include "instructions.h"
#include "log.h"
#include "memory.h"
#include "selftest.h"
#include "smp.h"

#define FRAMES     64u                  /* of each CPU, each round */
#define ROUNDS     8u                   /* between them, the others are idle */
#define READY_MIN  64u                  /* of all, zeroed beforehand; with CPUs that can be idle */
#define CYCLES_MAX UINT64_C(2000000000) /* that a round waits for idle CPUs */

static _Atomic(unsigned) dirty_count, none_count;

/* Take zeroed frames, look at every word, leave something in each, give them back. */
static void use_frames(void *unused)
{
    loam_phys frame[FRAMES];
    (void)unused;
    for (unsigned i = 0; i < FRAMES; i++) {
        frame[i] = loam_take_zeroed(&memory, 0, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL);
        if (loam_phys_is_none(frame[i])) {
            atomic_fetch_add(&none_count, 1);
            continue;
        }
        uint64_t *word = loam_hhdm_pointer(memory.tables.hhdm, frame[i]);
        uint64_t all = 0;
        for (unsigned k = 0; k < LOAM_PAGE_SIZE / sizeof *word; k++) {
            all |= word[k];
            word[k] = ~frame[i].addr;
        }
        if (all != 0)
            atomic_fetch_add(&dirty_count, 1);
    }
    for (unsigned i = 0; i < FRAMES; i++) {
        if (!loam_phys_is_none(frame[i]))
            loam_give_frames(&memory, frame[i], 0, LOAM_OWNER_KERNEL);
    }
}

/* Other CPUs are woken, and zero frames before they sleep again. */
static void let_others_idle(void)
{
    const uint64_t start = x86_read_tsc();
    memory_idle_resume();
    for (unsigned i = 1; i < cpu_count(); i++)
        smp_wake(i);
    while (cpu_count() > 1 && loam_zero_level(&memory.zeroed) < FRAMES &&
           x86_read_tsc() - start < CYCLES_MAX)
        loam_x86_pause();
    memory_idle_stop();
}

const char *selftest_zeroed(void)
{
    struct loam_zero_stats before, after;
    loam_zero_measure(&memory.zeroed, &before);
    atomic_store(&dirty_count, 0);
    atomic_store(&none_count, 0);
    for (unsigned round = 0; round < ROUNDS; round++) {
        let_others_idle();
        smp_run_all(use_frames, NULL);
    }
    loam_zero_measure(&memory.zeroed, &after);
    const uint64_t ready_count = after.hit_count - before.hit_count;
    log_info("zeroed frames: %u taken on %u CPUs, %lu of them zeroed beforehand",
             ROUNDS * FRAMES * cpu_count(), cpu_count(), ready_count);
    if (atomic_load(&none_count) != 0)
        return "there was no memory";
    if (atomic_load(&dirty_count) != 0)
        return "a zeroed frame was not zero";
    if (cpu_count() > 1 && ready_count < READY_MIN)
        return "idle CPUs did not zero enough";
    return memory_audit();
}
