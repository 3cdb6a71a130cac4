/*
 * zero_model_test.c - a pool beside a list of where each frame is.
 */
#include "zero_world.h"

#define BASE        UINT64_C(8192)
#define MODEL_PAGES (BLOCK / 2)

static enum place { FREE, POOLED, OUT, OUT_DIRTY } model[MODEL_PAGES];

/* The pool has what is in use for the allocator and not out. */
static void learn_pool(void)
{
    uint64_t pooled = 0;
    for (uint64_t i = 0; i < MODEL_PAGES; i++) {
        const bool is_free = loam_frame_free_in(&frame, range_of(BASE + i, BASE + i + 1)) == 1;
        if (model[i] == OUT || model[i] == OUT_DIRTY) {
            assert_false(is_free);
            continue;
        }
        model[i] = is_free ? FREE : POOLED;
        pooled += !is_free;
    }
    assert_int_equal(loam_zero_level(&pool), pooled);
}

static uint64_t model_count(enum place place)
{
    uint64_t count = 0;
    for (uint64_t i = 0; i < MODEL_PAGES; i++)
        count += model[i] == place;
    return count;
}

/* Any frame that is out; MODEL_PAGES: none. */
static uint64_t model_pick(void)
{
    const uint64_t from = test_random_below(MODEL_PAGES);
    for (uint64_t i = 0; i < MODEL_PAGES; i++) {
        const uint64_t at = (from + i) % MODEL_PAGES;
        if (model[at] == OUT || model[at] == OUT_DIRTY)
            return at;
    }
    return MODEL_PAGES;
}

static void model_take(void)
{
    const uint64_t hits = pool_stats().hit_count;
    const bool is_any = model_count(FREE) + model_count(POOLED) != 0;
    const uint64_t page = take_zeroed(LOAM_ZONE_ANY);

    assert_int_equal(page != NONE, is_any);
    if (page == NONE)
        return;
    assert_int_equal(model[page - BASE], pool_stats().hit_count != hits ? POOLED : FREE);
    model[page - BASE] = OUT;
    if (test_random_below(2) == 0) {
        make_dirty(page, 1);
        model[page - BASE] = OUT_DIRTY;
    }
}

static void model_give(void)
{
    const uint64_t at = model_pick();
    if (at == MODEL_PAGES)
        return;
    if (model[at] == OUT)
        put(BASE + at);
    else
        give_any(BASE + at, 0);
    model[at] = FREE; /* or in the pool */
}

static void model_block(void)
{
    const unsigned order = 1 + (unsigned)test_random_below(5);
    const loam_phys block = loam_zero_alloc(&pool, order, LOAM_ZONE_ANY);
    if (loam_phys_is_none(block)) {
        assert_int_equal(loam_zero_level(&pool), 0);
        return;
    }
    const uint64_t page = block.addr / LOAM_PAGE_SIZE;
    for (uint64_t i = page; i < page + (UINT64_C(1) << order); i++)
        assert_true(model[i - BASE] == FREE || model[i - BASE] == POOLED);
    assert_true(are_all(page, UINT64_C(1) << order, 0));
    make_dirty(page, UINT64_C(1) << order);
    loam_frame_free(&frame, block, order);
}

static void pool_agrees_with_a_model(void **state)
{
    (void)state;
    ZERO_WORLD(3, 40, 30, { BASE, BASE + MODEL_PAGES });
    memset(model, 0, sizeof(model));
    for (unsigned round = 0; round < 3000; round++) {
        machine_set_cpu((unsigned)test_random_below(3));
        const bool is_growing = round / 500 % 2 == 0; /* to the last frame, and back */
        switch (test_random_below(16)) {
        case 0:
            (void)refill(test_random_below(50));
            break;
        case 1:
            (void)refill(test_random_below(3));
            break;
        case 2:
            if (test_random_below(8) == 0)
                assert_int_equal(loam_zero_drain(&pool), model_count(POOLED));
            break;
        case 3:
            model_block();
            break;
        default:
            if (test_random_below(8) < (is_growing ? 5 : 2))
                model_take();
            else
                model_give();
            break;
        }
        expect_pool_sound();
        learn_pool();
    }
    expect_sound();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pool_agrees_with_a_model),
    };
    return RUN_TESTS(tests);
}
