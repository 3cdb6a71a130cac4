/*
 * sim_server.c - see sim_server.h. What goes wrong here is a bug in Loam: it panics.
 */
#include "sim_server.h"

#include <inttypes.h>
#include <stdio.h>

#include "src/internal/check.h"
#include "src/internal/text.h"
#include "tests/machine.h"
#include "tools/sim_host.h"

static void name_nodes(const struct sim_numa *numa, struct loam *mm)
{
    struct loam_frame_node range[SIM_NODE_RANGES];
    const size_t count = sim_numa_ranges(numa, range);
    const size_t bytes = loam_frame_nodes_bytes_needed(&mm->frame, count);
    const struct loam_frame_request request = {
        .page_count = (bytes + LOAM_PAGE_SIZE - 1) / LOAM_PAGE_SIZE,
    };
    struct loam_phys_range room;
    LOAM_REQUIRE(loam_take(mm, &request, LOAM_OWNER_KERNEL, &room) == LOAM_OK,
                 "loam-sim: no memory for the nodes", count, bytes);
    const enum loam_status status = loam_frame_set_nodes(
        &mm->frame, range, count, loam_hhdm_pointer(machine_hhdm(), room.start), room.size);
    LOAM_REQUIRE(status == LOAM_OK, "loam-sim: the nodes are refused", count, (unsigned)status);
    for (unsigned cpu = 0; cpu < numa->cpu_count; cpu++)
        loam_frame_set_cpu(&mm->frame, cpu, sim_numa_node_of_cpu(numa, cpu));
}

/* Wholly free blocks of 2 MiB when no lane and no pool holds a frame. */
static uint64_t count_blocks(struct loam *mm)
{
    uint64_t count = 0;
    (void)loam_zero_drain(&mm->zeroed);
    loam_frame_drain(&mm->frame);
    for (unsigned zone = 0; zone < LOAM_ZONES; zone++) {
        struct loam_frame_stats stats;
        loam_frame_measure(&mm->frame, (enum loam_zone)zone, &stats);
        count += stats.block_count;
    }
    return count;
}

static uint64_t touched_metadata(const struct loam *mm)
{
    return sim_host_touched(loam_hhdm_pointer(machine_hhdm(), mm->frame_memory.start),
                            mm->frame_memory.size);
}

void sim_server_run(struct sim_server *server, struct loam *mm)
{
    sim_progress_step("nodes and reclaim", 0);
    server->metadata_bytes = mm->frame_memory.size;
    server->start_touched = touched_metadata(mm);
    name_nodes(&server->numa, mm);
    LOAM_REQUIRE(loam_reclaim(mm, &server->reclaimed_bytes) == LOAM_OK,
                 "loam-sim: the bootloader's memory cannot be had", 0, 0);
    const uint64_t usable = loam_owner_bytes(mm, LOAM_OWNER_USABLE);
    server->block_count = count_blocks(mm);

    server->steady = sim_steady_run(mm, &server->numa, server->steps);
    server->touched = touched_metadata(mm);

    sim_progress_step("audit", 0);
    LOAM_REQUIRE(loam_owner_bytes(mm, LOAM_OWNER_USABLE) == usable,
                 "loam-sim: given back, and still charged", usable,
                 loam_owner_bytes(mm, LOAM_OWNER_USABLE));
    const uint64_t blocks = count_blocks(mm);
    LOAM_REQUIRE(blocks == server->block_count, "loam-sim: given back, and still in pieces",
                 server->block_count, blocks);
    LOAM_REQUIRE(loam_audit(mm) == NULL, "loam-sim: the books do not add up", 0, 0);
}

/* ---- printing ------------------------------------------------------------- */

static double percent(uint64_t part, uint64_t whole)
{
    return whole != 0 ? 100. * (double)part / (double)whole : 0;
}

static void print_touched(const char *when, uint64_t bytes, uint64_t whole)
{
    if (bytes == UINT64_MAX)
        printf("%s: the host does not tell", when);
    else
        printf("%s: %" PRIu64 " bytes (%.2f %%)", when, bytes, percent(bytes, whole));
}

void sim_server_print(const struct sim_server *server, const struct loam_writer *writer)
{
    const struct sim_steady *const steady = &server->steady;
    const uint64_t held = (steady->held_bytes + (1u << 21) - 1) >> 21;
    printf("\nserver\n  nodes: %u of ", server->numa.node_count);
    loam_text_size(writer, server->numa.node_gib << 30, 0);
    printf(", CPUs: %u on %u of them\n", server->numa.cpu_count,
           sim_numa_nodes_used(&server->numa));
    printf("  bring-up: %.1f ms at LOAM_CHECK %d\n", (double)server->start_nanoseconds / 1e6,
           LOAM_CHECK);
    print_touched("  metadata touched: at first", server->start_touched, server->metadata_bytes);
    print_touched(", in the end", server->touched, server->metadata_bytes);
    printf("\n  reclaimed: %" PRIu64 " bytes\n", server->reclaimed_bytes);
    if (steady->round_count != 0)
        printf("  steady: after %" PRIu64 " rounds", steady->round_count);
    else
        printf("  steady: never");
    printf(", %" PRIu64 " of %" PRIu64 " slots full, ", steady->block_count, steady->slot_count);
    loam_text_size(writer, steady->held_bytes, 0);
    printf(" held\n  operations: %" PRIu64 " in %.1f ms, %" PRIu64 " refused, %" PRIu64
           " given back by another CPU\n",
           steady->operation_count, (double)steady->nanoseconds / 1e6, steady->refusal_count,
           steady->remote_count);
    printf("  from the own node: %.2f %% of %" PRIu64 " requests, %.2f %% of %" PRIu64
           " frames, %.2f %% of %" PRIu64 " zeroed\n",
           percent(steady->local_count, steady->request_count), steady->request_count,
           percent(steady->local_frames, steady->frame_count), steady->frame_count,
           percent(steady->zeroed_local, steady->zeroed_count), steady->zeroed_count);
    printf("  zeroed by idle CPUs: %" PRIu64 " of %" PRIu64 "\n", steady->beforehand_count,
           steady->zeroed_count);
    printf("  lanes drained: %" PRIu64 "\n", steady->drain_count);
    printf("  blocks of 2 MiB: %" PRIu64 " whole, %" PRIu64 " at best\n", steady->whole_count,
           server->block_count - held);
    printf("  given back: nothing lost, %" PRIu64 " blocks of 2 MiB as before\n",
           server->block_count);
    printf("  host memory: %" PRIu64 " bytes at most\n", sim_host_peak());
}
