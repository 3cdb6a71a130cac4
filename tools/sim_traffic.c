/*
 * sim_traffic.c - see sim_traffic.h. What goes wrong here is a bug in Loam: it panics.
 */
#include "sim_traffic.h"

#include <string.h>

#include "src/internal/check.h"
#include "tests/machine.h"

#define TRAFFIC_STEPS 20000u
#define TRAFFIC_SLOTS 256u

/* A block that is counted, or a range that is recorded. size 0: nothing */
struct holding {
    struct loam_phys_range range;
    unsigned order;
    bool is_recorded;
};

struct traffic {
    struct loam *mm;
    unsigned cpu_count;
    uint64_t seed;
    struct sim_traffic sum;
    struct holding slot[TRAFFIC_SLOTS];
};

static uint64_t draw(struct traffic *traffic, uint64_t bound)
{
    traffic->seed = traffic->seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (traffic->seed >> 33) % bound;
}

static void take(struct traffic *traffic, size_t at)
{
    static const unsigned orders[] = { 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 6, LOAM_ORDER_2M };
    struct holding *held = &traffic->slot[at];
    held->is_recorded = draw(traffic, 16) == 0;
    held->order = orders[draw(traffic, sizeof orders / sizeof orders[0])];
    loam_phys start = loam_phys_none();
    uint64_t size = loam_order_bytes(held->order);
    if (held->is_recorded) {
        const struct loam_frame_request request = { .page_count = 1 + draw(traffic, 100) };
        struct loam_phys_range range;
        size = request.page_count * LOAM_PAGE_SIZE;
        if (loam_take(traffic->mm, &request, LOAM_OWNER_KERNEL, &range) == LOAM_OK)
            start = range.start;
    } else {
        const enum loam_zone zone = (enum loam_zone)(draw(traffic, 8) == 0 ? draw(traffic, 3) : 0);
        start = loam_take_frames(traffic->mm, held->order, zone, LOAM_OWNER_KERNEL);
    }
    traffic->sum.request_count++;
    traffic->sum.refusal_count += loam_phys_is_none(start);
    if (loam_phys_is_none(start))
        return;
    held->range = loam_phys_range_of(start, size);
    *(uint64_t *)machine_ram(start.addr) = at;
    *(uint64_t *)machine_ram(start.addr + size - 8) = at;
}

static void give(struct traffic *traffic, size_t at)
{
    struct holding *held = &traffic->slot[at];
    const struct loam_phys_range range = held->range;
    LOAM_REQUIRE(*(uint64_t *)machine_ram(range.start.addr) == at &&
                     *(uint64_t *)machine_ram(range.start.addr + range.size - 8) == at,
                 "loam-sim: memory was given to two", range.start.addr, range.size);
    if (held->is_recorded)
        LOAM_REQUIRE(loam_give(traffic->mm, range, LOAM_OWNER_KERNEL) == LOAM_OK,
                     "loam-sim: memory cannot be given back", range.start.addr, range.size);
    else
        loam_give_frames(traffic->mm, range.start, held->order, LOAM_OWNER_KERNEL);
    held->range.size = 0;
}

/* Take and give on all CPUs in turn; in the end all is as it was. */
static void run_traffic(struct traffic *traffic)
{
    const uint64_t kernel = loam_owner_bytes(traffic->mm, LOAM_OWNER_KERNEL);
    for (unsigned i = 0; i < TRAFFIC_STEPS; i++) {
        const size_t at = (size_t)draw(traffic, TRAFFIC_SLOTS);
        machine_set_cpu((unsigned)draw(traffic, traffic->cpu_count));
        if (traffic->slot[at].range.size == 0)
            take(traffic, at);
        else
            give(traffic, at);
    }
    machine_set_cpu(0);
    for (size_t at = 0; at < TRAFFIC_SLOTS; at++)
        if (traffic->slot[at].range.size != 0)
            give(traffic, at);
    LOAM_REQUIRE(loam_owner_bytes(traffic->mm, LOAM_OWNER_KERNEL) == kernel,
                 "loam-sim: given back, and still charged", kernel, 0);
}

struct sim_traffic sim_traffic_run(struct loam *mm, unsigned cpu_count)
{
    static struct traffic traffic;
    memset(&traffic, 0, sizeof traffic);
    traffic.mm = mm;
    traffic.cpu_count = cpu_count;
    traffic.seed = 1;
    run_traffic(&traffic);
    LOAM_REQUIRE(loam_reclaim(mm, &traffic.sum.reclaimed_bytes) == LOAM_OK &&
                     loam_owner_bytes(mm, LOAM_OWNER_BOOTLOADER) == 0,
                 "loam-sim: the bootloader's memory cannot be had", 0, 0);
    run_traffic(&traffic);
    LOAM_REQUIRE(loam_audit(mm) == NULL, "loam-sim: the books do not add up", 0, 0);
    return traffic.sum;
}
