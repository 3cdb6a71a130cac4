/*
 * reserve.c - see reserve.h.
 */
#include "reserve.h"

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>

#include <loam/types.h>
#include <stdatomic.h>

#include "../src/internal/check.h"
#include "../src/internal/heap_large.h"

#define RESERVE_UNIT  64u
#define RESERVE_WORDS 512u /* of 64 units, a page each: 2 MiB */
#define RESERVE_MAPS  256u
#define RESERVE_BYTES ((size_t)RESERVE_WORDS * 64 * RESERVE_UNIT)

#define RESERVE_CLAIMED ((uintptr_t)1) /* an entry that is being filled */

static _Alignas(LOAM_PAGE_SIZE) unsigned char reserve_memory[RESERVE_BYTES];

/* A block is units with bits in used[], the outer ones with bits in first[] and last[]: these
 * follow the first, so that only those of a block that is out may be believed. */
static struct {
    _Atomic(uint64_t) used[RESERVE_WORDS];
    _Atomic(uint64_t) first[RESERVE_WORDS];
    _Atomic(uint64_t) last[RESERVE_WORDS];
    _Atomic(unsigned) map_count;
    struct {
        _Atomic(uintptr_t) start; /* 0: free */
        _Atomic(size_t) size_bytes;
    } map[RESERVE_MAPS];
} reserve;

/* ---- units -------------------------------------------------------------------- */

static uint64_t reserve_mask(unsigned count)
{
    return count == 64 ? UINT64_MAX : (UINT64_C(1) << count) - 1;
}

/* Bits from which on so many are set. */
static uint64_t reserve_runs(uint64_t bits, unsigned count)
{
    unsigned have = 1;

    while (have < count && bits != 0) {
        const unsigned step = count - have < have ? count - have : have;
        bits &= bits >> step;
        have += step;
    }
    return bits;
}

/* Every so many units: where aligned blocks may start. */
static uint64_t reserve_starts(size_t align)
{
    const unsigned step = align <= RESERVE_UNIT ? 1 : (unsigned)(align / RESERVE_UNIT);
    uint64_t bits = 1;

    for (unsigned have = step; have < 64; have *= 2)
        bits |= bits << have;
    return bits;
}

static void *reserve_take(unsigned units, size_t align)
{
    const uint64_t starts = reserve_starts(align);

    for (unsigned word = 0; word < RESERVE_WORDS; word++) {
        uint64_t used = atomic_load(&reserve.used[word]);
        uint64_t found;
        while ((found = reserve_runs(~used, units) & starts) != 0) { /* again: others changed it */
            const unsigned unit = (unsigned)__builtin_ctzll(found);
            if (!atomic_compare_exchange_weak(&reserve.used[word], &used,
                                              used | reserve_mask(units) << unit))
                continue;
            atomic_fetch_or(&reserve.last[word], UINT64_C(1) << (unit + units - 1));
            atomic_fetch_or(&reserve.first[word], UINT64_C(1) << unit);
            return &reserve_memory[((size_t)word * 64 + unit) * RESERVE_UNIT];
        }
    }
    return NULL;
}

static bool reserve_has(const void *block)
{
    return (uintptr_t)block - (uintptr_t)reserve_memory < RESERVE_BYTES;
}

static size_t reserve_unit(const void *block)
{
    return ((uintptr_t)block - (uintptr_t)reserve_memory) / RESERVE_UNIT;
}

/* Units of the block that starts here; anything else panics. */
static unsigned reserve_units(const void *block)
{
    const uintptr_t at = (uintptr_t)block;
    const size_t unit = reserve_unit(block);
    const uint64_t bit = UINT64_C(1) << unit % 64;

    LOAM_REQUIRE(at % RESERVE_UNIT == 0, HEAP_FOREIGN, at, 0);
    LOAM_REQUIRE((atomic_load(&reserve.used[unit / 64]) & bit) != 0, HEAP_TWICE, at, 0);
    LOAM_REQUIRE((atomic_load(&reserve.first[unit / 64]) & bit) != 0, HEAP_FOREIGN, at, 0);
    return (unsigned)__builtin_ctzll(atomic_load(&reserve.last[unit / 64]) >> unit % 64) + 1;
}

static void reserve_put(void *block)
{
    const unsigned units = reserve_units(block);
    const size_t unit = reserve_unit(block);
    const uint64_t first = UINT64_C(1) << unit % 64;

    LOAM_REQUIRE((atomic_fetch_and(&reserve.first[unit / 64], ~first) & first) != 0, HEAP_TWICE,
                 loam_virt_of(block).addr, 0);
    atomic_fetch_and(&reserve.last[unit / 64], ~(first << (units - 1)));
    atomic_fetch_and(&reserve.used[unit / 64], ~(reserve_mask(units) << unit % 64));
}

/* ---- pages of the system --------------------------------------------------------- */

/* An aligned part of fresh memory; the rest goes back. */
static void *reserve_pages(size_t size_bytes, size_t align)
{
    size_t total;

    if (__builtin_add_overflow(size_bytes, align, &total))
        return NULL;
    unsigned char *const got =
        mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (got == MAP_FAILED)
        return NULL;
    const size_t before = (align - ((uintptr_t)got & (align - 1))) & (align - 1);
    if (before != 0)
        munmap(got, before);
    if (total - before != size_bytes)
        munmap(got + before + size_bytes, total - before - size_bytes);
    return got + before;
}

static void *reserve_map(size_t size_bytes, size_t align)
{
    const size_t whole = (size_bytes + LOAM_PAGE_SIZE - 1) & ~(size_t)(LOAM_PAGE_SIZE - 1);

    for (unsigned i = 0; i < RESERVE_MAPS; i++) {
        uintptr_t expected = 0;
        if (!atomic_compare_exchange_strong(&reserve.map[i].start, &expected, RESERVE_CLAIMED))
            continue;
        void *const got = reserve_pages(whole, align < LOAM_PAGE_SIZE ? LOAM_PAGE_SIZE : align);
        atomic_fetch_add(&reserve.map_count, got != NULL);
        atomic_store(&reserve.map[i].size_bytes, whole);
        atomic_store(&reserve.map[i].start, (uintptr_t)got);
        return got;
    }
    return NULL;
}

/* The entry of a block; RESERVE_MAPS: none. */
static unsigned reserve_find(const void *block)
{
    unsigned i = 0;

    if (atomic_load(&reserve.map_count) == 0 || !loam_is_page_aligned((uintptr_t)block))
        return RESERVE_MAPS;
    while (i < RESERVE_MAPS && atomic_load(&reserve.map[i].start) != (uintptr_t)block)
        i++;
    return i;
}

static bool reserve_unmap(void *block)
{
    const unsigned i = reserve_find(block);
    uintptr_t expected = (uintptr_t)block;

    if (i == RESERVE_MAPS)
        return false;
    const size_t size_bytes = atomic_load(&reserve.map[i].size_bytes);
    LOAM_REQUIRE(atomic_compare_exchange_strong(&reserve.map[i].start, &expected, RESERVE_CLAIMED),
                 HEAP_TWICE, loam_virt_of(block).addr, 0);
    munmap(block, size_bytes);
    atomic_fetch_sub(&reserve.map_count, 1);
    atomic_store(&reserve.map[i].start, 0);
    return true;
}

/* ---- reserve.h --------------------------------------------------------------------- */

void *preload_reserve_alloc(size_t size_bytes, size_t align)
{
    const int error = errno;
    const size_t units = size_bytes / RESERVE_UNIT + (size_bytes % RESERVE_UNIT != 0);
    void *block = NULL;

    if (size_bytes > PTRDIFF_MAX)
        return NULL;
    if (units <= 64 && align <= LOAM_PAGE_SIZE)
        block = reserve_take(units == 0 ? 1 : (unsigned)units, align);
    if (block == NULL)
        block = reserve_map(size_bytes == 0 ? 1 : size_bytes, align);
    errno = error;
    return block;
}

size_t preload_reserve_usable(const void *block)
{
    if (reserve_has(block))
        return reserve_units(block) * (size_t)RESERVE_UNIT;
    const unsigned i = reserve_find(block);
    return i == RESERVE_MAPS ? 0 : atomic_load(&reserve.map[i].size_bytes);
}

bool preload_reserve_free(void *block)
{
    const int error = errno;

    if (reserve_has(block)) {
        reserve_put(block);
        return true;
    }
    const bool is_done = reserve_unmap(block);
    errno = error;
    return is_done;
}
