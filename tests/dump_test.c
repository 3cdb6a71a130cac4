/*
 * dump_test.c - an address space as text: which lines there are, and what they say.
 */
#include <stdio.h>

#include "names_world.h"

static unsigned count_lines(const char *text)
{
    unsigned count = 0;
    for (; *text != '\0'; text++)
        count += *text == '\n';
    return count;
}

static void a_fresh_space_is_the_direct_map_and_the_image(void **state)
{
    char want[200];

    (void)state;
    named_machine();
    const char *const text = dumped();
    expect_words(text, "first-last                                  size  page cache rights "
                       "physical            what                 memory of; remarks\n");
    (void)snprintf(want, sizeof want,
                   "\n0x%016llx-0x%016llx     62 MiB 2 MiB WB    rw---  0x0000000000200000  "
                   "direct map           of usable and ",
                   (unsigned long long)direct(MIB(2)), (unsigned long long)direct(MIB(64)) - 1);
    expect_words(text, want);
    expect_words(text, "\n0xffffffff80000000-0xffffffff8000ffff     64 KiB 4 KiB WB    r-x-g  "
                       "0x0000000000100000  kernel text          of executable\n"
                       "0xffffffff80010000-0xffffffff80017fff     32 KiB 4 KiB WB    r---g  "
                       "0x0000000000110000  kernel constants     of executable\n"
                       "0xffffffff80018000-0xffffffff8003ffff    160 KiB 4 KiB WB    rw--g  "
                       "0x0000000000118000  kernel data          of executable\n");
    expect_words(text, "      4 MiB 2 MiB WC    rw---  0x00000000c0000000  direct map           "
                       "of framebuffer\n");
    expect_words(text, " ranges, 67.8 MiB, of which direct map 67.6 MiB; 0 aliased, "
                       "0 writable and executable, 0 for users\n");
}

static void an_empty_space_is_a_header_and_sums(void **state)
{
    struct loam_space empty;

    (void)state;
    named_machine();
    assert_int_equal(loam_space_init(&empty, &mm.tables, &mm.features), LOAM_OK);
    names.space = &empty;
    const char *const text = dumped();
    assert_int_equal(count_lines(text), 2);
    expect_words(text, "\n0 ranges, 0 B, of which direct map 0 B; 0 aliased, 0 writable and "
                       "executable, 0 for users\n");
}

static void a_gibibyte_of_small_pages_is_one_line(void **state)
{
    (void)state;
    named_machine();
    const unsigned before = count_lines(dumped());
    /* Not aligned alike: no large page fits. */
    for (uint64_t at = 0; at < GIB(1); at += MIB(64))
        map_at(UINT64_C(0x400000000000) + at, MIB(64), GIB(4) + 0x1000 + at, LOAM_PROT_WRITE);
    const char *const text = dumped();
    assert_int_equal(count_lines(text), before + 1);
    expect_words(text, "\n0x0000400000000000-0x000040003fffffff      1 GiB 4 KiB WB    rw---  "
                       "0x0000000100001000  unnamed              of nobody\n");
}

static void memory_in_pieces_is_one_line(void **state)
{
    uint64_t frames[40];

    (void)state;
    named_machine();
    const uint64_t at = range_of(40, "pieces");
    for (unsigned i = 0; i < 40; i++)
        frames[i] = take(1);
    for (unsigned i = 0; i < 40; i++) /* neighbours lie apart, or backwards */
        map_at(at + i * 0x1000, 0x1000, frames[39 - i], LOAM_PROT_WRITE);
    const char *const line = dump_line_at(at);
    expect_words(line, "    160 KiB 4 KiB WB    rw---  ");
    expect_words(line, "pieces               of kernel; in ");
    expect_words(line, " pieces");
    expect_no_words(line, "also at");
}

static void a_line_ends_where_its_range_does(void **state)
{
    (void)state;
    named_machine();
    const struct loam_vrange_request a = { .page_count = 2, .name = "a" };
    const struct loam_vrange_request b = { .page_count = 3, .name = "b" };
    loam_virt at, next;
    assert_int_equal(loam_vrange_alloc(&vrange, &a, &at), LOAM_OK);
    assert_int_equal(loam_vrange_alloc(&vrange, &b, &next), LOAM_OK);
    assert_int_equal(next.addr, at.addr + 0x2000);
    map_at(at.addr, 0x6000, take(6), LOAM_PROT_WRITE); /* and a page that is nobody's */
    expect_words(dump_line_at(at.addr), "      8 KiB 4 KiB WB    rw---  ");
    expect_words(dump_line_at(at.addr), "  a                    of kernel");
    expect_words(dump_line_at(next.addr), "     12 KiB 4 KiB WB    rw---  ");
    expect_words(dump_line_at(next.addr), "  b                    of kernel");
    expect_words(dump_line_at(next.addr + 0x3000), "      4 KiB 4 KiB WB    rw---  ");
    expect_words(dump_line_at(next.addr + 0x3000), "  free                 of kernel; not in use");
}

/* Pieces of several pages, the last of which reaches over the end of the range. */
static void pieces_end_where_their_range_does(void **state)
{
    (void)state;
    named_machine();
    const struct loam_vrange_request a = { .page_count = 5, .name = "a" };
    loam_virt at;
    assert_int_equal(loam_vrange_alloc(&vrange, &a, &at), LOAM_OK);
    map_at(at.addr, 0x3000, GIB(4), LOAM_PROT_WRITE);
    map_at(at.addr + 0x3000, 0x4000, GIB(5), LOAM_PROT_WRITE);
    expect_words(dump_line_at(at.addr), "     20 KiB 4 KiB WB    rw---  0x0000000100000000  a   ");
    expect_words(dump_line_at(at.addr), "of nobody; in 2 pieces");
    expect_words(dump_line_at(at.addr + 0x5000), "      8 KiB 4 KiB WB    rw---  "
                                                 "0x0000000140002000  free ");
}

static void pages_of_other_size_rights_or_type_are_another_line(void **state)
{
    const struct loam_attr uncached = { LOAM_PROT_WRITE, LOAM_CACHE_UC };

    (void)state;
    named_machine();
    const struct loam_vrange_request request = { .page_count = 1024,
                                                 .align_bytes = MIB(2),
                                                 .name = "mixed" };
    loam_virt at;
    assert_int_equal(loam_vrange_alloc(&vrange, &request, &at), LOAM_OK);
    map_at(at.addr, MIB(1), GIB(4), LOAM_PROT_WRITE);
    assert_int_equal(
        loam_map(&mm, virt_range(at.addr + MIB(1), KIB(512)), loam_phys_at(GIB(5)), uncached),
        LOAM_OK);
    map_at(at.addr + MIB(1) + KIB(512), KIB(512), GIB(4) + MIB(1), LOAM_PROT_WRITE);
    map_at(at.addr + MIB(2), MIB(2), GIB(6), LOAM_PROT_WRITE);
    expect_words(dump_line_at(at.addr), "  1 MiB 4 KiB WB    rw--- ");
    expect_words(dump_line_at(at.addr + MIB(1)), "512 KiB 4 KiB UC    rw--- ");
    expect_words(dump_line_at(at.addr + MIB(1) + KIB(512)), "512 KiB 4 KiB WB    rw--- ");
    expect_words(dump_line_at(at.addr + MIB(2)), "  2 MiB 2 MiB WB    rw--- ");
    const struct loam_attr readable = { LOAM_PROT_READ, LOAM_CACHE_WB };
    assert_int_equal(loam_protect(&mm, virt_range(at.addr, KIB(512)), readable), LOAM_OK);
    expect_words(dump_line_at(at.addr), "512 KiB 4 KiB WB    r---- ");
    expect_words(dump_line_at(at.addr + KIB(512)), "512 KiB 4 KiB WB    rw--- ");
    expect_words(dump_line_at(at.addr), "of nobody");
}

/* A hole of the direct map that something else is mapped in. */
static void what_only_lies_among_the_direct_map_is_not_called_so(void **state)
{
    (void)state;
    named_machine();
    const uint64_t frame = take(4), hole = direct(frame) + 0x1000;
    assert_int_equal(loam_unmap(&mm, virt_range(hole, 0x2000)), LOAM_OK);
    map_at(hole, 0x1000, GIB(4), LOAM_PROT_WRITE);
    map_at(hole + 0x1000, 0x1000, frame + 0x2000, LOAM_PROT_WRITE);
    expect_words(dump_line_at(hole),
                 "      4 KiB 4 KiB WB    rw---  0x0000000100000000  unnamed  ");
    expect_words(dump_line_at(hole + 0x1000), "  direct map           of ");
    expect_no_words(dump_line_at(direct(MIB(2))), "free");
}

static void a_large_page_is_cut_where_a_range_ends(void **state)
{
    (void)state;
    named_machine();
    const struct loam_vrange_request request = { .page_count = 256,
                                                 .align_bytes = MIB(2),
                                                 .name = "half" };
    loam_virt at;
    assert_int_equal(loam_vrange_alloc(&vrange, &request, &at), LOAM_OK);
    map_at(at.addr, MIB(2), GIB(4), LOAM_PROT_WRITE);
    expect_words(dump_line_at(at.addr), "      1 MiB 2 MiB WB    rw---  0x0000000100000000  half ");
    expect_words(dump_line_at(at.addr + MIB(1)), "      1 MiB 2 MiB WB    rw---  "
                                                 "0x0000000100100000  free ");
}

static void what_is_mapped_in_guards_and_freed_ranges_is_remarked(void **state)
{
    (void)state;
    named_machine();
    const uint64_t a = range_of(1, "a"), b = range_of(1, "b");
    map_at(a - 0x1000, 0x3000, take(3), LOAM_PROT_WRITE);
    map_at(b, 0x1000, take(1), LOAM_PROT_WRITE);
    loam_vrange_free(&vrange, virt_range(b, 0x1000));
    expect_words(dump_line_at(a - 0x1000), "  a                    of kernel; guard page");
    expect_no_words(dump_line_at(a), "guard page");
    expect_words(dump_line_at(a + 0x1000), "  a                    of kernel; guard page");
    expect_words(dump_line_at(b), "  b                    of kernel; freed");
}

static void memory_mapped_twice_says_where_else(void **state)
{
    char words[64];

    (void)state;
    named_machine();
    const uint64_t frame = take(4);
    const uint64_t a = range_of(4, "a"), b = range_of(1, "b"), c = range_of(2, "c");
    map_at(a, 0x4000, frame, LOAM_PROT_WRITE);
    expect_no_words(dump_line_at(a), "also at");
    map_at(b, 0x1000, frame + 0x2000, LOAM_PROT_READ);
    (void)snprintf(words, sizeof words, "; also at 0x%016llx", (unsigned long long)b);
    expect_words(dump_line_at(a), words);
    expect_no_words(dump_line_at(a), " more");
    (void)snprintf(words, sizeof words, "; also at 0x%016llx", (unsigned long long)a + 0x2000);
    expect_words(dump_line_at(b), words);
    map_at(c, 0x2000, frame + 0x2000, LOAM_PROT_READ);
    (void)snprintf(words, sizeof words, "; also at 0x%016llx and 1 more", (unsigned long long)b);
    expect_words(dump_line_at(a), words);
    expect_words(dumped(), "; 3 aliased, 0 writable and executable, 0 for users\n");
}

static void memory_mapped_twice_in_one_line_says_so(void **state)
{
    char words[64];

    (void)state;
    named_machine();
    const uint64_t frame = take(1), a = range_of(2, "a");
    map_at(a, 0x1000, frame, LOAM_PROT_WRITE);
    map_at(a + 0x1000, 0x1000, frame, LOAM_PROT_WRITE);
    (void)snprintf(words, sizeof words, "; in 2 pieces; also at 0x%016llx and 1 more",
                   (unsigned long long)a);
    expect_words(dump_line_at(a), words);
}

static void writable_memory_that_can_be_executed_elsewhere_is_remarked(void **state)
{
    char words[64];

    (void)state;
    named_machine();
    const uint64_t a = range_of(1, "a"), frame = take(1);
    map_at(a, 0x1000, frame, LOAM_PROT_EXEC);
    (void)snprintf(words, sizeof words, "; writable at 0x%016llx",
                   (unsigned long long)direct(frame));
    expect_words(dump_line_at(a), words);
    expect_no_words(dump_line_at(a), "also at");
    expect_no_words(dump_line_at(IMAGE_VIRT), "writable at");
    const uint64_t b = range_of(1, "b");
    map_at(b, 0x1000, MIB(1) + 0x2000, LOAM_PROT_WRITE);
    (void)snprintf(words, sizeof words, "; executable at 0x%016llx",
                   (unsigned long long)IMAGE_VIRT + 0x2000);
    expect_words(dump_line_at(b), words);
    (void)snprintf(words, sizeof words, "; also at 0x%016llx; writable at 0x%016llx",
                   (unsigned long long)b, (unsigned long long)b);
    expect_words(dump_line_at(IMAGE_VIRT), words);
    expect_words(dumped(), " 3 writable and executable, ");
}

static void programs_of_users_may_be_written_through_the_direct_map(void **state)
{
    (void)state;
    named_machine();
    map_at(0x400000, 0x1000, take(1), LOAM_PROT_EXEC | LOAM_PROT_USER);
    expect_words(dump_line_at(0x400000), " r-xu-  ");
    expect_no_words(dump_line_at(0x400000), "writable at");
    expect_words(dumped(), " 0 writable and executable, 1 for users\n");
}

static void a_page_that_is_writable_and_executable_is_remarked(void **state)
{
    (void)state;
    named_machine();
    const uint64_t a = range_of(1, "a");
    map_at(a, 0x1000, take(1), LOAM_PROT_WRITE);
    expect_no_words(dump_line_at(a), "W+X");
    *entry_of(a, 1) &= ~(UINT64_C(1) << 63);
    expect_words(dump_line_at(a), " rwx-- ");
    expect_words(dump_line_at(a), "; W+X");
    const uint64_t b = range_of(1, "b"); /* and in no other way */
    map_at(b, 0x1000, GIB(4), LOAM_PROT_WRITE);
    *entry_of(b, 1) &= ~(UINT64_C(1) << 63);
    assert_int_equal(loam_unmap(&mm, virt_range(a, 0x1000)), LOAM_OK);
    expect_words(dumped(), ", 1 writable and executable, ");
}

static void without_nx_nothing_is_remarked_as_executable(void **state)
{
    (void)state;
    small_machine(1);
    machine_cpu(0)->nx = false;
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    names = loam_names_of(&mm);
    expect_words(dumped(), " rwx-- ");
    expect_no_words(paper, "W+X");
    expect_no_words(paper, " at 0x");
    expect_words(paper, ", 0 writable and executable, ");
}

static void another_cache_type_is_remarked(void **state)
{
    const struct loam_attr uncached = { LOAM_PROT_WRITE, LOAM_CACHE_UC };
    char words[64];

    (void)state;
    named_machine();
    const uint64_t a = range_of(1, "a"), frame = take(1);
    assert_int_equal(loam_map(&mm, virt_range(a, 0x1000), loam_phys_at(frame), uncached), LOAM_OK);
    expect_words(dump_line_at(a), " UC    rw--- ");
    (void)snprintf(words, sizeof words, "; WB at 0x%016llx", (unsigned long long)direct(frame));
    expect_words(dump_line_at(a), words);
}

static void free_frames_that_are_mapped_are_counted(void **state)
{
    const struct loam_frame_request two = { .page_count = 2 };
    struct loam_phys_range got;

    (void)state;
    named_machine();
    const uint64_t a = range_of(2, "a"), b = range_of(1, "b");
    assert_int_equal(loam_take(&mm, &two, LOAM_OWNER_KERNEL, &got), LOAM_OK);
    map_at(a, 0x2000, got.start.addr, LOAM_PROT_WRITE);
    expect_no_words(dump_line_at(a), "free");
    got.size = 0x1000;
    assert_int_equal(loam_give(&mm, got, LOAM_OWNER_KERNEL), LOAM_OK);
    expect_words(dump_line_at(a), " and 1 other; 1 frame is free");
    got.start.addr += 0x1000;
    assert_int_equal(loam_give(&mm, got, LOAM_OWNER_KERNEL), LOAM_OK);
    expect_words(dump_line_at(a), "  a                    of single frames; 2 frames are free");
    const loam_phys single = loam_take_frames(&mm, 0, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL);
    map_at(b, 0x1000, single.addr, LOAM_PROT_WRITE);
    const char *const line = dump_line_at(b);
    expect_words(line, "  b                    of single frames");
    assert_true(strstr(line, "free") == NULL || single.addr == got.start.addr);
}

static void a_space_up_to_its_end_is_dumped(void **state)
{
    (void)state;
    named_machine();
    map_at(UINT64_C(0xfffffffffffff000), 0x1000, take(1), LOAM_PROT_WRITE);
    expect_words(dump_line_at(UINT64_C(0xfffffffffffff000)),
                 "0xfffffffffffff000-0xffffffffffffffff      4 KiB 4 KiB WB    rw---  ");
}

static void what_is_not_known_is_left_out(void **state)
{
    (void)state;
    named_machine();
    const struct loam_names only_space = { .space = &mm.space };
    names = only_space;
    const char *const text = dumped();
    expect_words(text, "0x0000000000100000  unnamed              \n");
    expect_no_words(text, " of usable");
    expect_no_words(text, "kernel");
}

static void what_is_in_use_and_not_present_has_lines(void **state)
{
    char words[80];
    loam_phys held[2];

    (void)state;
    named_machine();
    const uint64_t at = range_of(64, "a"), frames = take(2);
    const char *const sums = strstr(dumped(), "ranges, ");
    char before[80];
    assert_true(strcspn(sums, ";") < sizeof before);
    (void)snprintf(before, sizeof before, "%.*s;", (int)strcspn(sums, ";"), sums);
    assert_int_equal(loam_space_tag(&mm.space, virt_range(at, 0x4000), LOAM_ENTRY_GUARD, 0),
                     LOAM_OK);
    assert_int_equal(loam_space_tag(&mm.space, virt_range(at + 0x4000, 0x2000), LOAM_ENTRY_TAG, 7),
                     LOAM_OK);
    assert_int_equal(loam_space_tag(&mm.space, virt_range(at + 0x6000, 0x1000), LOAM_ENTRY_TAG, 8),
                     LOAM_OK);
    held[0].addr = frames + 0x1000;
    held[1].addr = frames;
    assert_int_equal(loam_space_hold(&mm.space, loam_virt_at(at + 0x7000), held, 2), LOAM_OK);
    expect_words(dump_line_at(at), "     16 KiB 4 KiB guard -----  0x0000000000000000  a    ");
    expect_words(dump_line_at(at + 0x4000),
                 "      8 KiB 4 KiB tag   -----  0x0000000000000007  a    ");
    expect_words(dump_line_at(at + 0x6000),
                 "      4 KiB 4 KiB tag   -----  0x0000000000000008  a    ");
    (void)snprintf(words, sizeof words, "      8 KiB 4 KiB held  -----  0x%016llx  a    ",
                   (unsigned long long)frames + 0x1000);
    expect_words(dump_line_at(at + 0x7000), words);
    expect_words(dump_line_at(at + 0x7000), " of kernel; in 2 pieces");
    expect_no_words(dump_line_at(at + 0x4000), " of ");
    expect_no_words(dump_line_at(at + 0x7000), "also");
    expect_words(dumped(), before); /* as many bytes are mapped */
}

static void a_page_to_be_copied_is_not_writable(void **state)
{
    (void)state;
    named_machine();
    const uint64_t frame = take(1);
    map_at(0x400000, 0x1000, frame, LOAM_PROT_EXEC | LOAM_PROT_USER);
    map_at(0x401000, 0x1000, frame, LOAM_PROT_WRITE | LOAM_PROT_USER);
    expect_words(dump_line_at(0x400000), "; writable at 0x0000000000401000");
    assert_non_null(loam_space_lint(&names, NULL));
    uint64_t *const entry = entry_of(0x401000, 1);
    *entry = (*entry & ~UINT64_C(2)) | UINT64_C(3) << 52;
    expect_words(dump_line_at(0x401000), " rc-u-  ");
    map_at(0x402000, 0x1000, take(1), LOAM_PROT_WRITE | LOAM_PROT_USER);
    expect_words(dump_line_at(0x401000), "  4 KiB 4 KiB WB    rc-u-  ");
    expect_words(dump_line_at(0x402000), "  4 KiB 4 KiB WB    rw-u-  ");
    expect_no_words(dump_line_at(0x400000), "; writable at");
    assert_null(loam_space_lint(&names, NULL));
}

/* Oracle: the processor. Every mapped page is in exactly one line, with its rights. */
static void every_page_is_in_one_line_with_its_rights(void **state)
{
    (void)state;
    named_machine();
    const loam_prot prots[] = { LOAM_PROT_READ, LOAM_PROT_WRITE, LOAM_PROT_EXEC,
                                LOAM_PROT_WRITE | LOAM_PROT_GLOBAL };
    for (unsigned i = 0; i < 60; i++) {
        const uint64_t at = WINDOW + test_random_below(64) * 0x1000;
        const uint64_t size = (1 + test_random_below(4)) * 0x1000;
        const struct loam_attr attr = { prots[test_random_below(4)], LOAM_CACHE_WB };
        (void)!loam_map(&mm, virt_range(at, size),
                        loam_phys_at(GIB(5) + test_random_below(32) * 0x1000), attr);
    }
    (void)range_of(7, "r");
    (void)range_of(11, "s");
    const char *line = strstr(dumped(), "0xffffc000000");
    uint64_t mapped = 0, shown = 0;
    for (uint64_t at = WINDOW; at < WINDOW + 70 * 0x1000; at += 0x1000)
        mapped += machine_probe(0, at, MACHINE_READ).fault == MACHINE_OK;
    for (; line != NULL && strncmp(line, "0xffffc000000", 13) == 0; line = strchr(line, '\n') + 1) {
        unsigned long long first, last;
        char rights[6];
        assert_int_equal(sscanf(line, "%llx-%llx %*s %*s %*s %*s %*s %5s", &first, &last, rights),
                         3);
        for (uint64_t at = first; at < last; at += 0x1000, shown++) {
            assert_int_equal(machine_probe(0, at, MACHINE_READ).fault, MACHINE_OK);
            assert_int_equal(machine_probe(0, at, MACHINE_WRITE).fault == MACHINE_OK,
                             rights[1] == 'w');
            assert_int_equal(machine_probe(0, at, MACHINE_EXEC).fault == MACHINE_OK,
                             rights[2] == 'x');
        }
    }
    assert_int_equal(shown, mapped);
}

int main(void)
{
    const struct CMUnitTest dump_tests[] = {
        cmocka_unit_test(a_fresh_space_is_the_direct_map_and_the_image),
        cmocka_unit_test(an_empty_space_is_a_header_and_sums),
        cmocka_unit_test(a_gibibyte_of_small_pages_is_one_line),
        cmocka_unit_test(memory_in_pieces_is_one_line),
        cmocka_unit_test(a_line_ends_where_its_range_does),
        cmocka_unit_test(pieces_end_where_their_range_does),
        cmocka_unit_test(pages_of_other_size_rights_or_type_are_another_line),
        cmocka_unit_test(what_only_lies_among_the_direct_map_is_not_called_so),
        cmocka_unit_test(a_large_page_is_cut_where_a_range_ends),
        cmocka_unit_test(what_is_mapped_in_guards_and_freed_ranges_is_remarked),
        cmocka_unit_test(memory_mapped_twice_says_where_else),
        cmocka_unit_test(memory_mapped_twice_in_one_line_says_so),
        cmocka_unit_test(writable_memory_that_can_be_executed_elsewhere_is_remarked),
        cmocka_unit_test(programs_of_users_may_be_written_through_the_direct_map),
        cmocka_unit_test(a_page_that_is_writable_and_executable_is_remarked),
        cmocka_unit_test(without_nx_nothing_is_remarked_as_executable),
        cmocka_unit_test(another_cache_type_is_remarked),
        cmocka_unit_test(free_frames_that_are_mapped_are_counted),
        cmocka_unit_test(a_space_up_to_its_end_is_dumped),
        cmocka_unit_test(what_is_not_known_is_left_out),
        cmocka_unit_test(what_is_in_use_and_not_present_has_lines),
        cmocka_unit_test(a_page_to_be_copied_is_not_writable),
        cmocka_unit_test(every_page_is_in_one_line_with_its_rights),
    };
    return RUN_TESTS(dump_tests);
}
