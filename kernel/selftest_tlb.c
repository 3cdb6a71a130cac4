/*
 * selftest_tlb.c - does every CPU see a change of the page tables at once?
 *
 *     map A   every CPU reads: its TLB holds the translation
 *     change  map B, unmap, or make read-only
 *     again   every CPU must see the change
 *
 * Three places: one global page, one of a process, and a range so long that the
 * flush drops everything instead of going page by page.
 */
#include "layout.h"
#include "memory.h"
#include "probe.h"
#include "selftest.h"
#include "smp.h"

#define LONG_PAGES (2 * LOAM_TLB_PAGES_MAX)
#define FRAMES     2u

static const struct place {
    uint64_t address;
    uint64_t pages;
    loam_prot prot;
} places[] = {
    { LAYOUT_SCRATCH, 1, LOAM_PROT_WRITE | LOAM_PROT_GLOBAL },
    { UINT64_C(0x40000000), 1, LOAM_PROT_WRITE },
    { LAYOUT_SCRATCH + UINT64_C(0x200000), LONG_PAGES, LOAM_PROT_WRITE | LOAM_PROT_GLOBAL },
};
#define PLACE_COUNT (sizeof places / sizeof places[0])

/* What every CPU looks at, and how many saw something else. */
static struct {
    uint64_t address, pages;
    uint64_t expected; /* of the first word of each page */
    _Atomic(unsigned) wrong;
} look;

static void read_pages(void *unused)
{
    uint64_t word;
    (void)unused;
    for (uint64_t i = 0; i < look.pages; i++) {
        if (!probe_read(look.address + i * LOAM_PAGE_SIZE, &word) || word != look.expected)
            atomic_fetch_add(&look.wrong, 1);
    }
}

static void expect_no_read(void *unused)
{
    uint64_t word;
    (void)unused;
    for (uint64_t i = 0; i < look.pages; i++) {
        if (probe_read(look.address + i * LOAM_PAGE_SIZE, &word))
            atomic_fetch_add(&look.wrong, 1);
    }
}

static void write_pages(void *unused)
{
    (void)unused;
    for (uint64_t i = 0; i < look.pages; i++) {
        if (!probe_write(look.address + i * LOAM_PAGE_SIZE + sizeof look.expected, 1))
            atomic_fetch_add(&look.wrong, 1);
    }
}

static void expect_no_write(void *unused)
{
    (void)unused;
    for (uint64_t i = 0; i < look.pages; i++) {
        if (probe_write(look.address + i * LOAM_PAGE_SIZE + sizeof look.expected, 1))
            atomic_fetch_add(&look.wrong, 1);
    }
}

static bool every_cpu(cpu_work work, uint64_t expected)
{
    look.expected = expected;
    atomic_store(&look.wrong, 0);
    smp_run_all(work, NULL);
    return atomic_load(&look.wrong) == 0;
}

static struct loam_virt_range range_of(const struct place *place)
{
    return loam_virt_range_of(loam_virt_at(place->address), place->pages * LOAM_PAGE_SIZE);
}

/* Two runs of frames, marked 1 and 2, the first one mapped and seen by all. */
static const char *set_up(const struct place *place, struct loam_phys_range frames[FRAMES])
{
    const struct loam_attr attr = { place->prot, LOAM_CACHE_WB };
    const struct loam_frame_request request = { .page_count = place->pages };
    for (unsigned i = 0; i < FRAMES; i++) {
        if (loam_take(&memory, &request, LOAM_OWNER_KERNEL, &frames[i]) != LOAM_OK)
            return "no frames";
        for (uint64_t page = 0; page < place->pages; page++) {
            const loam_phys at = loam_phys_at(frames[i].start.addr + page * LOAM_PAGE_SIZE);
            *(uint64_t *)loam_hhdm_pointer(memory.tables.hhdm, at) = i + 1;
        }
    }
    if (loam_map(&memory, range_of(place), frames[0].start, attr) != LOAM_OK)
        return "cannot map";
    look.address = place->address;
    look.pages = place->pages;
    return every_cpu(read_pages, 1) && every_cpu(write_pages, 0) ? NULL
                                                                 : "a fresh mapping is not seen";
}

static const char *give_back(const struct loam_phys_range frames[FRAMES])
{
    for (unsigned i = 0; i < FRAMES; i++) {
        if (loam_give(&memory, frames[i], LOAM_OWNER_KERNEL) != LOAM_OK)
            return "cannot give frames back";
    }
    return NULL;
}

static const char *remap_place(const struct place *place)
{
    const struct loam_attr attr = { place->prot, LOAM_CACHE_WB };
    struct loam_phys_range frames[FRAMES];
    const char *wrong = set_up(place, frames);
    if (wrong != NULL)
        return wrong;
    if (loam_unmap(&memory, range_of(place)) != LOAM_OK ||
        loam_map(&memory, range_of(place), frames[1].start, attr) != LOAM_OK)
        return "cannot map another frame";
    if (!every_cpu(read_pages, 2))
        return "a CPU sees the old frame";
    if (loam_unmap(&memory, range_of(place)) != LOAM_OK)
        return "cannot unmap";
    return give_back(frames);
}

static const char *unmap_place(const struct place *place)
{
    struct loam_phys_range frames[FRAMES];
    const char *wrong = set_up(place, frames);
    if (wrong != NULL)
        return wrong;
    if (loam_unmap(&memory, range_of(place)) != LOAM_OK)
        return "cannot unmap";
    if (!every_cpu(expect_no_read, 0))
        return "a CPU reads what is not mapped any more";
    return give_back(frames);
}

static const char *protect_place(const struct place *place)
{
    const struct loam_attr attr = { place->prot & ~LOAM_PROT_WRITE, LOAM_CACHE_WB };
    struct loam_phys_range frames[FRAMES];
    const char *wrong = set_up(place, frames);
    if (wrong != NULL)
        return wrong;
    if (loam_protect(&memory, range_of(place), attr) != LOAM_OK)
        return "cannot make it read-only";
    if (!every_cpu(expect_no_write, 0))
        return "a CPU writes to what is read-only now";
    if (!every_cpu(read_pages, 1))
        return "a CPU cannot read what is read-only";
    if (loam_unmap(&memory, range_of(place)) != LOAM_OK)
        return "cannot unmap";
    return give_back(frames);
}

static const char *at_every_place(const char *(*test)(const struct place *place))
{
    const char *wrong = NULL;
    for (unsigned i = 0; i < PLACE_COUNT && wrong == NULL; i++)
        wrong = test(&places[i]);
    return wrong;
}

const char *selftest_tlb_remap(void)
{
    return at_every_place(remap_place);
}

const char *selftest_tlb_unmap(void)
{
    return at_every_place(unmap_place);
}

const char *selftest_tlb_protect(void)
{
    return at_every_place(protect_place);
}
