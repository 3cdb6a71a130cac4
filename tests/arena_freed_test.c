/*
 * arena_freed_test.c - what is written to freed blocks is found when they are next
 * used, or does no harm; the audit finds every kind of damage.
 */
#include "arena_world.h"

/* Where a freed block is: merged into a bin, waiting, or the one that is carved next. */
enum place { IN_BIN, WAITING, VICTIM, PLACE_COUNT };

#define KEPT 4u
static unsigned char *kept[KEPT]; /* blocks in use between the free ones */
static unsigned char *freed[3];   /* all of one size; in their list in this order */
static size_t freed_size;

/*
 *   | kept | freed 2 | kept | freed 1 | kept | freed 0 | kept |
 *
 * @return false: blocks of that size do not wait
 */
static bool three_freed(enum place place, size_t size_bytes)
{
    heap_of((place == WAITING ? 120 : 60) * KIB + 8 * size_bytes);
    freed_size = size_bytes;
    for (size_t i = 0; i < 3; i++) {
        kept[i] = take(40);
        freed[2 - i] = take(size_bytes);
    }
    kept[3] = take(40);
    if (place == IN_BIN)
        take_the_rest();
    for (size_t i = 0; i < KEPT; i++)
        pattern_write(kept[i], 40, (unsigned)i);
    for (size_t i = 3; i-- > 0;) {
        give(freed[i]);
        freed[i] -= tag_of(size_bytes) - 4; /* a free block's tag is short */
    }
    if (place != WAITING)
        loam_arena_merge(heap);
    if (place == VICTIM) /* what remains of a free block is carved next */
        freed[0] = take(50) + cost_of(50);
    if (place == WAITING && size_bytes < 1000)
        assert_int_equal(heap->deferred_count, 3);
    return place != WAITING || heap->deferred_count == 3;
}

static bool is_first_of_bin(const unsigned char *block)
{
    for (size_t i = 0; i < LOAM_ARENA_BIN_COUNT; i++) {
        if (heap->bin[i] == (uintptr_t)block)
            return true;
    }
    return false;
}

static bool overlap(const unsigned char *a, const unsigned char *b, size_t size_bytes)
{
    return a < b + size_bytes && b < a + size_bytes;
}

/* Use the arena for a while, as a program would that noticed nothing. */
static void use_all(void)
{
    enum { COUNT = 6 };
    unsigned char *block[COUNT];

    for (size_t round = 0; round < 3; round++) {
        const size_t size_bytes = round == 2 ? freed_size / 2 : freed_size - round;
        for (size_t i = 0; i < COUNT; i++) {
            block[i] = loam_arena_alloc(heap, size_bytes, 8);
            if (block[i] == NULL)
                continue;
            for (size_t j = 0; j < i; j++)
                assert_false(block[j] != NULL && overlap(block[i], block[j], size_bytes));
            memset(block[i], (int)i, size_bytes);
        }
        for (size_t i = 0; i < COUNT; i++)
            loam_arena_free(heap, block[i]);
        if (round == 0)
            loam_arena_merge(heap);
    }
    for (size_t i = 0; i < KEPT; i++) {
        pattern_check(kept[i], 40, (unsigned)i);
        loam_arena_free_sized(heap, kept[i], 40);
    }
    loam_arena_merge(heap);
}

/* @return the rule by which use ended, or NULL */
static const char *use_until_panic(void)
{
    panic_trap.armed = true;
    if (setjmp(panic_trap.landing) != 0)
        return panic_trap.seen.rule;
    use_all();
    panic_trap.armed = false;
    return NULL;
}

/* Either the audit finds it and use ends in a panic that names damage, or it was
 * harmless: use goes on, and all is sound then. */
static bool expect_found_or_harmless(void)
{
    const char *found = loam_arena_audit(heap);
    const char *rule = use_until_panic();

    if (rule == NULL) {
        assert_null(loam_arena_audit(heap));
        return found != NULL;
    }
    assert_non_null(found);
    assert_true(strcmp(rule, DAMAGED) == 0 || strcmp(rule, DAMAGED_TAG) == 0 ||
                strcmp(rule, OVERFLOWED) == 0 || strcmp(rule, DOUBLE_FREE) == 0);
    return true;
}

static const size_t freed_sizes[] = { 20, 24, 100, 1000, 1500, 4000, 20000 };
#define FREED_COUNT (sizeof(freed_sizes) / sizeof(freed_sizes[0]))

/*
 *   | tag | next | prev | ........... | footer |      each bit of the first 40 bytes
 *   ^^^^^^^^^^^^^^^^^^^^^^^           ^^^^^^^^^^      and the last 12, of the first,
 *                                                     second and third of a list
 */
static void arena_H18_H21_H22_each_bit_written_after_free_is_found_or_harmless(void **state)
{
    (void)state;
    for (enum place place = 0; place < PLACE_COUNT; place++) {
        for (size_t i = 0; i < FREED_COUNT; i++) {
            if (!three_freed(place, freed_sizes[i]))
                continue;
            for (size_t which = 0; which < (place == VICTIM ? 1 : 3); which++) {
                for (size_t bit = 0; bit < 52 * 8; bit++) {
                    if (bit / 8 < 40 && bit / 8 >= cost_of(freed_sizes[i]))
                        continue; /* the next block's */
                    assert_true(three_freed(place, freed_sizes[i]));
                    unsigned char *at = freed[which] - 4 + bit / 8;
                    if (bit / 8 >= 40)
                        at = freed[which] - 4 + cost_of(freed_sizes[i]) - 52 + bit / 8;
                    const size_t watched = place == VICTIM ? 4 : place == WAITING ? 12 : 20;
                    *at ^= (unsigned char)(1u << bit % 8);
                    if (expect_found_or_harmless() == false)
                        assert_true(bit / 8 >= watched); /* tag and links are looked at */
                }
            }
        }
    }
}

/* What programs write after free: zeroes, ones, text, pointers. From the start, over
 * the end, or all. */
static void arena_H18_what_is_usually_written_after_free_is_found(void **state)
{
    static const size_t lengths[] = { 1, 2, 4, 8, 16, 20 };
    const uint64_t words[] = { 0,
                               UINT64_MAX,
                               0x4141414141414141,
                               1,
                               (uintptr_t)heap,
                               (uintptr_t)memory,
                               (uintptr_t)memory + 64,
                               0x1122334455667788 };

    (void)state;
    for (size_t nth = 0; nth < PLACE_COUNT * FREED_COUNT * 3 * 6 * 8; nth++) {
        const enum place place = (enum place)(nth % PLACE_COUNT);
        const size_t size_bytes = freed_sizes[nth / PLACE_COUNT % FREED_COUNT];
        const size_t which = nth / PLACE_COUNT / FREED_COUNT % 3;
        const size_t length = lengths[nth / PLACE_COUNT / FREED_COUNT / 3 % 6];
        const uint64_t word = words[nth / PLACE_COUNT / FREED_COUNT / 3 / 6];
        if (!three_freed(place, size_bytes) || (place == VICTIM && which != 0))
            continue;
        for (size_t i = 0; i < length; i++)
            freed[which][i] = (unsigned char)(word >> i % 8 * 8);
        const bool found = expect_found_or_harmless();
        if (place != VICTIM && length >= 8)
            assert_true(found);
    }
}

/* Encode a link as the arena does, and put it there: nothing beyond the arena is
 * read, none is given out twice, no walk is endless. */
static void arena_H21_forged_link_is_found(void **state)
{
    static _Alignas(64) unsigned char elsewhere[64];

    (void)state;
    for (size_t nth = 0; nth < 2 * FREED_COUNT * 3 * 2 * 20; nth++) {
        const enum place place = (enum place)(nth % 2);
        const size_t size_bytes = freed_sizes[nth / 2 % FREED_COUNT];
        const size_t which = nth / 2 / FREED_COUNT % 3;
        const size_t slot = nth / 2 / FREED_COUNT / 3 % 2;
        if (!three_freed(place, size_bytes) || (place == WAITING && slot == 1))
            continue;
        const uint64_t targets[20] = {
            0,
            8,
            (uintptr_t)freed[0],
            (uintptr_t)freed[1],
            (uintptr_t)freed[2],
            (uintptr_t)freed[which] + 8,
            (uintptr_t)kept[0],
            (uintptr_t)kept[3],
            (uintptr_t)kept[1] + 1,
            (uintptr_t)memory,
            (uintptr_t)memory + heap->span_bytes - 4,
            (uintptr_t)memory + heap->span_bytes,
            (uintptr_t)memory + MEMORY_BYTES,
            (uintptr_t)elsewhere,
            UINT64_MAX - 7,
            (uint64_t)1 << 63,
            (uintptr_t)heap,
            (uintptr_t)&heap->quick[8],
            (uintptr_t)&heap->bin[20],
            (uintptr_t)&heap->bin[LOAM_ARENA_BIN_COUNT],
        };
        const uint64_t link = targets[nth / 2 / FREED_COUNT / 3 / 2] ^ heap->cookie;
        uint64_t was;
        memcpy(&was, freed[which] + slot * 8, 8);
        memcpy(freed[which] + slot * 8, &link, 8);
        assert_int_equal(expect_found_or_harmless(), was != link);
    }
}

/* A stale copy of a freed block's first bytes comes back: honest, but of then. */
static void arena_H21_stale_links_are_found(void **state)
{
    unsigned char stale[20];

    (void)state;
    for (enum place place = 0; place < VICTIM; place++) {
        for (size_t i = 0; i < FREED_COUNT; i++) {
            for (size_t which = 0; which < 3; which++) {
                if (!three_freed(place, freed_sizes[i]))
                    continue;
                memcpy(stale, freed[which], 16);
                unsigned char *block = take(freed_sizes[i]);
                give(take(freed_sizes[i]));
                give(block);
                if (place == IN_BIN)
                    loam_arena_merge(heap);
                const bool differs = memcmp(freed[which], stale, place == IN_BIN ? 16 : 8) != 0;
                memcpy(freed[which], stale, 16);
                assert_int_equal(expect_found_or_harmless(), differs);
            }
        }
    }
}

/* ---- a panic changes nothing --------------------------------------------- */

/* Whoever comes upon a damaged free block panics before it has changed anything. */
static void arena_H18_panic_on_a_damaged_free_block_changes_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3 * FREED_COUNT; i++) {
        const size_t size_bytes = freed_sizes[i / 3];
        assert_true(three_freed(IN_BIN, size_bytes));
        memset(freed[1] - 4, 0x41, 20);
        expect_panic(FREE, kept[1], 0, OVERFLOWED, kept[1]);
        assert_true(three_freed(IN_BIN, size_bytes));
        if (is_first_of_bin(freed[i % 3])) {
            memset(freed[i % 3], 0x41, 8);
            expect_panic(ALLOC, NULL, size_bytes, DAMAGED, freed[i % 3]);
            expect_panic(REALLOC, kept[2 - i % 3], 60, DAMAGED, freed[i % 3]); /* growing */
        }
        if (!three_freed(WAITING, size_bytes))
            continue;
        memset(freed[0], 0x41, 8);
        expect_panic(ALLOC, NULL, size_bytes, DAMAGED, freed[0]);
        expect_panic(MERGE, NULL, 0, DAMAGED, freed[0]);
        assert_true(three_freed(WAITING, size_bytes));
        freed[0][-4] ^= 1;
        expect_panic(ALLOC, NULL, size_bytes, DAMAGED, freed[0]);
        expect_panic(MERGE, NULL, 0, DAMAGED, freed[0]);
    }
}

/* Any byte, repeated, as memset() does it after free. */
static void arena_H18_memset_after_free_is_found(void **state)
{
    (void)state;
    for (unsigned fill = 0; fill < 256; fill++) {
        for (size_t nth = 0; nth < FREED_COUNT * 3 * 2; nth++) {
            const enum place place = nth % 2 == 0 ? IN_BIN : WAITING;
            const size_t size_bytes = freed_sizes[nth / 2 / 3];
            if (!three_freed(place, size_bytes))
                continue;
            memset(freed[nth / 2 % 3], (int)fill, fill % 2 == 0 ? 8 : 16);
            assert_non_null(loam_arena_audit(heap));
            assert_true(expect_found_or_harmless());
        }
    }
}

/*
 *   | kept | free X tag | kept |      the tag behind a free block that a growing block
 *                                     would take
 */
static void arena_H16_growing_up_to_a_damaged_tag_panics(void **state)
{
    (void)state;
    for (size_t nth = 0; nth < FREED_COUNT * 3; nth++) {
        const size_t which = nth % 3;
        assert_true(three_freed(IN_BIN, freed_sizes[nth / 3]));
        kept[3 - which][-4] ^= 0x20;
        expect_panic(REALLOC, kept[2 - which], 60, DAMAGED, freed[which]);
    }
    heap_of(SPAN); /* the same where it would move down */
    unsigned char *before = take(2000);
    unsigned char *block = take(3000);
    unsigned char *behind = take(2000);
    unsigned char *last = take(100);
    take_the_rest();
    give(before);
    give(behind);
    loam_arena_merge(heap);
    last[-4] ^= 0x20;
    expect_panic(REALLOC, block, 6500, DAMAGED, last);
}

/*
 *   | kept | free X....... | kept |      merging with a free block whose links or tag
 *                                        are damaged: found before a link is used
 */
static void arena_H21_merging_with_a_damaged_block_panics(void **state)
{
    (void)state;
    for (size_t nth = 0; nth < FREED_COUNT * 3 * 20; nth++) {
        const size_t size_bytes = freed_sizes[nth / 20 / 3];
        const size_t which = nth / 20 % 3;
        const int byte = (int)(nth % 20) - 4;
        assert_true(three_freed(IN_BIN, size_bytes));
        heap->deferred_max = 0;
        freed[which][byte] ^= 0x55;
        const char *rule = byte < 0 ? OVERFLOWED : DAMAGED;
        expect_panic(FREE, kept[2 - which], 0, rule, byte < 0 ? kept[2 - which] : freed[which]);
        expect_panic(FREE, kept[3 - which], 0, DAMAGED, freed[which]);
        freed[which][byte] ^= 0x55;
        give(kept[3 - which]);
    }
}

/*
 *   | free ........X| block |      the footer: found when the block is merged
 */
static void arena_H18_damaged_footer_panics(void **state)
{
    (void)state;
    for (size_t i = 0; i < FREED_COUNT; i++) {
        for (size_t byte = 1; byte <= 4; byte++) {
            assert_true(three_freed(IN_BIN, freed_sizes[i]));
            kept[3][-4 - (int)byte] ^= 0x11;
            assert_non_null(loam_arena_audit(heap));
            if (!panics(FREE, kept[3], 0))
                assert_true(panics(MERGE, NULL, 0));
            assert_string_equal(panic_trap.seen.rule, DAMAGED);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_H18_H21_H22_each_bit_written_after_free_is_found_or_harmless),
        cmocka_unit_test(arena_H18_what_is_usually_written_after_free_is_found),
        cmocka_unit_test(arena_H21_forged_link_is_found),
        cmocka_unit_test(arena_H21_stale_links_are_found),
        cmocka_unit_test(arena_H18_panic_on_a_damaged_free_block_changes_nothing),
        cmocka_unit_test(arena_H18_memset_after_free_is_found),
        cmocka_unit_test(arena_H16_growing_up_to_a_damaged_tag_panics),
        cmocka_unit_test(arena_H21_merging_with_a_damaged_block_panics),
        cmocka_unit_test(arena_H18_damaged_footer_panics),
    };
    return RUN_TESTS(tests);
}
