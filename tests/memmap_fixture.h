/*
 * memmap_fixture.h - raw entries in pages, and a map in storage of exactly the
 * documented size; for memmap_*_test.c.
 */
#ifndef LOAM_TESTS_MEMMAP_FIXTURE_H
#define LOAM_TESTS_MEMMAP_FIXTURE_H

#include "harness.h"

#include <stdlib.h>
#include <string.h>

#include <loam/memmap.h>

#define PAGES(n) ((uint64_t)(n)*LOAM_PAGE_SIZE)
#define U        LOAM_MEM_USABLE
#define R        LOAM_MEM_RESERVED
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static inline struct loam_memmap_entry entry(uint64_t start, uint64_t size, enum loam_mem_type type)
{
    struct loam_memmap_entry e = { loam_phys_range_of(loam_phys_at(start), size), type };
    return e;
}

/* [start, end) in pages. */
static inline struct loam_memmap_entry pages(uint64_t start, uint64_t end, enum loam_mem_type type)
{
    return entry(PAGES(start), PAGES(end - start), type);
}

/* ---- a map in storage of exactly the documented size --------------------- */

struct fixture {
    struct loam_memmap map;
    struct loam_memmap_request request;
};

/* From the heap, so that the sanitizer guards both ends. */
static inline struct loam_memmap_entry *storage_for(size_t raw_count)
{
    struct loam_memmap_entry *storage = malloc(LOAM_MEMMAP_STORAGE(raw_count) * sizeof *storage);
    assert_non_null(storage);
    return storage;
}

static inline void fixture_init(struct fixture *f, const struct loam_memmap_entry *raw,
                                size_t raw_count)
{
    memset(f, 0, sizeof *f);
    f->request.raw = raw;
    f->request.raw_count = raw_count;
    f->request.storage = storage_for(raw_count);
    f->request.storage_count = LOAM_MEMMAP_STORAGE(raw_count);
    f->request.phys_bits = 52;
}

/* Build once more, with the request as it is now. */
static inline void fixture_build(struct fixture *f)
{
    assert_int_equal(loam_memmap_init(&f->map, &f->request, NULL), LOAM_OK);
    assert_null(loam_memmap_audit(&f->map));
    assert_ptr_equal(f->map.entry, f->request.storage);
}

static inline void fixture_make(struct fixture *f, const struct loam_memmap_entry *raw,
                                size_t raw_count)
{
    fixture_init(f, raw, raw_count);
    fixture_build(f);
}

static inline void fixture_free(struct fixture *f)
{
    free(f->request.storage);
}

static inline void assert_entries(const struct loam_memmap *map,
                                  const struct loam_memmap_entry *want, size_t want_count)
{
    assert_int_equal(map->entry_count, want_count);
    for (size_t i = 0; i < want_count; i++) {
        assert_int_equal(map->entry[i].range.start.addr, want[i].range.start.addr);
        assert_int_equal(map->entry[i].range.size, want[i].range.size);
        assert_int_equal(map->entry[i].type, want[i].type);
    }
}

/* Repairs are exactly these counts; the rest are 0. */
struct repairs {
    uint64_t of[LOAM_REPAIRS];
};
static inline void assert_repairs(const struct loam_memmap *map, const struct repairs *want)
{
    for (unsigned i = 0; i < LOAM_REPAIRS; i++) {
        if (map->repair_count[i] != want->of[i])
            print_error("repair %s:\n", loam_repair_name((enum loam_repair)i));
        assert_int_equal(map->repair_count[i], want->of[i]);
    }
}

/* raw -> want, with these repairs. */
#define EXPECT_MAP(raw, want, ...)                               \
    do {                                                         \
        const struct repairs want_repairs = { { __VA_ARGS__ } }; \
        struct fixture f_;                                       \
        fixture_make(&f_, (raw), COUNT(raw));                    \
        assert_entries(&f_.map, (want), COUNT(want));            \
        assert_repairs(&f_.map, &want_repairs);                  \
        fixture_free(&f_);                                       \
    } while (0)

static inline void swap(struct loam_memmap_entry *a, struct loam_memmap_entry *b)
{
    const struct loam_memmap_entry t = *a;
    *a = *b;
    *b = t;
}

/* [u)[r)[u)[r)... one page each, from page 1 on, in a random order. */
static inline struct loam_memmap_entry *alternating(size_t count)
{
    struct loam_memmap_entry *raw = malloc(count * sizeof *raw);
    assert_non_null(raw);
    for (size_t i = 0; i < count; i++)
        raw[i] = pages(i + 1, i + 2, i % 2 == 0 ? U : R);
    for (size_t i = count; i > 1; i--)
        swap(&raw[i - 1], &raw[test_random_below(i)]);
    return raw;
}

#endif
