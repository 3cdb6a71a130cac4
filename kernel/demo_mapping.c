/*
 * demo_mapping.c - one frame at two addresses.
 *
 *     0xdeadbeef --page tables--> frame + 0xeef <--direct map-- offset + frame + 0xeef
 */
#include "demos.h"
#include "log.h"
#include "memory.h"
#include "probe.h"
#include "text.h"

#define PLACE UINT64_C(0xdeadbeef)

static const char text[] = "This text was written to 0xdeadbeef.";

static bool write_and_read(uint64_t frame)
{
    const uint64_t behind = frame + (PLACE & (LOAM_PAGE_SIZE - 1));
    const char *other = loam_hhdm_pointer(memory.tables.hhdm, loam_phys_at(behind));
    memcpy((void *)(uintptr_t)PLACE, text, sizeof text);
    log_info("0x%lx is mapped to physical 0x%016lx", PLACE, behind);
    log_info("the text at %p: %s", (const void *)other, other);
    return memcmp(other, text, sizeof text) == 0;
}

bool demo_mapping(struct loam_locked *heap)
{
    (void)heap;
    const struct loam_attr attr = { LOAM_PROT_WRITE, LOAM_CACHE_WB };
    const struct loam_frame_request one = { .page_count = 1 };
    const struct loam_virt_range page =
        loam_virt_range_of(loam_virt_at(loam_page_floor(PLACE)), LOAM_PAGE_SIZE);
    struct loam_phys_range frame;
    uint64_t word;

    if (loam_take(&memory, &one, LOAM_OWNER_KERNEL, &frame) != LOAM_OK)
        return false;
    bool went_well = loam_map(&memory, page, frame.start, attr) == LOAM_OK;
    if (went_well) {
        went_well = write_and_read(frame.start.addr);
        went_well = loam_unmap(&memory, page) == LOAM_OK && went_well;
        const bool is_gone = !probe_read(page.start.addr, &word);
        log_info("0x%lx is unmapped: an access %s", PLACE, is_gone ? "faults" : "SUCCEEDS");
        went_well = is_gone && went_well;
    }
    return loam_give(&memory, frame, LOAM_OWNER_KERNEL) == LOAM_OK && went_well;
}
