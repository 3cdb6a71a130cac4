/*
 * text_test.c - formatting, by examples and against printf.
 */
#include "../src/internal/text.h"

#include "harness.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Everything written since text_writer() was asked for. */
static struct {
    char text[2048];
    size_t length;
} page;

static void page_write(void *context, const char *text, size_t size_bytes)
{
    assert_ptr_equal(context, &page);
    assert_true(size_bytes < sizeof(page.text) - page.length);
    memcpy(page.text + page.length, text, size_bytes);
    page.length += size_bytes;
    page.text[page.length] = '\0';
}

/* A writer to an empty page. */
static const struct loam_writer *text_writer(void)
{
    static const struct loam_writer writer = { page_write, &page };
    memset(&page, 0, sizeof(page));
    return &writer;
}

/* A string comes out as it is; also an empty one. */
static void text_string_is_written_whole(void **state)
{
    (void)state;
    loam_text_string(text_writer(), "page tables");
    assert_string_equal(page.text, "page tables");
    loam_text_string(text_writer(), "");
    assert_string_equal(page.text, "");
}

/*
 *   width 8   |heap    |    |    heap|
 *   width 3   |heap|              |heap|   never cut
 */
static void text_pads_on_the_named_side(void **state)
{
    (void)state;
    loam_text_left(text_writer(), "heap", 8);
    assert_string_equal(page.text, "heap    ");
    loam_text_left(text_writer(), "heap", 4);
    assert_string_equal(page.text, "heap");
    loam_text_left(text_writer(), "heap", 3);
    assert_string_equal(page.text, "heap");

    loam_text_right(text_writer(), "heap", 8);
    assert_string_equal(page.text, "    heap");
    loam_text_right(text_writer(), "heap", 4);
    assert_string_equal(page.text, "heap");
    loam_text_right(text_writer(), "heap", 3);
    assert_string_equal(page.text, "heap");
    loam_text_right(text_writer(), "", 2);
    assert_string_equal(page.text, "  ");
}

/* Every width up to far more blanks than are written at a time. */
static void text_pads_to_any_width(void **state)
{
    (void)state;
    for (int width = 0; width < 100; width++) {
        char want[128];
        snprintf(want, sizeof(want), "%-*s|", width, "ab");
        loam_text_left(text_writer(), "ab", (size_t)width);
        page_write(&page, "|", 1);
        assert_string_equal(page.text, want);
        snprintf(want, sizeof(want), "%*s", width, "ab");
        loam_text_right(text_writer(), "ab", (size_t)width);
        assert_string_equal(page.text, want);
    }
}

/* A text that somebody forgot to terminate does not run on for ever. */
static void text_of_more_than_1024_characters_is_cut(void **state)
{
    static char endless[1500];

    (void)state;
    memset(endless, 'x', sizeof(endless));
    loam_text_string(text_writer(), endless);
    assert_int_equal(page.length, 1024);
}

static const uint64_t edges[] = {
    0,
    1,
    9,
    10,
    99,
    100,
    4095,
    4096,
    UINT32_MAX,
    (uint64_t)UINT32_MAX + 1,
    (UINT64_C(1) << 63) - 1,
    UINT64_C(1) << 63,
    UINT64_MAX - 4095,
    UINT64_MAX - 1,
    UINT64_MAX,
};

static void compare_numbers(uint64_t value)
{
    char want[64];

    snprintf(want, sizeof(want), "0x%016" PRIx64, value);
    loam_text_hex(text_writer(), value);
    assert_string_equal(page.text, want);

    for (int width = 0; width < 24; width += 6) {
        snprintf(want, sizeof(want), "%*" PRIu64, width, value);
        loam_text_decimal(text_writer(), value, (size_t)width);
        assert_string_equal(page.text, want);
    }
}

/* Hexadecimal and decimal say what printf says, at the edges and anywhere. */
static void text_numbers_agree_with_printf(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++)
        compare_numbers(edges[i]);
    for (int round = 0; round < 3000; round++)
        compare_numbers(test_random() >> test_random_below(64));
}

static void text_sizes_people_can_read(void **state)
{
    static const struct {
        uint64_t bytes;
        const char *want;
    } row[] = {
        { 0, "0 B" },
        { 1, "1 B" },
        { 1023, "1023 B" },
        { 1024, "1 KiB" },
        { 1025, "1.0 KiB" },
        { 1536, "1.5 KiB" },
        { UINT64_C(384) << 10, "384 KiB" },
        { (UINT64_C(1) << 20) - 1, "1023.9 KiB" },
        { UINT64_C(4) << 20, "4 MiB" },
        { UINT64_C(1023) << 20, "1023 MiB" },
        { UINT64_C(7) << 29, "3.5 GiB" },
        { (UINT64_C(7) << 29) - 1, "3.4 GiB" },
        { UINT64_C(64) << 40, "64 TiB" },
        { UINT64_C(1) << 52, "4 PiB" },
        { UINT64_C(1) << 60, "1 EiB" },
        { UINT64_C(1) << 63, "8 EiB" },
        { UINT64_MAX, "15.9 EiB" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        loam_text_size(text_writer(), row[i].bytes, 0);
        assert_string_equal(page.text, row[i].want);
    }
}

/* The definition: the largest unit reached, tenths by division in 128 bits. */
static void compare_size(uint64_t bytes)
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    __extension__ typedef unsigned __int128 wide;
    char number[32];
    char want[64];
    wide unit = 1;
    size_t name = 0;

    while (unit * 1024 <= bytes) {
        unit *= 1024;
        name++;
    }
    const wide tenths = (wide)bytes * 10 / unit;
    if (bytes % unit == 0)
        snprintf(number, sizeof(number), "%u %s", (unsigned)(tenths / 10), units[name]);
    else
        snprintf(number, sizeof(number), "%u.%u %s", (unsigned)(tenths / 10),
                 (unsigned)(tenths % 10), units[name]);
    assert_true(strlen(number) <= LOAM_TEXT_SIZE_MAX);
    snprintf(want, sizeof(want), "%10s", number);
    loam_text_size(text_writer(), bytes, 10);
    assert_string_equal(page.text, want);
}

static void text_sizes_agree_with_definition(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++)
        compare_size(edges[i]);
    for (unsigned shift = 0; shift < 64; shift++) {
        compare_size(UINT64_C(1) << shift);
        compare_size((UINT64_C(1) << shift) - 1);
        compare_size((UINT64_C(1) << shift) + 1);
    }
    for (int round = 0; round < 3000; round++)
        compare_size(test_random() >> test_random_below(64));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_string_is_written_whole),
        cmocka_unit_test(text_pads_on_the_named_side),
        cmocka_unit_test(text_pads_to_any_width),
        cmocka_unit_test(text_of_more_than_1024_characters_is_cut),
        cmocka_unit_test(text_numbers_agree_with_printf),
        cmocka_unit_test(text_sizes_people_can_read),
        cmocka_unit_test(text_sizes_agree_with_definition),
    };
    return RUN_TESTS(tests);
}
