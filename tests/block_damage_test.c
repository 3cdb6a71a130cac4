/*
 * block_damage_test.c - damage of a chunk of the heap of size classes is found
 * by use before it spreads, and by the audit; what programs do with blocks is
 * no damage.
 */
#include "block_world.h"

#define DAMAGED "block: chunk is damaged"

/* Where things lie in a chunk. */
enum {
    AT_SUMMARY = 8,
    AT_USED = 12,
    AT_SPARE = 14,
    AT_LAX = 15,
    AT_ROOM_NEXT = 16,
    AT_ROOM_BEFORE = 24,
    AT_NEXT = 32,
    AT_BEFORE = 40,
    AT_SEAL = 48,
    AT_BITS = 56,
};

static void put_word(unsigned char *chunk, size_t offset, uint64_t word)
{
    memcpy(chunk + offset, &word, 8);
}

static uint64_t get_word(const unsigned char *chunk, size_t offset)
{
    uint64_t word;
    memcpy(&word, chunk + offset, 8);
    return word;
}

/* What a program does with blocks must not change what the heap knows: all free
 * blocks and the rest of the chunk are overwritten. */
static void free_H18_then_write_harms_nothing(void **state)
{
    (void)state;
    FOR_EACH_FALLBACK(kind)
    {
        heap_of(kind, SPAN);
        unsigned char *const keep = take(64);
        unsigned char *const freed = take(64);
        memset(keep, 1, 64);
        give(freed);
        memset(keep + 64, 0xff, CHUNK - 24 - (size_t)(keep - chunk_of(keep)) - 64);
        expect_sound();
        assert_ptr_equal(take(64), freed);
        while (chunk_of(take(64)) == chunk_of(keep))
            continue;
        expect_sound();
        for (size_t i = 0; i < 64; i++)
            assert_int_equal(keep[i], 1);
    }
}

/*
 *   | chunk A .......... X | X chunk B |     A's last block is overflowed by a lot
 */
static void free_H16_overflow_into_the_next_chunk_is_damage(void **state)
{
    (void)state;
    heap_of(OVER_FREELIST, SPAN);
    unsigned char *a = take(64);
    unsigned char *b = take(128);
    unsigned char *const low = a < b ? a : b;
    unsigned char *const high = a < b ? b : a;
    assert_ptr_equal(chunk_of(low) + CHUNK, chunk_of(high));
    for (size_t length = 1; length <= 48; length++) {
        unsigned char before[48];
        memcpy(before, chunk_of(high), 48);
        memset(chunk_of(high), 0x41, length);
        EXPECT_PANIC(DAMAGED, give(high));
        assert_int_equal(panic_trap.seen.subject, (uintptr_t)chunk_of(high));
        EXPECT_PANIC(DAMAGED, take(high == b ? 128 : 64));
        assert_string_equal(loam_block_audit(&heap), DAMAGED);
        memcpy(chunk_of(high), before, 48);
    }
    expect_sound();
}

/* Two classes, three chunks each: one full, one not, one empty. Returns a block
 * of one that is neither. */
static unsigned char *chunks_of_all_kinds(enum fallback_kind kind)
{
    unsigned char *second[2];
    unsigned char *third[2];

    heap_of(kind, SPAN);
    for (unsigned i = 0; i < 2; i++) {
        const size_t size_bytes = i == 0 ? 512 : 1024;
        unsigned char *const first = take(size_bytes);
        do
            second[i] = take(size_bytes);
        while (chunk_of(second[i]) == chunk_of(first));
        do
            third[i] = take(size_bytes);
        while (chunk_of(third[i]) == chunk_of(second[i]));
    }
    for (unsigned i = 0; i < 2; i++) {
        give(second[i]);
        give(third[i]);
    }
    expect_sound();
    assert_int_equal(stats().chunk_count, 6);
    assert_int_equal(stats().empty_count, 2);
    return second[1] + 1024;
}

/* Frees and allocs that pass every chunk and every list. */
static void use_everything(void)
{
    for (size_t size_bytes = 512; size_bytes <= 1024; size_bytes *= 2) {
        unsigned char *block[40];
        for (size_t i = 0; i < 40; i++)
            block[i] = loam_block_alloc(&heap, size_bytes, 1);
        for (size_t i = 0; i < 40; i++)
            loam_block_free(&heap, block[i]);
    }
    (void)loam_block_trim(&heap);
}

/* Free every block of 1024 bytes and give all chunks of such back. */
static void empty_everything(void)
{
    for (unsigned char *chunk = span; chunk < span + SPAN; chunk += CHUNK) {
        for (unsigned i = 0; i < 15; i++) {
            if (chunk[AT_SUMMARY] <= 1 && chunk[AT_USED] != 0 && chunk[AT_USED] <= 15 &&
                (chunk[AT_BITS + i / 8] >> i % 8 & 1) == 0)
                loam_block_free(&heap, chunk + 512 + i * 1024);
        }
    }
    (void)loam_block_trim(&heap);
}

static bool panics(void (*act)(void))
{
    panic_trap.armed = true;
    if (setjmp(panic_trap.landing) != 0)
        return true;
    act();
    panic_trap.armed = false;
    return false;
}

/* Each bit of each header and of all free bits, of every kind of chunk: the
 * audit names it, and nobody faults on it. Only the flag that a chunk is lax
 * can have either value, and a full chunk has no neighbours in a room list. */
static void H22_each_damaged_bit_of_a_chunk_is_found(void **state)
{
    unsigned used_with_panic = 0;

    (void)state;
    for (size_t number = 0; number < 6; number++) {
        for (size_t bit = 0; bit < 64 * 8; bit++) {
            (void)chunks_of_all_kinds(OVER_FREELIST);
            unsigned char *chunk = (unsigned char *)heap.first;
            for (size_t i = 0; i < number; i++)
                chunk = (unsigned char *)(uintptr_t)get_word(chunk, AT_NEXT);
            const bool is_full = chunk[AT_SUMMARY] == 0;
            chunk[bit / 8] ^= (unsigned char)(1u << bit % 8);
            const char *const broken = loam_block_audit(&heap);
            if (bit == AT_LAX * 8 || (is_full && bit >= AT_ROOM_NEXT * 8 && bit < AT_NEXT * 8))
                assert_null(broken);
            else
                assert_non_null(broken);
            assert_int_not_equal(loam_block_digest(&heap), 0); /* of what is sound */
            used_with_panic += panics(use_everything);
        }
    }
    assert_true(used_with_panic > 6 * 64 * 8 / 2);
}

/* Words that a link could be forged to: not a chunk, not there, another
 * class's, itself. Those in a room list are used when the chunk becomes full,
 * the others when it becomes empty. */
static void H21_forged_links_are_not_followed(void **state)
{
    (void)state;
    for (size_t offset = AT_ROOM_NEXT; offset < AT_SEAL; offset += 8) {
        for (unsigned forged = 0; forged < 6; forged++) {
            const unsigned char *const block = chunks_of_all_kinds(OVER_FREELIST);
            unsigned char *const chunk = chunk_of(block);
            const uint64_t values[] = { 8,
                                        (uintptr_t)chunk + 8,
                                        (uintptr_t)span + 8 * CHUNK,
                                        UINT64_C(1) << 63,
                                        (uintptr_t)chunk,
                                        ~(uint64_t)(CHUNK - 1) };
            memcpy(chunk + offset, &values[forged], 8);
            assert_non_null(loam_block_audit(&heap));
            assert_true(panics(offset < AT_NEXT ? use_everything : empty_everything));
            assert_string_equal(panic_trap.seen.rule, DAMAGED);
        }
    }
}

/* A block is freed into a full chunk, which becomes first of its list before
 * one that is damaged. */
static void H21_damaged_first_chunk_is_not_linked(void **state)
{
    (void)state;
    (void)chunks_of_all_kinds(OVER_FREELIST);
    unsigned char *full = (unsigned char *)heap.first;
    while (full[AT_SUMMARY] != 0 || full[AT_USED] != 15)
        full = (unsigned char *)(uintptr_t)get_word(full, AT_NEXT);
    unsigned char *first = NULL; /* with room, of the same class */
    for (unsigned class = 0; class < LOAM_BLOCK_CLASS_COUNT; class ++)
        first = heap.room[class] != NULL ? (unsigned char *)heap.room[class] : first;
    first[0] ^= 0x40;
    EXPECT_PANIC(DAMAGED, give(full + 512));
    assert_int_equal(panic_trap.seen.subject, (uintptr_t)first);
    assert_int_equal(full[AT_USED], 15);
    first[0] ^= 0x40;
    give(full + 512);
    expect_sound();
}

/* The fifth chunk becomes empty, and would go back: its place in the list of
 * all chunks is looked at before. The same for a new chunk, before it is
 * linked. */
static void H21_damaged_links_do_not_spread(void **state)
{
    unsigned char *block[6];

    (void)state;
    for (unsigned link = AT_NEXT; link <= AT_BEFORE; link += 8) {
        heap_of(OVER_FREELIST, SPAN);
        for (unsigned i = 0; i < 6; i++)
            block[i] = take(64 * (i + 1));
        for (unsigned i = 0; i < 4; i++)
            give(block[i]);
        const uint64_t honest = get_word(chunk_of(block[4]), link);
        put_word(chunk_of(block[4]), link, (uintptr_t)chunk_of(block[4]));
        expect_no_free(block[4], DAMAGED);
        put_word(chunk_of(block[4]), link, honest);
        give(block[4]);
        assert_int_equal(stats().chunk_count, 5);
        expect_sound();
    }
    heap_of(OVER_FREELIST, SPAN);
    unsigned char *const only = chunk_of(take(64));
    only[0] ^= 0x40;
    EXPECT_PANIC(DAMAGED, take(128));
    assert_int_equal(borrowed_count(), 1);
    only[0] ^= 0x40;
    expect_sound();
}

/* Counts and bits that disagree are not taken for an empty or a full chunk. */
static void H22_a_wrong_count_shows_at_the_last_block(void **state)
{
    (void)state;
    heap_of(OVER_FREELIST, SPAN);
    unsigned char *a = take(1024);
    unsigned char *const chunk = chunk_of(a);
    take(1024);
    chunk[AT_USED] = 1;
    EXPECT_PANIC(DAMAGED, give(a));
    assert_int_equal(panic_trap.seen.subject, (uintptr_t)chunk);
    assert_int_equal(panic_trap.seen.detail, 0);
    chunk[AT_USED] = 0;
    EXPECT_PANIC(DAMAGED, give(a));
    chunk[AT_USED] = 2;
    give(a);
    while (chunk[AT_USED] < 14)
        take(1024);
    chunk[AT_USED] = 15;
    EXPECT_PANIC(DAMAGED, take(1024)); /* the last free one */
    chunk[AT_USED] = 14;
    take(1024);
    expect_sound();
    chunk[AT_USED] = 14;
    EXPECT_PANIC(DAMAGED, give(a)); /* the first free one */
    chunk[AT_USED] = 15;
    give(a);
    expect_sound();
}

/* Bits behind the last block, of which there are 15: nothing is given out there. */
static void H22_a_bit_without_a_block_is_not_taken(void **state)
{
    (void)state;
    heap_of(OVER_FREELIST, SPAN);
    unsigned char *const chunk = chunk_of(take(1024));
    while (chunk[AT_USED] < 14)
        take(1024);
    chunk[AT_BITS + 1] |= 0x80;
    chunk[AT_BITS + 2] |= 0x01;
    assert_ptr_equal(take(1024), chunk + 512 + 14 * 1024);
    EXPECT_PANIC(DAMAGED, take(1024));
    assert_int_equal(panic_trap.seen.subject, (uintptr_t)chunk);
    assert_int_equal(chunk[AT_USED], 15);
}

/* ---- the audit ----------------------------------------------------------- */

static void expect_broken(const char *rule)
{
    const char *found = loam_block_audit(&heap);
    assert_non_null(found);
    assert_string_equal(found, rule);
}

static void audit_finds_what_is_wrong_in_a_chunk(void **state)
{
    (void)state;
    unsigned char *chunk = chunk_of(chunks_of_all_kinds(OVER_ARENA));
    chunk[AT_SPARE] = 2;
    expect_broken(DAMAGED);
    chunk[AT_SPARE] = 1;
    expect_broken("block: spare chunks are miscounted");
    chunk = chunk_of(chunks_of_all_kinds(OVER_ARENA));
    chunk[AT_LAX] = 2;
    expect_broken(DAMAGED);
    chunk[AT_LAX] = 1;
    assert_null(loam_block_audit(&heap));
    chunk[AT_SEAL] ^= 1;
    expect_broken(DAMAGED);
    chunk = chunk_of(chunks_of_all_kinds(OVER_ARENA));
    chunk[AT_USED]--;
    expect_broken("block: blocks are miscounted");
    chunk[AT_USED]++;
    assert_int_equal(chunk[AT_SUMMARY], 1);
    chunk[AT_SUMMARY] = 3;
    expect_broken("block: summary is wrong");
    chunk[AT_SUMMARY] = 0;
    expect_broken("block: summary is wrong");
    chunk[AT_SUMMARY] = 1;
    chunk[AT_BITS + 7] = 0x80; /* of 1024 bytes there are 15 */
    expect_broken("block: bit without a block");
    chunk[AT_BITS + 7] = 0;
    assert_null(loam_block_audit(&heap));
    heap_of(OVER_ARENA, SPAN);
    chunk = chunk_of(take(100));
    give(take(100));
    give(chunk + 80);
    assert_int_equal(chunk[AT_SPARE], 1);
    chunk[AT_SPARE] = 0;
    heap.spare_count = 0;
    expect_broken("block: empty chunk is forgotten");
}

static void audit_finds_what_is_wrong_in_a_list(void **state)
{
    (void)state;
    unsigned char *chunk = chunk_of(chunks_of_all_kinds(OVER_ARENA));
    put_word(chunk, AT_BEFORE, get_word(chunk, AT_NEXT));
    expect_broken("block: list of chunks is broken");
    chunk = chunk_of(chunks_of_all_kinds(OVER_ARENA));
    put_word(chunk, AT_NEXT, 0);
    expect_broken("block: chunks are miscounted");
    put_word(chunk, AT_NEXT, (uintptr_t)chunk); /* for ever */
    expect_broken("block: list of chunks is broken");
    put_word(chunk, AT_NEXT, (uintptr_t)chunk + 8);
    expect_broken(DAMAGED);

    chunk = chunk_of(chunks_of_all_kinds(OVER_ARENA));
    put_word(chunk, AT_ROOM_BEFORE, (uintptr_t)chunk);
    expect_broken("block: list of chunks with room is broken");
    chunk = chunk_of(chunks_of_all_kinds(OVER_ARENA));
    put_word(chunk, AT_ROOM_NEXT, (uintptr_t)chunk);
    expect_broken("block: list of chunks with room is broken");
    put_word(chunk, AT_ROOM_NEXT, 16);
    expect_broken("block: list of chunks with room is broken");
    chunks_of_all_kinds(OVER_ARENA);
    for (unsigned class = 0; class < LOAM_BLOCK_CLASS_COUNT; class ++) {
        if (heap.room[class] == NULL)
            continue;
        struct loam_block_chunk *const first = heap.room[class];
        heap.room[class] = NULL;
        expect_broken("block: chunk with room is forgotten");
        heap.room[0] = first; /* of another class */
        expect_broken("block: list of chunks with room is broken");
        heap.room[0] = NULL;
        heap.room[class] = first;
        assert_null(loam_block_audit(&heap));
    }
    /* A full chunk in place of one that has room. */
    unsigned char *const full = chunk_of(chunks_of_all_kinds(OVER_ARENA)) - 0;
    for (struct loam_block_chunk *at = heap.first; at != NULL;
         at = (struct loam_block_chunk *)(uintptr_t)get_word((unsigned char *)at, AT_NEXT)) {
        unsigned char *const bytes = (unsigned char *)at;
        if (bytes[AT_SUMMARY] != 0 || memcmp(bytes, full, 3) == 0)
            continue;
        for (unsigned class = 0; class < LOAM_BLOCK_CLASS_COUNT; class ++) {
            struct loam_block_chunk *const first = heap.room[class];
            if (first == NULL)
                continue;
            put_word(bytes, AT_ROOM_NEXT, 0);
            put_word(bytes, AT_ROOM_BEFORE, 0);
            heap.room[class] = at;
            expect_broken("block: list of chunks with room is broken");
            heap.room[class] = first;
        }
    }
    assert_null(loam_block_audit(&heap));
}

static void audit_finds_what_is_wrong_in_the_heap(void **state)
{
    (void)state;
    chunks_of_all_kinds(OVER_ARENA);
    heap.cookie ^= (uint64_t)1 << 20;
    expect_broken(DAMAGED);
    chunks_of_all_kinds(OVER_ARENA);
    heap.chunk_count++;
    expect_broken("block: chunks are miscounted");
    heap.chunk_count -= 2;
    expect_broken("block: list of chunks is broken");
    chunks_of_all_kinds(OVER_ARENA);
    heap.spare_count--;
    expect_broken("block: spare chunks are miscounted");
    heap.spare_count++;
    struct loam_block_chunk *const spare = heap.spare[0];
    heap.spare[0] = (struct loam_block_chunk *)(uintptr_t)8;
    expect_broken("block: spare chunk is none");
    heap.spare[0] = (struct loam_block_chunk *)(uintptr_t)span;
    expect_broken("block: spare chunk is none");
    heap.spare[0] = spare;
    assert_null(loam_block_audit(&heap));
    heap.spare[0] = (struct loam_block_chunk *)(uintptr_t)chunk_of(chunks_of_all_kinds(OVER_ARENA));
    expect_broken("block: spare chunk is none");
    chunks_of_all_kinds(OVER_ARENA);
    heap.large_bytes = 1;
    expect_broken("block: large blocks are miscounted");
    heap.large_bytes = 0;
    heap.peak_bytes--;
    expect_broken("block: peak is below what is held");
}

/* Statistics do not walk over a chunk that is none. */
static void measure_of_a_damaged_chunk_panics(void **state)
{
    struct loam_block_stats ignored;

    (void)state;
    unsigned char *const chunk = chunk_of(chunks_of_all_kinds(OVER_ARENA));
    chunk[0] ^= 0x40;
    EXPECT_PANIC(DAMAGED, loam_block_measure(&heap, &ignored));
    assert_int_equal(panic_trap.seen.subject, (uintptr_t)chunk);
}

/* ---- the digest ---------------------------------------------------------- */

/* It sees places, classes and large blocks; no contents, no empty chunks, and
 * not which chunk came first. */
static void digest_sees_live_blocks_only(void **state)
{
    (void)state;
    heap_of(OVER_ARENA, SPAN);
    const uint64_t nothing = loam_block_digest(&heap);
    unsigned char *a = take(100);
    const uint64_t one = loam_block_digest(&heap);
    assert_int_not_equal(one, nothing);
    memset(a, 1, 100);
    assert_int_equal(loam_block_digest(&heap), one);
    unsigned char *b = take(100);
    const uint64_t two = loam_block_digest(&heap);
    assert_int_not_equal(two, one);
    give(a);
    assert_int_not_equal(loam_block_digest(&heap), one); /* another one lives */
    assert_ptr_equal(take(100), a);
    assert_int_equal(loam_block_digest(&heap), two);
    unsigned char *other = take(1000);
    assert_int_not_equal(loam_block_digest(&heap), two);
    give(other);
    assert_int_equal(loam_block_digest(&heap), two); /* an empty chunk */
    give(b);
    assert_int_equal(loam_block_digest(&heap), one);
    give(a);
    assert_int_equal(loam_block_digest(&heap), nothing);
    assert_int_equal(loam_block_trim(&heap), 2 * CHUNK);
    assert_int_equal(loam_block_digest(&heap), nothing);
    assert_ptr_equal(chunk_of(take(128)), chunk_of(a)); /* the same chunk, another class */
    assert_int_not_equal(loam_block_digest(&heap), one);

    unsigned char *large = take(5000);
    const uint64_t digest = loam_block_digest(&heap);
    assert_ptr_equal(resize(large, 5000, 4999, 1), large);
    assert_int_not_equal(loam_block_digest(&heap), digest);
    heap.large_bytes++;
    assert_int_equal(loam_block_digest(&heap), digest);
    heap.large_count++;
    assert_int_not_equal(loam_block_digest(&heap), digest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(free_H18_then_write_harms_nothing),
        cmocka_unit_test(free_H16_overflow_into_the_next_chunk_is_damage),
        cmocka_unit_test(H22_each_damaged_bit_of_a_chunk_is_found),
        cmocka_unit_test(H21_forged_links_are_not_followed),
        cmocka_unit_test(H21_damaged_first_chunk_is_not_linked),
        cmocka_unit_test(H21_damaged_links_do_not_spread),
        cmocka_unit_test(H22_a_wrong_count_shows_at_the_last_block),
        cmocka_unit_test(H22_a_bit_without_a_block_is_not_taken),
        cmocka_unit_test(audit_finds_what_is_wrong_in_a_chunk),
        cmocka_unit_test(audit_finds_what_is_wrong_in_a_list),
        cmocka_unit_test(audit_finds_what_is_wrong_in_the_heap),
        cmocka_unit_test(measure_of_a_damaged_chunk_panics),
        cmocka_unit_test(digest_sees_live_blocks_only),
    };
    return RUN_TESTS(tests);
}
