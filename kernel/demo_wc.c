/*
 * demo_wc.c - the framebuffer at two addresses more, of two cache types.
 *
 *     PAT   which of eight types an entry means: bits PAT, PCD and PWT are the index.
 *           PAT is bit 7 of entries of level 1, and bit 12 of those of levels 2 and 3
 *
 * Both draw: the upper half through one, the lower half through the other. Both types
 * are uncached, so neither shows anything but memory itself, once what was combined has
 * been written. On an emulated machine both are equally fast.
 */
#include "demos.h"
#include "instructions.h"
#include "layout.h"
#include "loader.h"
#include "log.h"
#include "memory.h"

#define PLACE_WC  (LAYOUT_SCRATCH + UINT64_C(0x12000000))
#define PLACE_UC  (LAYOUT_SCRATCH + UINT64_C(0x18000000))
#define PLACE_MAX (PLACE_UC - PLACE_WC)

/* What entries mean to a processor that has no PAT. */
#define PAT_WITHOUT UINT64_C(0x0007040600070406)

#define ENTRY_PWT       (UINT64_C(1) << 3)
#define ENTRY_PCD       (UINT64_C(1) << 4)
#define ENTRY_PAT_SMALL (UINT64_C(1) << 7)
#define ENTRY_PAT_LARGE (UINT64_C(1) << 12)

/* Memory types in the PAT, Intel SDM vol. 3, section 12.12.2. */
enum pat_type { PAT_UC, PAT_WC, PAT_WT = 4, PAT_WP, PAT_WB, PAT_UC_MINUS, PAT_TYPES };

static const struct view {
    const char *name;
    uint64_t place;
    enum loam_cache cache;
} views[] = {
    { "WC", PLACE_WC, LOAM_CACHE_WC },
    { "UC", PLACE_UC, LOAM_CACHE_UC },
};
#define VIEW_COUNT 2u

static const char *type_name(uint64_t type)
{
    static const char *const names[PAT_TYPES] = { "UC", "WC", "?", "?", "WT", "WP", "WB", "UC-" };
    return type < PAT_TYPES ? names[type] : "?";
}

/* What the processor takes the entry at an address for. */
static bool show_entry(const struct view *view, uint64_t at, uint64_t pat)
{
    struct loam_entry entry;
    if (loam_space_entry(&memory.space, loam_virt_at(at), &entry) != LOAM_OK)
        return false;
    const uint64_t pat_bit = entry.level == 1 ? ENTRY_PAT_SMALL : ENTRY_PAT_LARGE;
    const unsigned bits[] = { (entry.raw & pat_bit) != 0, (entry.raw & ENTRY_PCD) != 0,
                              (entry.raw & ENTRY_PWT) != 0 };
    const unsigned index = bits[0] << 2 | bits[1] << 1 | bits[2];
    const uint64_t type = pat >> 8 * index & 7;
    const uint64_t wanted = view->cache == LOAM_CACHE_UC ? PAT_UC
                            : memory.features.pat        ? PAT_WC
                                                         : PAT_UC_MINUS;
    log_info("%s at 0x%016lx: level %u entry 0x%016lx, PAT %u PCD %u PWT %u: type %u is %s",
             view->name, at, entry.level, entry.raw, bits[0], bits[1], bits[2], index,
             type_name(type));
    return type == wanted;
}

/* ---- drawing ---------------------------------------------------------------------- */

static volatile uint32_t *pixel_at(const struct view *view, uint64_t offset)
{
    return (volatile uint32_t *)(uintptr_t)(view->place + offset);
}

static uint32_t colour_of(const struct view *view, uint64_t offset)
{
    return (uint32_t)(offset >> 2) * 0x010203u ^ (uint32_t)view->cache << 20;
}

/* @return how many pixels the other view shows otherwise */
static uint64_t draw(const struct view *view, const struct view *other, uint64_t from, uint64_t to)
{
    uint64_t wrong = 0;
    for (uint64_t offset = from; offset < to; offset += sizeof(uint32_t))
        *pixel_at(view, offset) = colour_of(view, offset);
    x86_store_fence();
    for (uint64_t offset = from; offset < to; offset += sizeof(uint32_t))
        wrong += *pixel_at(other, offset) != colour_of(view, offset);
    return wrong;
}

static bool draw_both(uint64_t size)
{
    const uint64_t middle = size / 2 & ~(uint64_t)(sizeof(uint32_t) - 1);
    const uint64_t end = size & ~(uint64_t)(sizeof(uint32_t) - 1);
    const uint64_t wrong =
        draw(&views[0], &views[1], 0, middle) + draw(&views[1], &views[0], middle, end);
    log_info("%lu pixels drawn through WC, %lu through UC; %lu are wrong through the other",
             middle / sizeof(uint32_t), (end - middle) / sizeof(uint32_t), wrong);
    return wrong == 0;
}

/* ---- mapping ------------------------------------------------------------------------ */

static bool show_both(loam_phys phys, uint64_t page_bytes, uint64_t size)
{
    const uint64_t pat = memory.features.pat ? loam_x86_rdmsr(LOAM_MSR_PAT) : PAT_WITHOUT;
    bool all_good = true;
    log_info("framebuffer at physical 0x%016lx, %lu bytes; IA32_PAT is 0x%016lx", phys.addr, size,
             pat);
    for (unsigned i = 0; i < VIEW_COUNT; i++) {
        all_good = show_entry(&views[i], views[i].place, pat) && all_good;
        all_good =
            show_entry(&views[i], views[i].place + page_bytes - LOAM_PAGE_SIZE, pat) && all_good;
    }
    return draw_both(size) && all_good;
}

static struct loam_virt_range range_of(const struct view *view, uint64_t page_bytes)
{
    return loam_virt_range_of(loam_virt_at(view->place), page_bytes);
}

bool demo_wc(struct loam_locked *heap)
{
    struct loam_translation at;
    unsigned mapped = 0;
    (void)heap;
    if (loader.framebuffer_count == 0) {
        log_info("there is no framebuffer");
        return true;
    }
    const struct loam_virt_range shown = loader.framebuffer[0];
    const uint64_t page_bytes = loam_page_floor(shown.size + (LOAM_PAGE_SIZE - 1));
    if (loam_space_query(&memory.space, shown.start, &at) != LOAM_OK ||
        !loam_is_page_aligned(at.phys.addr) || page_bytes > PLACE_MAX) {
        log_info("the framebuffer cannot be mapped in whole pages, or is too large");
        return true;
    }
    while (mapped < VIEW_COUNT) {
        const struct loam_attr attr = { LOAM_PROT_WRITE | LOAM_PROT_GLOBAL, views[mapped].cache };
        if (loam_map(&memory, range_of(&views[mapped], page_bytes), at.phys, attr) != LOAM_OK)
            break;
        mapped++;
    }
    bool all_good = mapped == VIEW_COUNT && show_both(at.phys, page_bytes, shown.size);
    while (mapped != 0)
        all_good =
            loam_unmap(&memory, range_of(&views[--mapped], page_bytes)) == LOAM_OK && all_good;
    return all_good;
}
