/*
 * selftest_stress.c - all CPUs at once: blocks come and go, pages are mapped and
 * unmapped, IPIs and timer interrupts arrive. Every other unmap is done with
 * interrupts off, so that CPUs ask each other for flushes while deaf.
 */
#include "instructions.h"
#include "log.h"
#include "malloc.h"
#include "memory.h"
#include "probe.h"
#include "selftest.h"
#include "stress.h"
#include "text.h"

#define ROUNDS_MAX      1200u
#define ROUNDS_MIN      60u
#define CYCLES_MAX      UINT64_C(3000000000) /* more CPUs than the host has are slow */
#define SLOTS           16u
#define BLOCK_BYTES_MAX 600u
#define ROUNDS_PER_MAP  8u
#define PLACES          UINT64_C(0x100000000)
#define PLACE_BYTES     UINT64_C(0x200000) /* a page table of its own per CPU */

struct worker {
    struct stress_hand *hand;
    struct loam_phys_range frame;
    uint8_t *block[SLOTS];
    size_t size[SLOTS];
};

/* Fill a block, or check that nobody else wrote to it and free it. */
static void touch_block(struct worker *worker, unsigned slot, uint8_t mark)
{
    if (worker->block[slot] == NULL) {
        worker->size[slot] = 1 + stress_random(worker->hand) % BLOCK_BYTES_MAX;
        worker->block[slot] = malloc(worker->size[slot]);
        if (worker->block[slot] != NULL)
            memset(worker->block[slot], mark, worker->size[slot]);
        return;
    }
    bool is_whole = true;
    for (size_t i = 0; i < worker->size[slot]; i++)
        is_whole = is_whole && worker->block[slot][i] == mark;
    stress_expect(is_whole);
    free_sized(worker->block[slot], worker->size[slot]);
    worker->block[slot] = NULL;
}

static void touch_page(struct worker *worker, unsigned cpu, bool deaf)
{
    const struct loam_attr attr = { LOAM_PROT_WRITE, LOAM_CACHE_WB };
    const struct loam_virt_range page =
        loam_virt_range_of(loam_virt_at(PLACES + cpu * PLACE_BYTES), LOAM_PAGE_SIZE);
    uint64_t word;
    const uint64_t irq = deaf ? loam_x86_irq_save() : 0;
    stress_expect(loam_map(&memory, page, worker->frame.start, attr) == LOAM_OK);
    stress_expect(probe_write(page.start.addr, (uint8_t)cpu));
    stress_expect(loam_unmap(&memory, page) == LOAM_OK);
    stress_expect(!probe_read(page.start.addr, &word));
    if (deaf)
        loam_x86_irq_restore(irq);
}

static void work(void *unused)
{
    const struct loam_frame_request one = { .page_count = 1 };
    const unsigned cpu = cpu_self()->index;
    struct worker worker = { 0 };
    (void)unused;
    if (loam_take(&memory, &one, LOAM_OWNER_KERNEL, &worker.frame) != LOAM_OK) {
        stress_expect(false);
        return;
    }
    worker.hand = stress_begin();
    for (uint64_t round = 0; stress_goes_on(worker.hand, round); round++) {
        touch_block(&worker, stress_random(worker.hand) % SLOTS, (uint8_t)(cpu + 1));
        if (round % ROUNDS_PER_MAP == 0)
            touch_page(&worker, cpu, round % (2 * ROUNDS_PER_MAP) == 0);
    }
    stress_end();
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        if (worker.block[slot] != NULL)
            touch_block(&worker, slot, (uint8_t)(cpu + 1));
    }
    stress_expect(loam_give(&memory, worker.frame, LOAM_OWNER_KERNEL) == LOAM_OK);
}

const char *selftest_stress(void)
{
    static const struct stress_job job = {
        .work = work,
        .rounds = ROUNDS_MAX,
        .rounds_sure = ROUNDS_MIN,
        .cycles_max = CYCLES_MAX,
    };
    stress_run(&job);
    log_info("stress: %lu rounds on %u CPUs", atomic_load(&stress_counts.round), cpu_count());
    if (atomic_load(&stress_counts.wrong) != 0)
        return "a block changed, or a page did not come and go";
    return memory_audit();
}
