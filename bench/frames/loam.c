/* loam.c - Loam's frame allocator as the benchmark calls it, and the number of its CPU. */
#include <loam/frame.h>
#include <loam/port.h>

#include "peer.h"

_Thread_local unsigned frames_cpu;

unsigned loam_port_cpu(void)
{
    return frames_cpu;
}

static struct loam_frame loam;

/* The range is borrowed until the setup is used. */
static struct loam_frame_setup loam_setup(const struct loam_phys_range *range, unsigned cpu_count)
{
    return (struct loam_frame_setup){ .range = range, .range_count = 1, .cpu_count = cpu_count };
}

static size_t loam_metadata_bytes(uint64_t frame_count, unsigned cpu_count)
{
    const struct loam_phys_range range = { { FRAMES_BASE }, frame_count * LOAM_PAGE_SIZE };
    const struct loam_frame_setup setup = loam_setup(&range, cpu_count);
    return loam_frame_bytes_needed(&setup);
}

static bool loam_bring_up(const struct frames_setup *frames)
{
    const struct loam_phys_range range = { { FRAMES_BASE }, frames->frame_count * LOAM_PAGE_SIZE };
    struct loam_frame_setup setup = loam_setup(&range, frames->cpu_count);
    setup.memory = frames->memory;
    setup.memory_bytes = loam_metadata_bytes(frames->frame_count, frames->cpu_count);
    setup.is_zeroed = frames->is_zeroed;
    return loam_frame_init(&loam, &setup) == LOAM_OK;
}

static uint64_t loam_alloc(unsigned order)
{
    return loam_frame_alloc(&loam, order, LOAM_ZONE_ANY).addr;
}

static void loam_free(uint64_t address, unsigned order)
{
    loam_frame_free(&loam, loam_phys_at(address), order);
}

/* An address is all that a loam_phys holds. */
LOAM_STATIC_ASSERT(sizeof(loam_phys) == sizeof(uint64_t) &&
                       _Alignof(loam_phys) == _Alignof(uint64_t),
                   "an array of the one is an array of the other");

static size_t loam_alloc_bulk(uint64_t *out, size_t count)
{
    return loam_frame_alloc_bulk(&loam, LOAM_ZONE_ANY, (loam_phys *)(void *)out, count);
}

static void loam_free_bulk(const uint64_t *addresses, size_t count)
{
    loam_frame_free_bulk(&loam, (const loam_phys *)(const void *)addresses, count);
}

LOAM_STATIC_ASSERT(FRAMES_NONE == UINT64_MAX, "as loam_phys_none()");

const struct frames_peer frames_loam[] = {
    { .name = "loam",
      .order_max = LOAM_ORDER_MAX,
      .is_shared = true,
      .metadata_bytes = loam_metadata_bytes,
      .init = loam_bring_up,
      .alloc = loam_alloc,
      .free = loam_free,
      .alloc_bulk = loam_alloc_bulk,
      .free_bulk = loam_free_bulk },
    { .name = NULL },
};
