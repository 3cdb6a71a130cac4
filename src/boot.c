/*
 * boot.c - see boot.h.
 */
#include <loam/boot.h>

#include <loam/x86.h>

#include "internal/check.h"
#include "internal/refuse.h"
#include "internal/try.h"

/* Bytes from the direct map's first to the last canonical byte of its half, or
 * to the image if that lies above it in the same half. */
static uint64_t boot_window_room(const struct loam_boot *boot)
{
    const uint64_t half = UINT64_C(1) << (12u + 9u * boot->levels - 1u);
    const bool is_lower = boot->hhdm.offset < half;
    const uint64_t room = is_lower ? half - boot->hhdm.offset : 0 - boot->hhdm.offset;
    const uint64_t image = boot->image.virt_base.addr;
    const bool image_above =
        boot->image.section_count != 0 && image >= boot->hhdm.offset && is_lower == (image < half);
    return image_above && image - boot->hhdm.offset < room ? image - boot->hhdm.offset : room;
}

static enum loam_status boot_check_hhdm(const struct loam_boot *boot, struct loam_refusal *refusal)
{
    const uint64_t offset = boot->hhdm.offset;
    LOAM_REQUIRE(loam_hhdm_is_genuine(boot->hhdm),
                 "hhdm: made by something else than a boot adapter", offset, boot->hhdm.seal);
    if (offset == 0 && !boot->hhdm_is_identity)
        return loam_refuse(refusal, LOAM_INVALID,
                           "hhdm: offset 0 without an identity mapping declared", 0, 0);
    if (!loam_is_page_aligned(offset))
        return loam_refuse(refusal, LOAM_INVALID, "hhdm: offset is not page-aligned", offset,
                           LOAM_PAGE_SIZE);
    if (!loam_virt_is_canonical(loam_virt_at(offset), boot->levels))
        return loam_refuse(refusal, LOAM_INVALID, "hhdm: offset is not canonical", offset, 0);
    return LOAM_OK;
}

enum loam_status loam_boot_check(const struct loam_boot *boot,
                                 const struct loam_cpu_features *features, uint64_t *window_bytes,
                                 struct loam_refusal *refusal)
{
    if (boot->struct_bytes != sizeof *boot)
        return loam_refuse(refusal, LOAM_INVALID,
                           "boot: struct loam_boot is of another version (bytes)",
                           boot->struct_bytes, sizeof *boot);
    if (boot->cpu_count < 1 || boot->cpu_count > LOAM_CPUS_MAX)
        return loam_refuse(refusal, LOAM_INVALID, "boot: CPU count is not in 1..LOAM_CPUS_MAX",
                           boot->cpu_count, LOAM_CPUS_MAX);
    if (boot->levels != features->levels)
        return loam_refuse(refusal, LOAM_INVALID,
                           "boot: paging levels announced are not those in use", boot->levels,
                           features->levels);
    LOAM_TRY(boot_check_hhdm(boot, refusal));
    LOAM_TRY(loam_image_check(&boot->image, features, refusal));

    const uint64_t room = boot_window_room(boot);
    if (room == 0)
        return loam_refuse(refusal, LOAM_INVALID, "hhdm: the direct map begins at the kernel image",
                           boot->hhdm.offset, 0);
    if (boot->hhdm_bytes > room)
        return loam_refuse(refusal, LOAM_INVALID,
                           "hhdm: window leaves its half or reaches the kernel image (bytes)",
                           boot->hhdm_bytes, room);
    *window_bytes = boot->hhdm_bytes != 0 ? boot->hhdm_bytes : room;
    return LOAM_OK;
}

/* Two opposite patterns, each written back to memory before it is read again. */
static bool boot_page_holds(struct loam_hhdm hhdm, loam_phys page)
{
    volatile uint64_t *const word = loam_hhdm_pointer(hhdm, page);
    const uint64_t kept = *word;

    *word = page.addr;
    loam_x86_clflush(word);
    const bool holds = *word == page.addr;
    *word = ~page.addr;
    loam_x86_clflush(word);
    const bool holds_inverse = *word == ~page.addr;
    *word = kept;
    return holds && holds_inverse;
}

/* Bytes from @p start on, up to @p end, whose pages all hold, or all do not. */
static uint64_t boot_probe_run(struct loam_hhdm hhdm, uint64_t start, uint64_t end, bool *holds)
{
    uint64_t at = start + LOAM_PAGE_SIZE;

    *holds = boot_page_holds(hhdm, loam_phys_at(start));
    while (at < end && boot_page_holds(hhdm, loam_phys_at(at)) == *holds)
        at += LOAM_PAGE_SIZE;
    return at - start;
}

enum loam_status loam_boot_probe(const struct loam_boot *boot, const struct loam_memmap *map,
                                 size_t *raw_count, struct loam_refusal *refusal)
{
    for (size_t i = 0; i < map->entry_count; i++) {
        const struct loam_phys_range range = map->entry[i].range;
        if (map->entry[i].type != LOAM_MEM_USABLE)
            continue;
        for (uint64_t done = 0; done < range.size;) {
            const uint64_t start = range.start.addr + done;
            bool holds;
            const uint64_t size =
                boot_probe_run(boot->hhdm, start, range.start.addr + range.size, &holds);
            done += size;
            if (holds)
                continue;
            if (*raw_count >= boot->storage.raw_max)
                return loam_refuse(refusal, LOAM_NO_SPACE,
                                   "boot: no room to add bad memory to the memory map (entries)",
                                   *raw_count, boot->storage.raw_max);
            struct loam_memmap_entry *const bad = &boot->storage.raw[(*raw_count)++];
            bad->range = loam_phys_range_of(loam_phys_at(start), size);
            bad->type = LOAM_MEM_BAD;
        }
    }
    return LOAM_OK;
}
