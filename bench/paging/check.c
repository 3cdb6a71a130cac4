/*
 * check.c - before the clock starts: the tables that each makes are read as a
 * processor would, and what it says of them is compared.
 */
#include "../arena/help.h"
#include "bench.h"

#define WRITE       UINT64_C(2)
#define LARGE       (UINT64_C(1) << 7)
#define NO_EXECUTE  (UINT64_C(1) << 63)
#define ADDRESS     UINT64_C(0x000ffffffffff000)
#define CHECK_PAGES 4096u

/* What the tables say of one page. */
struct check_page {
    uint64_t phys; /* PAGING_NONE: not mapped */
    uint64_t page_size;
    bool is_writable;
};

static struct check_page check_walk(const struct bench *bench, const struct paging_peer *peer,
                                    uint64_t virt)
{
    const struct check_page none = { PAGING_NONE, 0, false };
    uint64_t table = peer->root();
    uint64_t rights = WRITE;

    for (unsigned shift = 39;; shift -= 9) {
        const uint64_t frame = (table - PAGING_TABLES) / PAGING_PAGE;
        if (table < PAGING_TABLES || table % PAGING_PAGE != 0 || frame >= bench->frame_count)
            bench_fail("has a table that is nowhere", peer->name);
        const uint64_t *entries = (const uint64_t *)(const void *)bench->memory + frame * 512;
        const uint64_t entry = entries[virt >> shift & 511];
        if ((entry & 1) == 0)
            return none;
        rights &= entry;
        table = entry & ADDRESS;
        if (shift == 12 || (entry & LARGE) != 0) {
            if ((entry & NO_EXECUTE) == 0)
                bench_fail("maps pages that can be executed", peer->name);
            const struct check_page page = { table, UINT64_C(1) << shift, (rights & WRITE) != 0 };
            return page;
        }
    }
}

static void check_page(const struct bench *bench, const struct paging_peer *peer, uint64_t virt,
                       struct check_page want)
{
    const struct check_page found = check_walk(bench, peer, virt);
    const uint64_t offset = 0x123;
    const uint64_t phys = peer->translate(virt + offset);

    if (found.phys != want.phys || found.page_size != want.page_size ||
        found.is_writable != want.is_writable)
        bench_fail("has tables that say something else", peer->name);
    if (phys != (want.phys == PAGING_NONE ? PAGING_NONE : want.phys + offset))
        bench_fail("translates wrongly", peer->name);
}

static void check_did(const struct paging_peer *peer, bool success)
{
    if (!success)
        bench_fail("refuses what it should do", peer->name);
}

/* A part is write-protected and a part of that unmapped, a whole table with it; neighbours
 * stay as they are. */
static void check_range(struct bench *bench, const struct paging_peer *peer)
{
    const struct check_page none = { PAGING_NONE, 0, false };
    const uint64_t first = 500, count = CHECK_PAGES - 1000; /* mapped */
    const uint64_t virt = PAGING_AREA + first * PAGING_PAGE;
    const uint64_t phys = bench_phys(virt, PAGING_PAGE);

    bench_bring_up(bench, peer, CHECK_PAGES * PAGING_PAGE, PAGING_PAGE);
    check_did(peer, peer->map(virt, phys, count * PAGING_PAGE, PAGING_PAGE));
    check_did(peer, peer->protect(virt + 100 * PAGING_PAGE, 1000 * PAGING_PAGE));
    check_did(peer, peer->unmap(virt + 300 * PAGING_PAGE, 790 * PAGING_PAGE));
    for (uint64_t i = 0; i < CHECK_PAGES; i++) {
        const uint64_t at = i - first; /* wraps below */
        const struct check_page page = { phys + at * PAGING_PAGE, PAGING_PAGE,
                                         at < 100 || at >= 1100 };
        const bool is_mapped = at < 300 || (at >= 1090 && at < count);
        check_page(bench, peer, PAGING_AREA + i * PAGING_PAGE, is_mapped ? page : none);
    }
}

/* Half the pages one by one in random order, then half of these unmapped. */
static void check_scattered(struct bench *bench, const struct paging_peer *peer)
{
    const struct check_page none = { PAGING_NONE, 0, false };

    bench_bring_up(bench, peer, CHECK_PAGES * PAGING_PAGE, PAGING_PAGE);
    bench_draw(bench, CHECK_PAGES);
    for (size_t i = 0; i < CHECK_PAGES / 2; i++)
        check_did(peer, peer->map_page(bench->virts[i], bench_phys(bench->virts[i], PAGING_PAGE)));
    check_did(peer, peer->unmap_pages(bench->virts, CHECK_PAGES / 4) != PAGING_NONE);
    for (size_t i = 0; i < CHECK_PAGES; i++) {
        const uint64_t virt = bench->virts[i];
        const struct check_page page = { bench_phys(virt, PAGING_PAGE), PAGING_PAGE, true };
        const bool is_mapped = i >= CHECK_PAGES / 4 && i < CHECK_PAGES / 2;
        check_page(bench, peer, virt, is_mapped ? page : none);
    }
}

static void check_large(struct bench *bench, const struct paging_peer *peer)
{
    const struct check_page none = { PAGING_NONE, 0, false };
    const uint64_t count = 1500;
    const uint64_t phys = bench_phys(PAGING_AREA, PAGING_LARGE);

    bench_bring_up(bench, peer, (count + 1) * PAGING_LARGE, PAGING_LARGE);
    check_did(peer, peer->map(PAGING_AREA, phys, count * PAGING_LARGE, PAGING_LARGE));
    for (uint64_t i = 0; i < count; i++) {
        const struct check_page page = { phys + i * PAGING_LARGE, PAGING_LARGE, true };
        check_page(bench, peer, PAGING_AREA + i * PAGING_LARGE, page);
    }
    check_page(bench, peer, PAGING_AREA + count * PAGING_LARGE, none);
}

void bench_check(struct bench *bench, const struct paging_peer *peer)
{
    bench_bring_up(bench, peer, CHECK_PAGES * PAGING_PAGE, PAGING_PAGE);
    if (peer->root() == 0) /* has no tables */
        return;
    check_range(bench, peer);
    check_scattered(bench, peer);
    check_large(bench, peer);
}
