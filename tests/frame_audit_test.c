/*
 * frame_audit_test.c - the audit names each rule that does not hold; a damaged word is
 * found, or does no harm.
 */
#include "src/internal/frame_lane.h"

#include "frame_world.h"

#define BASE   UINT64_C(0x8000) /* page: 128 MiB, block 64 */
#define BLOCKS 12u

static struct loam_frame_region *region;
static struct loam_frame_lane *lane;

static void flip64(_Atomic uint64_t *word, unsigned bit)
{
    atomic_fetch_xor(word, UINT64_C(1) << bit);
}

static void flip32(_Atomic uint32_t *word, unsigned bit)
{
    atomic_fetch_xor(word, UINT32_C(1) << bit);
}

/*
 *   block  0: in use   1: partly   2..9: free   10, 11: of lane 0, frames wait
 *   [ ############## | ##...#### | ........... | ##............. | ##......... )
 */
static void damage_world(void)
{
    WORLD(1, { BASE, BASE + BLOCKS * BLOCK });
    assert_int_equal(reserve(BASE, BASE + 2 * BLOCK), LOAM_OK);
    assert_int_equal(reserve(BASE + 2 * BLOCK, BASE + 10 * BLOCK), LOAM_OK);
    assert_int_not_equal(take(2), NONE);
    release(BASE + 2 * BLOCK, BASE + 10 * BLOCK);
    assert_int_not_equal(take(0), NONE);
    assert_int_not_equal(take(0), NONE);
    give(take(3), 3);
    release(BASE + 640, BASE + 650);
    region = frame.table->region[0];
    lane = &frame.lane[0];
    assert_int_equal(region->word[0], FRAME_OPEN);
    assert_int_equal(region->word[1], FRAME_OPEN);
    assert_int_equal(region->word[2], FRAME_FREE);
    assert_non_null(lane->single.region);
    assert_non_null(lane->group.region);
    assert_int_not_equal(lane->mask, 0);
    expect_sound();
}

static void expect_broken(const char *rule)
{
    const char *const broken = loam_frame_audit(&frame);
    assert_non_null(broken);
    assert_string_equal(broken, rule);
}

/* ---- each rule ----------------------------------------------------------- */

static void audit_names_what_is_wrong_with_a_block(void **state)
{
    (void)state;
    damage_world();
    for (unsigned row = 0; row < FRAME_BLOCK_ROWS; row++) {
        flip64(&region->row[2 * FRAME_BLOCK_ROWS + row], 7 * row % 64);
        expect_broken("frame: a free block has frames in use");
        flip64(&region->row[2 * FRAME_BLOCK_ROWS + row], 7 * row % 64);
    }
    atomic_store(&region->word[2], FRAME_OPEN);
    expect_broken("frame: an open block has no frame in use");
    atomic_store(&region->word[2], FRAME_GONE);
    expect_broken("frame: a frame that was removed is free");
    atomic_store(&region->word[2], FRAME_GONE | 1u << 2);
    expect_broken("frame: a block's word is damaged");
    atomic_store(&region->word[2], FRAME_OWNED);
    expect_broken("frame: a lane does not know of its block");
    atomic_store(&region->word[2], FRAME_OWNED | 1u << 2);
    expect_broken("frame: a lane does not know of its block");
    atomic_store(&region->word[2], FRAME_OWNED | frame.lane_count << 2);
    expect_broken("frame: a block's word is damaged");
    atomic_store(&region->word[2], FRAME_FREE);
    expect_sound();
    atomic_store(&region->word[1], FRAME_FREE);
    expect_broken("frame: a free block has frames in use");
    atomic_store(&region->word[1], FRAME_OPEN);
    expect_sound();
    atomic_store(&region->word[0], FRAME_GONE);
    expect_broken("frame: not as many frames are gone as were removed");
    atomic_store(&region->word[0], FRAME_OPEN);
    expect_sound();
}

static void audit_names_what_is_hidden(void **state)
{
    (void)state;
    damage_world();
    flip64(&region->whole.level[0][(2 + region->lead) / 64], (2 + region->lead) % 64);
    expect_broken("frame: a free block is hidden");
    flip64(&region->whole.level[0][(2 + region->lead) / 64], (2 + region->lead) % 64);
    flip64(&region->part.level[0][(1 + region->lead) / 64], (1 + region->lead) % 64);
    expect_broken("frame: an open block with free frames is hidden");
    flip64(&region->part.level[0][(1 + region->lead) / 64], (1 + region->lead) % 64);
    expect_sound();
}

/* 5000 blocks: maps of three levels. */
static void audit_names_maps_that_hide_too_much(void **state)
{
    (void)state;
    WORLD(1, { GIB(8), GIB(8) + 5000 * BLOCK });
    region = frame.table->region[0];
    assert_int_equal(region->whole.levels, 3);
    for (unsigned level = 1; level < 3; level++) {
        for (unsigned word = 0; word < (level == 1 ? 2u : 1u); word++) {
            for (unsigned bit = 0; bit < (level == 1 && word == 1 ? 15u
                                          : level == 1            ? 64u
                                                                  : 2u);
                 bit++) {
                flip64(&region->whole.level[level][word], bit);
                expect_broken("frame: a map hides what is shown below");
                flip64(&region->whole.level[level][word], bit);
            }
        }
    }
    assert_int_equal(reserve(GIB(8) + 4000 * BLOCK + 5, GIB(8) + 4000 * BLOCK + 6), LOAM_OK);
    flip64(&region->part.level[1][0], 62);
    expect_broken("frame: a map hides what is shown below");
    flip64(&region->part.level[1][0], 62);
    flip64(&region->part.level[2][0], 0);
    expect_broken("frame: a map hides what is shown below");
    flip64(&region->part.level[2][0], 0);
    expect_sound();
}

static void audit_names_what_is_wrong_with_a_lane(void **state)
{
    (void)state;
    damage_world();
    const uint64_t first = lane->frame;
    _Atomic uint64_t *const row = &region->row[(first - region->base) / FRAME_ROW_FRAMES];
    const unsigned waits = (unsigned)__builtin_ctzll(lane->mask);
    flip64(row, waits);
    expect_broken("frame: a frame waits in a lane and is free");
    flip64(row, waits);
    const uint64_t start = region->base + lane->single.block * FRAME_BLOCK_FRAMES;
    atomic_store(&lane->frame, start - FRAME_ROW_FRAMES);
    expect_broken("frame: a lane has frames of another block");
    atomic_store(&lane->frame, start + FRAME_BLOCK_FRAMES);
    expect_broken("frame: a lane has frames of another block");
    atomic_store(&lane->frame, first);
    lane->single.region = NULL;
    expect_broken("frame: a lane has frames of another block");
    lane->single.region = region;
    expect_sound();
    lane->single.block = 3; /* the lane has it, and the block does not */
    expect_broken("frame: a block does not know of its lane");
    lane->single.block = lane->group.block; /* nor may two have it */
    const unsigned own = (unsigned)(lane - frame.lane);
    atomic_store(&region->word[lane->group.block], FRAME_OWNED | (own + 1) << 2);
    expect_broken("frame: a block does not know of its lane");
}

static void audit_names_a_lane_that_holds_more_than_it_says(void **state)
{
    (void)state;
    damage_world();
    atomic_store(&lane->holds, 0);
    expect_broken("frame: a lane holds what it says it does not");
    const uint64_t mask = atomic_exchange(&lane->mask, 0);
    expect_broken("frame: a lane holds what it says it does not");
    lane->single.region = NULL;
    expect_broken("frame: a lane holds what it says it does not");
    lane->single.region = region;
    lane->group.region = NULL;
    expect_broken("frame: a lane holds what it says it does not");
    lane->group.region = region;
    atomic_store(&lane->mask, mask);
    atomic_store(&lane->holds, 1);
    expect_sound();
}

static void audit_looks_at_every_lane(void **state)
{
    (void)state;
    damage_world();
    for (unsigned i = 1; i < frame.lane_count; i++) {
        atomic_store(&frame.lane[i].mask, 1);
        expect_broken("frame: a lane holds what it says it does not");
        atomic_store(&frame.lane[i].mask, 0);
    }
    expect_sound();
}

/* Every frame of the first and last block that is no RAM, in turn. */
static void audit_names_frames_outside_of_memory(void **state)
{
    (void)state;
    WORLD(1, { BASE - 100, BASE + 2 * BLOCK + 77 }, { BASE + 4 * BLOCK + 3, BASE + 5 * BLOCK });
    for (unsigned i = 0; i < 2; i++) {
        region = frame.table->region[i];
        for (uint64_t page = 0; page < region->block_count * BLOCK; page++) {
            const uint64_t number = region->base + page;
            if (number - region->first < region->count)
                continue;
            flip64(&region->row[page / 64], page % 64);
            expect_broken("frame: a frame outside of memory is free");
            flip64(&region->row[page / 64], page % 64);
        }
    }
    expect_sound();
}

/* ---- any bit ------------------------------------------------------------- */

/* No frame is given out that is in use, and none twice. */
static void expect_harmless(void)
{
    static bool taken[BLOCKS * BLOCK];
    const uint64_t most = stats().free_count;
    uint64_t count = 0;

    memset(taken, 0, sizeof(taken));
    for (uint64_t page = 0; page < BLOCKS * BLOCK; page++)
        taken[page] = (region->row[page / 64] >> page % 64 & 1) != 0;
    for (uint64_t waits = lane->mask; waits != 0; waits &= waits - 1)
        taken[lane->frame + (unsigned)__builtin_ctzll(waits) - BASE] = false;
    for (uint64_t page = take_any(0, LOAM_ZONE_ANY); page != NONE;
         page = take_any(0, LOAM_ZONE_ANY)) {
        assert_false(taken[page - BASE]);
        taken[page - BASE] = true;
        count++;
    }
    assert_true(count <= most);
    expect_sound();
}

static void audit_F23_finds_any_bit_of_a_blocks_word(void **state)
{
    (void)state;
    damage_world();
    for (unsigned block = 0; block < BLOCKS; block++) {
        for (unsigned bit = 0; bit < 32; bit++) {
            flip32(&region->word[block], bit);
            assert_non_null(loam_frame_audit(&frame));
            flip32(&region->word[block], bit);
        }
    }
    expect_sound();
}

/* A map that shows too much is a hint that leads nowhere. */
static void audit_F23_finds_any_bit_of_a_map_that_harms(void **state)
{
    unsigned found = 0;
    (void)state;
    for (unsigned bit = 0; bit < 2 * 64; bit++) {
        damage_world();
        const struct frame_map *const map = bit < 64 ? &region->whole : &region->part;
        assert_int_equal(map->levels, 1);
        flip64(&map->level[0][0], bit % 64);
        if (bit % 64 - region->lead >= BLOCKS) /* of no block */
            continue;
        if (loam_frame_audit(&frame) != NULL)
            found++;
        else
            expect_harmless();
    }
    assert_true(found >= BLOCKS - 3);
}

/* A row is the truth itself; that it is another one can be seen. */
static void digest_F23_is_of_every_frame(void **state)
{
    (void)state;
    damage_world();
    const uint64_t digest = loam_frame_digest(&frame);
    for (uint64_t page = 0; page < BLOCKS * BLOCK; page++) {
        flip64(&region->row[page / 64], page % 64);
        assert_int_equal(loam_frame_digest(&frame) == digest,
                         region->base + page / 64 * 64 == lane->frame &&
                             (lane->mask >> page % 64 & 1) != 0);
        flip64(&region->row[page / 64], page % 64);
    }
    assert_int_equal(loam_frame_digest(&frame), digest);
}

/* One frame in use, each in turn: all of it is in the digest. */
static void digest_F23_tells_single_frames_apart(void **state)
{
    static uint64_t digests[2 * BLOCK + 1];
    (void)state;
    WORLD(1, { BASE, BASE + 2 * BLOCK });
    digests[2 * BLOCK] = loam_frame_digest(&frame);
    for (uint64_t page = 0; page < 2 * BLOCK; page++) {
        assert_int_equal(reserve(BASE + page, BASE + page + 1), LOAM_OK); /* another digest */
        digests[page] = loam_frame_digest(&frame);
        release(BASE + page, BASE + page + 1);
        assert_int_equal(loam_frame_digest(&frame), digests[2 * BLOCK]);
        for (uint64_t other = 0; other < page; other++)
            if (digests[other] == digests[page])
                fail_msg("pages %u and %u", (unsigned)other, (unsigned)page);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(audit_names_what_is_wrong_with_a_block),
        cmocka_unit_test(audit_names_what_is_hidden),
        cmocka_unit_test(audit_names_maps_that_hide_too_much),
        cmocka_unit_test(audit_names_what_is_wrong_with_a_lane),
        cmocka_unit_test(audit_names_a_lane_that_holds_more_than_it_says),
        cmocka_unit_test(audit_looks_at_every_lane),
        cmocka_unit_test(audit_names_frames_outside_of_memory),
        cmocka_unit_test(audit_F23_finds_any_bit_of_a_blocks_word),
        cmocka_unit_test(audit_F23_finds_any_bit_of_a_map_that_harms),
        cmocka_unit_test(digest_F23_is_of_every_frame),
        cmocka_unit_test(digest_F23_tells_single_frames_apart),
    };
    return RUN_TESTS(tests);
}
