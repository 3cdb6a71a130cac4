/*
 * arena_world.h - an arena over host memory. Shared by the tests of arena.c.
 *
 *     heap       memory                                        MEMORY_BYTES
 *     | struct | lent ............... | not lent: poisoned, for ASan .... |
 *
 * All of it lies at fixed addresses, because the check bits of a tag bind its
 * address and the arena's: one damage in 65,536 passes, and with fixed addresses
 * it is the same one in every run. Should a change of the check bits make a test
 * meet it, move HEAP_AT.
 */
#ifndef LOAM_TESTS_ARENA_WORLD_H
#define LOAM_TESTS_ARENA_WORLD_H

#include "harness.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <loam/arena.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, size_bytes)   ((void)(at), (void)(size_bytes))
#define ASAN_UNPOISON_MEMORY_REGION(at, size_bytes) ((void)(at), (void)(size_bytes))
#endif

#define HEAP_AT      0x200000000000
#define MEMORY_AT    0x200010000000
#define MEMORY_BYTES ((size_t)128 << 20)
#define KIB          ((size_t)1024)
#define SPAN         (64 * KIB)

static struct loam_arena *const heap = (struct loam_arena *)HEAP_AT;
static unsigned char *const memory = (unsigned char *)MEMORY_AT; /* aligned to 256 MiB */

static inline void *map_at(uintptr_t at, size_t size_bytes)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
    void *got = mmap((void *)at, size_bytes, PROT_READ | PROT_WRITE, flags, -1, 0);

    assert_ptr_equal(got, (void *)at);
    return got;
}

#define LENT_MAX 1024u
static struct {
    size_t offset, size_bytes;
} lent[LENT_MAX]; /* parts of memory that were lent since heap_without_spans() */
static size_t lent_count;

/* Let the arena have memory[offset .. offset + size), with something in it. */
static inline unsigned char *lend(size_t offset, size_t size_bytes)
{
    assert_true(lent_count < LENT_MAX);
    lent[lent_count].offset = offset;
    lent[lent_count++].size_bytes = size_bytes;
    ASAN_UNPOISON_MEMORY_REGION(memory + offset, size_bytes);
    memset(memory + offset, 0xa5, size_bytes);
    return memory + offset;
}

/* From now on the arena must not touch it. */
static inline void take_back(size_t offset, size_t size_bytes)
{
    ASAN_POISON_MEMORY_REGION(memory + offset, size_bytes);
}

/* An arena without spans; no memory is lent. */
static inline void heap_without_spans(void)
{
    static bool is_mapped;

    if (!is_mapped) {
        map_at(HEAP_AT, sizeof(*heap));
        map_at(MEMORY_AT, MEMORY_BYTES);
        take_back(0, MEMORY_BYTES);
        is_mapped = true;
    }
    for (; lent_count > 0; lent_count--) {
        const size_t end = lent[lent_count - 1].offset + lent[lent_count - 1].size_bytes;
        take_back(lent[lent_count - 1].offset, (end + 7) / 8 * 8 - lent[lent_count - 1].offset);
    }
    memset(heap, 0x5a, sizeof(*heap));
    loam_arena_init(heap);
    assert_null(loam_arena_audit(heap));
}

/* An arena over memory[0 .. size). */
static inline void heap_of(size_t size_bytes)
{
    heap_without_spans();
    assert_int_equal(loam_arena_claim(heap, lend(0, size_bytes), size_bytes), LOAM_OK);
    assert_null(loam_arena_audit(heap));
}

static inline struct loam_arena_stats stats(void)
{
    struct loam_arena_stats now;

    loam_arena_measure(heap, &now);
    return now;
}

static inline unsigned char *take_aligned(size_t size_bytes, size_t align)
{
    unsigned char *block = loam_arena_alloc(heap, size_bytes, align);

    assert_non_null(block);
    assert_int_equal((uintptr_t)block % align, 0);
    assert_int_equal((uintptr_t)block % LOAM_ARENA_ALIGN, 0);
    assert_null(loam_arena_audit(heap));
    return block;
}

static inline unsigned char *take(size_t size_bytes)
{
    return take_aligned(size_bytes, 1);
}

static inline void give(void *block)
{
    loam_arena_free(heap, block);
    assert_null(loam_arena_audit(heap));
}

/* Take all that is free, from the largest on. */
static inline void take_the_rest(void)
{
    loam_arena_merge(heap);
    while (stats().free_count > 0)
        take(stats().largest_free_bytes);
}

/* Nothing is in use, and every span is one block again. */
static inline void expect_empty(void)
{
    loam_arena_merge(heap);
    assert_null(loam_arena_audit(heap));
    const struct loam_arena_stats now = stats();
    assert_int_equal(now.used_count, 0);
    assert_int_equal(now.used_bytes, 0);
    assert_int_equal(now.deferred_count, 0);
    assert_int_equal(now.free_count, now.span_count);
}

/* A request that is refused changes nothing, once waiting blocks are merged. */
static inline void expect_no_alloc(size_t size_bytes, size_t align)
{
    loam_arena_merge(heap);
    const uint64_t digest = loam_arena_digest(heap);
    assert_null(loam_arena_alloc(heap, size_bytes, align));
    assert_int_equal(loam_arena_digest(heap), digest);
    assert_null(loam_arena_audit(heap));
}

#define BIG_FROM 16360u /* bytes, tag included: larger blocks have a longer tag */
#define BIG_TAG  20u

/* Bytes that an aligned block of this size takes from a span, tag and padding included. */
static inline size_t cost_of_aligned(size_t size_bytes, size_t align)
{
    const size_t unit = align < 16 ? 8 : 16;
    const size_t small = (size_bytes + 4 + unit - 1) / unit * unit;

    if (small < 24)
        return unit == 8 ? 24 : 32;
    return small <= BIG_FROM ? small : (size_bytes + BIG_TAG + unit - 1) / unit * unit;
}

static inline size_t tag_of(size_t size_bytes)
{
    return (size_bytes + 4 + 7) / 8 * 8 <= BIG_FROM ? 4 : BIG_TAG;
}

static inline size_t cost_of(size_t size_bytes)
{
    return cost_of_aligned(size_bytes, 1);
}

/* What the walk shows, added up. */
static inline struct loam_arena_stats walk_all(void)
{
    struct loam_arena_block block = { { 0 }, 0, 0, LOAM_ARENA_USED };
    struct loam_arena_stats seen = { 0 };
    uint64_t end = 0;

    while (loam_arena_next(heap, &block)) {
        if (end != 0)
            assert_true(block.start.addr - end + 16 <= 32); /* tags of 4 or 20 bytes */
        end = block.start.addr + block.footprint_bytes;
        assert_true(block.size_bytes + 4 <= block.footprint_bytes);
        seen.used_count += block.state == LOAM_ARENA_USED;
        seen.used_bytes += block.state == LOAM_ARENA_USED ? block.footprint_bytes : 0;
        seen.free_count += block.state == LOAM_ARENA_FREE;
        seen.free_bytes += block.state != LOAM_ARENA_USED ? block.footprint_bytes : 0;
        seen.deferred_count += block.state == LOAM_ARENA_DEFERRED;
    }
    return seen;
}

/* ---- panics -------------------------------------------------------------- */

#define NOT_A_BLOCK "arena: not a block of this heap"
#define DOUBLE_FREE "arena: block is already free"
#define OVERFLOWED  "arena: block overflowed"
#define DAMAGED_TAG "arena: tag is damaged"
#define WRONG_SIZE  "arena: wrong size"
#define DAMAGED     "arena: free block is damaged"

/* The functions that take a block, or pass free ones. */
enum call { FREE, FREE_SIZED, REALLOC, REALLOC_SIZED, USABLE, ALLOC, MERGE };

static inline void make_call(enum call call, void *block, size_t size_bytes)
{
    const struct loam_resize resize = { size_bytes, 60, 8 };

    switch (call) {
    case FREE:
        loam_arena_free(heap, block);
        break;
    case FREE_SIZED:
        loam_arena_free_sized(heap, block, size_bytes);
        break;
    case REALLOC:
        (void)!loam_arena_realloc(heap, block, size_bytes, 8);
        break;
    case REALLOC_SIZED:
        (void)!loam_arena_realloc_sized(heap, block, &resize);
        break;
    case USABLE:
        (void)!loam_arena_usable(heap, block);
        break;
    case ALLOC:
        (void)!loam_arena_alloc(heap, size_bytes, 8);
        break;
    case MERGE:
        loam_arena_merge(heap);
        break;
    }
}

/* All memory that is lent, and the struct but for the span that it used last. */
static inline size_t copy_all(unsigned char *copy, size_t size_bytes)
{
    struct loam_arena now = *heap;
    size_t used = sizeof(now);

    now.hot_start = 0;
    now.hot_units = 0;
    memcpy(copy, &now, sizeof(now));
    for (size_t i = 0; i < lent_count; i++) {
        assert_true(lent[i].size_bytes <= size_bytes - used);
        memcpy(copy + used, memory + lent[i].offset, lent[i].size_bytes);
        used += lent[i].size_bytes;
    }
    return used;
}

/* The call panics, names the subject, and has changed no byte. */
static inline void expect_panic(enum call call, void *block, size_t size_bytes, const char *rule,
                                const void *subject)
{
    static unsigned char before[32 << 20];
    static unsigned char after[32 << 20];
    const size_t copied = copy_all(before, sizeof(before));

    EXPECT_PANIC(rule, make_call(call, block, size_bytes));
    assert_int_equal(panic_trap.seen.subject, (uintptr_t)subject);
    assert_int_equal(copy_all(after, sizeof(after)), copied);
    assert_true(memcmp(before, after, copied) == 0);
}

/* Does the call panic? Its rule is in panic_trap.seen then. */
static inline bool panics(enum call call, void *block, size_t size_bytes)
{
    panic_trap.armed = true;
    if (setjmp(panic_trap.landing) != 0)
        return true;
    make_call(call, block, size_bytes);
    panic_trap.armed = false;
    return false;
}

/* Each function that takes a block refuses this one. */
static inline void expect_refused(void *block, size_t size_bytes, const char *rule,
                                  const void *subject)
{
    expect_panic(FREE, block, 0, rule, subject);
    expect_panic(FREE_SIZED, block, size_bytes, rule, subject);
    expect_panic(REALLOC, block, size_bytes, rule, subject);
    expect_panic(REALLOC_SIZED, block, size_bytes, rule, subject);
    expect_panic(USABLE, block, 0, rule, subject);
}

static inline void expect_panic_at_free(const char *rule, void *block)
{
    assert_true(panics(FREE, block, 0));
    assert_string_equal(panic_trap.seen.rule, rule);
    assert_int_equal(panic_trap.seen.subject, (uintptr_t)block);
    assert_null(loam_arena_audit(heap));
}

static inline void expect_no_block(void *block)
{
    expect_refused(block, 100, NOT_A_BLOCK, block);
    assert_null(loam_arena_audit(heap));
}

static inline void expect_already_free(void *block)
{
    expect_refused(block, 100, DOUBLE_FREE, block);
    assert_null(loam_arena_audit(heap));
}

/* ---- contents ------------------------------------------------------------ */

static inline unsigned char pattern_byte(unsigned seed, size_t i)
{
    return (unsigned char)(seed + i * 7 + (i >> 8));
}

static inline void pattern_write(unsigned char *block, size_t size_bytes, unsigned seed)
{
    for (size_t i = 0; i < size_bytes; i++)
        block[i] = pattern_byte(seed, i);
}

static inline void pattern_check(const unsigned char *block, size_t size_bytes, unsigned seed)
{
    size_t wrong = 0;

    for (size_t i = 0; i < size_bytes; i++)
        wrong += block[i] != pattern_byte(seed, i);
    assert_int_equal(wrong, 0);
}

#endif
