/*
 * explain_test.c - why an access faulted: what the tables say, and who knows what.
 */
#include "explain_world.h"

static enum loam_fault_cause cause(uint64_t address, uint64_t error, unsigned *level)
{
    const struct loam_fault fault = fault_at(address, error);
    return loam_explain_cause(&names, &fault, level);
}

/* ---- what was tried, what the tables say ---------------------------------- */

static void the_whole_report_of_a_write_to_code(void **state)
{
    static const char *const lines[] = {
        "  write by the kernel at 0xffffffff80001008, error code 0x0000000000000003 present write, "
        "instruction at 0xffffffff80000456\n  level 4, entry 511 at 0x",
        ", r-x-g WB, accessed\n  why: the page is read-only, writing is not allowed at level 1\n"
        "  where: kernel text from 0xffffffff80000000\n"
        "  memory: physical 0x0000000000101008\n"
        "  owner: executable, 0x0000000000100000-0x000000000013ffff\n"
        "  hint: code and constants of the kernel are read-only\n",
    };
    char entry[120];

    (void)state;
    named_machine();
    const char *const text = explained(fault_at(IMAGE_VIRT + 0x1008, 3));
    for (unsigned i = 0; i < sizeof lines / sizeof lines[0]; i++)
        expect_words(text, lines[i]);
    for (unsigned level = 4; level > 1; level--) {
        const uint64_t *const word = entry_of(IMAGE_VIRT + 0x1008, level);
        const uint64_t table = *word & UINT64_C(0x000ffffffffff000);
        (void)snprintf(entry, sizeof entry, ": 0x%016llx table at 0x%016llx, rwx--\n",
                       (unsigned long long)*word, (unsigned long long)table);
        expect_words(text, entry);
    }
    (void)snprintf(entry, sizeof entry,
                   "  level 1, entry 1 at 0x%016llx: 0x%016llx 4 KiB page at "
                   "0x0000000000101000, r-x-g WB, accessed\n",
                   (unsigned long long)((*entry_of(IMAGE_VIRT, 2) & UINT64_C(0xffffffffff000)) + 8),
                   (unsigned long long)*entry_of(IMAGE_VIRT + 0x1008, 1));
    expect_words(text, entry);
}

static void every_bit_of_the_error_code_is_named(void **state)
{
    (void)state;
    named_machine();
    EXPECT_SAID(0x5000, 0x0,
                "  read by the kernel at 0x0000000000005000, error code "
                "0x0000000000000000, instruction");
    EXPECT_SAID(0x5000, 0x807f,
                "  execution by user mode at 0x0000000000005000, error code "
                "0x000000000000807f present write user reserved fetch protection-key "
                "shadow-stack SGX, instruction");
    EXPECT_SAID(0x5000, 0x6, "  write by user mode at ");
    struct loam_fault fault = fault_at(0x5000, 0);
    fault.ip.addr = 0;
    expect_no_words(explained(fault), "instruction");
}

/* Each bit that forbids, at each level. */
static void the_highest_level_that_forbids_is_named(void **state)
{
    static const struct {
        uint64_t clear, set, error;
        enum loam_fault_cause cause;
        const char *words;
    } rows[] = {
        { 1, 0, 4, LOAM_FAULT_BY_ABSENCE,
          "why: nothing is mapped there, the entry is not present "
          "at level " },
        { 2, 0, 7, LOAM_FAULT_BY_WRITE,
          "why: the page is read-only, writing is not allowed at "
          "level " },
        { 4, 0, 5, LOAM_FAULT_BY_USER,
          "why: the page is the kernel's, users are not allowed at "
          "level " },
        { 0, UINT64_C(1) << 63, 0x15, LOAM_FAULT_BY_FETCH,
          "why: the page is not executable, "
          "forbidden at level " },
        { 0, UINT64_C(1) << 51, 0xd, LOAM_FAULT_BY_FORMAT,
          "why: reserved bits are set: "
          "0x0008000000000000 at level " },
        { UINT64_C(0xffffffffff000), UINT64_C(0x123) << 32, 4, LOAM_FAULT_BY_TABLE,
          "why: not known, there is no RAM where the tables lead, at level " },
    };
    char words[120];
    unsigned found;

    (void)state;
    named_machine();
    map_at(0x400000, 0x1000, take(1), LOAM_PROT_WRITE | LOAM_PROT_USER);
    *entry_of(0x400000, 1) &= ~(UINT64_C(1) << 63);
    assert_int_equal(cause(0x400123, 7, &found), LOAM_FAULT_BY_NOTHING);
    for (unsigned level = 4; level > 0; level--) {
        for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            if (rows[i].cause == LOAM_FAULT_BY_TABLE && level == 1)
                continue; /* what it maps need not be RAM */
            uint64_t *const word = entry_of(0x400000, level);
            const uint64_t entry = *word;
            *word = (entry & ~rows[i].clear) | rows[i].set;
            assert_int_equal(cause(0x400123, rows[i].error, &found), rows[i].cause);
            const unsigned at = level - (rows[i].cause == LOAM_FAULT_BY_TABLE ? 1 : 0);
            assert_int_equal(found, at);
            (void)snprintf(words, sizeof words, "%s%u\n", rows[i].words, at);
            EXPECT_SAID(0x400123, rows[i].error, words);
            *word = entry;
        }
    }
    assert_int_equal(
        loam_explain_cause(&names, &(struct loam_fault){ { 0x400123 }, 7, { 0 }, loam_phys_none() },
                           NULL),
        LOAM_FAULT_BY_NOTHING);
}

static void users_pages_are_not_for_the_kernel(void **state)
{
    (void)state;
    named_machine();
    map_at(0x400000, 0x1000, take(1), LOAM_PROT_EXEC | LOAM_PROT_USER);
    EXPECT_SAID(0x400000, 0x11, "why: the kernel must not execute users' pages: SMEP");
    EXPECT_SAID(0x400000, 0x01, "why: the kernel must not access users' pages: SMAP");
    EXPECT_SAID(0x400000, 0x03, "why: the page is read-only"); /* the first that is true */
}

static void what_the_tables_allow_is_said_to_be_allowed(void **state)
{
    unsigned level = 9;

    (void)state;
    named_machine();
    const uint64_t at = direct(MIB(2));
    assert_int_equal(cause(at, LOAM_FAULT_WRITE | LOAM_FAULT_PRESENT, &level),
                     LOAM_FAULT_BY_NOTHING);
    assert_int_equal(level, 0);
    EXPECT_SAID(at, 3,
                "why: not known, the tables allow it now: were they changed without a flush?");
    EXPECT_SAID(at, 2, "why: not known, it is mapped now: was it mapped meanwhile?");
    EXPECT_SAID(at, 0x21, "why: a protection key forbids it, the tables do not");
    EXPECT_SAID(at, 0x41, "why: a rule of shadow stacks or SGX forbids it, the tables do not");
    EXPECT_SAID(IMAGE_VIRT, 2,
                "at level 1; but the processor found it absent: it was mapped "
                "meanwhile\n");
    EXPECT_SAID(0x400000, 1, "; but the processor remembers it as present\n");
    expect_no_words(explained(fault_at(0x400000, 0)), "remembers");
    expect_no_words(explained(fault_at(IMAGE_VIRT, 3)), "meanwhile");
}

static void what_is_not_canonical_is_not_looked_up(void **state)
{
    (void)state;
    named_machine();
    EXPECT_SAID(UINT64_C(0x8000000000000000), 0, "why: the address is not canonical\n");
    expect_no_words(paper, "level");
    EXPECT_SAID(UINT64_C(0x0000800000000000), 0, "why: the address is not canonical\n");
    EXPECT_SAID(UINT64_C(0x00007fffffffffff), 0, "why: nothing is mapped there");
}

static void the_tables_of_the_cpu_are_read_not_those_of_the_space(void **state)
{
    struct loam_space other;
    unsigned level;

    (void)state;
    named_machine();
    assert_int_equal(loam_space_init(&other, &mm.tables, &mm.features), LOAM_OK);
    struct loam_fault fault = fault_at(IMAGE_VIRT, 0);
    fault.root = loam_phys_at(other.root.addr | 0x18); /* as CR3 has it */
    assert_int_equal(loam_explain_cause(&names, &fault, &level), LOAM_FAULT_BY_ABSENCE);
    assert_int_equal(level, 4);
    expect_words(explained(fault), "  tables: those of 0x");
    expect_words(paper, ", not of the space that is known, 0x");
    fault.root = loam_phys_at(mm.space.root.addr | 0x18);
    expect_no_words(explained(fault), "tables: those");
    assert_int_equal(loam_explain_cause(&names, &fault, &level), LOAM_FAULT_BY_NOTHING);
    fault.root = loam_phys_at(GIB(2));
    expect_words(explained(fault), "why: not known, there is no RAM where the tables lead, at "
                                   "level 4\n");
    expect_words(paper, "hint: CR3 does not name a table");
    names.frame = NULL;
    expect_no_words(explained(fault_at(IMAGE_VIRT, 0)), "CR3");
    expect_words(paper, "why: not known");
}

static void large_pages_and_their_bits_are_shown(void **state)
{
    (void)state;
    named_machine();
    EXPECT_SAID(direct(MIB(4)) + 5, 3, " 2 MiB page at 0x0000000000400000, rw--- WB");
    expect_words(paper, "  memory: physical 0x0000000000400005, a f");
    EXPECT_SAID(direct(GIB(3)), 3, " 2 MiB page at 0x00000000c0000000, rw--- WC");
    *entry_of(direct(MIB(4)), 2) |= 0x60;
    EXPECT_SAID(direct(MIB(4)), 3, "rw--- WB, accessed, dirty\n");
    *entry_of(direct(MIB(4)), 2) &= ~UINT64_C(0x60);
    EXPECT_SAID(direct(MIB(4)), 3, "rw--- WB\n");
    *entry_of(direct(MIB(4)), 2) |= 0x2000;
    EXPECT_SAID(direct(MIB(4)), 0xb, "why: reserved bits are set: 0x0000000000002000 at level 2");
    expect_words(paper, "hint: the tables were overwritten");
    *entry_of(0x400000, 4) = 0x1230; /* not present */
    EXPECT_SAID(0x400000, 0, ": 0x0000000000001230 not present, and nothing that Loam writes\n");
    expect_words(paper, "hint: the tables were overwritten");
    EXPECT_SAID(UINT64_C(0x8000400000), 0, ": 0x0000000000000000 nothing\n");
}

static void what_is_in_use_and_not_present_is_named(void **state)
{
    const uint64_t at = 0x400000;
    loam_phys held;

    (void)state;
    named_machine();
    map_at(at, 0x1000, take(1), LOAM_PROT_WRITE | LOAM_PROT_USER);
    assert_int_equal(
        loam_space_tag(&mm.space, virt_range(at + 0x1000, 0x1000), LOAM_ENTRY_GUARD, 0), LOAM_OK);
    assert_int_equal(
        loam_space_tag(&mm.space, virt_range(at + 0x2000, 0x1000), LOAM_ENTRY_TAG, 0x1234),
        LOAM_OK);
    held.addr = take(1);
    assert_int_equal(loam_space_hold(&mm.space, loam_virt_at(at + 0x3000), &held, 1), LOAM_OK);
    EXPECT_SAID(at + 0x1000, 6, " guard\n  why: nothing is mapped there");
    expect_words(paper, "hint: a guard: nothing is ever mapped there");
    EXPECT_SAID(at + 0x2000, 6, " tag 0x0000000000001234\n");
    expect_words(paper, "hint: a tag: whoever set it was to bring the page in");
    EXPECT_SAID(at + 0x3000, 6, " holds 0x");
    expect_words(paper, ", not mapped\n");
    expect_words(paper, "hint: memory is held there");
    EXPECT_SAID(at + 0x4000, 6, " nothing\n");
    expect_no_words(paper, "hint");
    uint64_t *const entry = entry_of(at, 1);
    EXPECT_SAID(at, 7, ", rw-u- WB");
    *entry = (*entry & ~UINT64_C(2)) | UINT64_C(3) << 52;
    EXPECT_SAID(at, 7, ", r--u- WB");
    expect_words(paper, ", copy on write\n");
    expect_words(paper, "hint: copy on write: nobody has copied the page");
    expect_no_words(explained(fault_at(at, 5)), "nobody has copied");
}

/* ---- where, whose ---------------------------------------------------------- */

static void a_gibibyte_page_needs_a_processor_that_has_them(void **state)
{
    unsigned level;

    (void)state;
    named_machine();
    map_at(0x40000000, GIB(1), GIB(4), LOAM_PROT_READ);
    EXPECT_SAID(0x40000000, 3, "1 GiB page at 0x0000000100000000, r---- WB\n");
    mm.space.features.gib_pages = false;
    assert_int_equal(cause(0x40000000, 3, &level), LOAM_FAULT_BY_FORMAT);
    assert_int_equal(level, 3);
    EXPECT_SAID(0x40000000, 3, "why: reserved bits are set: 0x0000000000000080 at level 3\n");
}

static void guards_name_the_range_that_ran_over(void **state)
{
    (void)state;
    named_machine();
    const uint64_t at = range_of(2, "stack of CPU 1");
    map_at(at, 0x2000, take(2), LOAM_PROT_WRITE);
    EXPECT_SAID(at - 8, 2, "  where: guard page below stack of CPU 1 from 0x");
    expect_words(paper, "hint: a stack that overflows runs into the guard below it");
    EXPECT_SAID(at + 0x2000, 2, "  where: guard page above stack of CPU 1 from 0x");
    expect_words(paper, "hint: somebody ran over the end of the range");
    EXPECT_SAID(at, 3, "  where: range stack of CPU 1 from 0x");
    expect_no_words(paper, "guard");
}

static void ranges_that_are_gone_are_told_from_those_never_there(void **state)
{
    (void)state;
    named_machine();
    const uint64_t at = range_of(2, "gone");
    loam_vrange_free(&vrange, virt_range(at, 0x2000));
    EXPECT_SAID(at, 0, "  where: freed range, not purged yet: gone from 0x");
    expect_words(paper, "hint: the range was used after it was freed");
    EXPECT_SAID(at + 0x10000, 0, "  where: in no range, the place is free\n");
    struct loam_vrange_request high = { .page_count = 1, .name = "high" };
    assert_int_equal(loam_vrange_reserve(&vrange, &high, loam_virt_at(WINDOW + MIB(32))), LOAM_OK);
    EXPECT_SAID(WINDOW + MIB(32) - 1, 0, "  where: in no range, the place is free\n");
    EXPECT_SAID(WINDOW + MIB(32), 0, "  where: range high from");
    EXPECT_SAID(at + 0x10000, 0, "  where: in no range, the place is free\n");
    expect_words(paper, "hint: the range was freed long ago, or there never was one");
    expect_no_words(paper, "last free");
    EXPECT_SAID(DEVICE + 8, 0, "  where: local APIC from 0xffffffffc0000000\n");
    EXPECT_SAID(UINT64_C(0xffffb00000000000), 0, "  where: unnamed\n");
}

/* What was freed is remembered after it was purged, when its place is free or another's, for
 * so many ranges; guards are not. */
static void ranges_that_were_freed_last_are_remembered(void **state)
{
    (void)state;
    named_machine();
    struct loam_vrange_batch batch;
    const uint64_t at = range_of(2, "gone");
    loam_vrange_free(&vrange, virt_range(at, 0x2000));
    EXPECT_SAID(at + 0x1fff, 0, "; since then 0 others were\n");
    assert_true(loam_vrange_purge_begin(&vrange, &batch));
    loam_vrange_purge_end(&batch);
    EXPECT_SAID(at, 0, "  where: in no range, the place is free\n  last free: range gone, 0x");
    expect_words(paper, "hint: the range was used after it was freed");
    EXPECT_SAID(at + 0x2000, 0, "  where: in no range, the place is free\n");
    expect_no_words(paper, "last free");

    const uint64_t other = range_of(1, "other");
    assert_int_equal(other, at);
    EXPECT_SAID(at, 0, "  last free: range gone, 0x");
    for (unsigned i = 0; i < LOAM_VRANGE_GONE; i++) {
        const uint64_t far = range_of(3, "far");
        loam_vrange_free(&vrange, virt_range(far, 0x3000));
        if (i + 1 == LOAM_VRANGE_GONE)
            break;
        EXPECT_SAID(far, 0, "  last free: range far, 0x");
        EXPECT_SAID(at, 0, "  last free: range gone, 0x");
    }
    EXPECT_SAID(at, 0, "  where: range other from 0x");
    expect_no_words(paper, "last free");
}

/* Many ranges: the tree is deep, and every place of it is found. */
static void each_of_many_ranges_is_found(void **state)
{
    char names_of[200][16], words[64];
    uint64_t at[200];

    (void)state;
    named_machine();
    for (unsigned i = 0; i < 200; i++) {
        (void)snprintf(names_of[i], sizeof names_of[i], "range-%u.", i);
        at[i] = range_of(1 + i % 3, names_of[i]);
    }
    for (unsigned i = 0; i < 200; i++) {
        (void)snprintf(words, sizeof words, "where: range range-%u. from 0x%016llx\n", i,
                       (unsigned long long)at[i]);
        EXPECT_SAID(at[i] + (i % 3) * 0x1000 + 0xfff, 0, words);
        (void)snprintf(words, sizeof words, "where: guard page below range-%u. from", i);
        EXPECT_SAID(at[i] - 1, 0, words);
        (void)snprintf(words, sizeof words, "where: guard page above range-%u. from", i);
        EXPECT_SAID(at[i] + (1 + i % 3) * 0x1000, 0, words);
    }
}

static void the_direct_map_says_what_it_would_show(void **state)
{
    (void)state;
    named_machine();
    EXPECT_SAID(direct(GIB(1012) + 8), 0,
                "  memory: physical 0x000000fd00000008 would be shown "
                "there\n  owner: reserved, 0x000000fd00000000-");
    expect_words(paper, "hint: the direct map does not show memory of this owner");
    EXPECT_SAID(direct(GIB(2)), 0, "  owner: nobody, no entry of the memory map has it\n");
    expect_words(paper, "hint: no memory, or a device: it must be mapped first");
    const uint64_t frame = take(1);
    assert_int_equal(loam_unmap(&mm, virt_range(direct(frame), 0x1000)), LOAM_OK);
    EXPECT_SAID(direct(frame), 0, " would be shown there, a frame in use\n  owner: kernel, ");
    expect_words(paper, "hint: RAM that was unmapped, or removed, since");
    expect_words(paper, "last free: not recorded\n");
    const struct loam_phys_range given = loam_phys_range_of(loam_phys_at(frame), 0x1000);
    assert_int_equal(loam_give(&mm, given, LOAM_OWNER_KERNEL), LOAM_OK);
    EXPECT_SAID(direct(frame), 0, " would be shown there, a free frame\n");
    expect_no_words(paper, "while it is mapped");
    EXPECT_SAID(direct(MIB(8)), 3, "why: not known");
    expect_words(paper, ", a free frame\n");
    expect_words(paper, "hint: the frame is free: a pointer to memory given back?\n");
    EXPECT_SAID(direct(mm.heap_range.start.addr), 3, ", a frame in use\n");
    expect_no_words(paper, "hint");
    /* Above all intervals. */
    EXPECT_SAID(direct(GIB(1024)), 0, "  owner: nobody, no entry of the memory map has it\n");
    expect_no_words(explained(fault_at(direct(MIB(4)), 3)), "would be");
}

static void a_frame_that_was_freed_while_mapped_is_found_out(void **state)
{
    struct loam_phys_range frame;

    (void)state;
    named_machine();
    frame = loam_phys_range_of(loam_phys_at(take(1)), 0x1000);
    map_at(0x400000, 0x1000, frame.start.addr, LOAM_PROT_READ);
    EXPECT_SAID(0x400000, 3, ", a frame in use\n  owner: kernel, ");
    assert_int_equal(loam_give(&mm, frame, LOAM_OWNER_KERNEL), LOAM_OK);
    EXPECT_SAID(0x400000, 3, ", a free frame\n  owner: usable, ");
    expect_words(paper, "last free: it is free; by whom is not recorded\n");
    expect_words(paper, "hint: the frame behind was freed while it is mapped");
}

static void a_block_with_references_is_shown(void **state)
{
    static struct loam_record record;
    static uint64_t memory[1 << 14] __attribute__((aligned(64)));
    struct loam_record_setup setup = {
        .frame = &mm.frame, .memory = memory, .memory_bytes = sizeof memory, .is_zeroed = false
    };

    (void)state;
    named_machine();
    assert_int_equal(loam_record_init(&record, &setup), LOAM_OK);
    const loam_phys block = loam_record_alloc(&record, 2, LOAM_ZONE_ANY);
    loam_record_get(&record, block);
    names.record = &record;
    map_at(0x400000, 0x4000, block.addr, LOAM_PROT_READ);
    EXPECT_SAID(0x403000, 3, " of order 2, references 2\n");
    expect_words(paper, "  record: block at 0x");
}

/* ---- hints ----------------------------------------------------------------- */

static void addresses_give_themselves_away(void **state)
{
    (void)state;
    named_machine();
    EXPECT_SAID(0x10, 0,
                "hint: near null, perhaps member 0x0000000000000010 of a struct behind a "
                "null pointer\n");
    EXPECT_SAID(0xffff, 0, "near null");
    expect_no_words(paper, "lower half");
    expect_no_words(explained(fault_at(0x10000, 0)), "near null");
    expect_words(paper, "hint: the lower half is for users: a wild pointer?");
    expect_no_words(explained(fault_at(0x10000, 4)), "wild pointer");
    EXPECT_SAID(UINT64_C(0xdfdfdfdfdfdfdfe7), 0,
                "poison: the pointer was read from memory that is "
                "freed");
    EXPECT_SAID(UINT64_C(0xdbdbdbdbdbdbdbd3), 0,
                "poison: the pointer was read from memory that is "
                "freed");
    EXPECT_SAID(UINT64_C(0xa5a5a5a5a5a5a5a5), 0,
                "poison: the pointer was read from memory never "
                "written");
    expect_no_words(explained(fault_at(UINT64_C(0xdfdfdfdfdfdfefdf) + 1, 0)), "poison");
    struct loam_fault jump = fault_at(0x7000000, 0x10);
    jump.ip.addr = 0x7000000;
    expect_words(explained(jump), "hint: the jump went there");
    EXPECT_SAID(IMAGE_VIRT + KIB(96), 0x11, "hint: data is never executable");
    expect_no_words(paper, "jump");
}

int main(void)
{
    const struct CMUnitTest explain_tests[] = {
        cmocka_unit_test(the_whole_report_of_a_write_to_code),
        cmocka_unit_test(every_bit_of_the_error_code_is_named),
        cmocka_unit_test(the_highest_level_that_forbids_is_named),
        cmocka_unit_test(users_pages_are_not_for_the_kernel),
        cmocka_unit_test(what_the_tables_allow_is_said_to_be_allowed),
        cmocka_unit_test(what_is_not_canonical_is_not_looked_up),
        cmocka_unit_test(the_tables_of_the_cpu_are_read_not_those_of_the_space),
        cmocka_unit_test(large_pages_and_their_bits_are_shown),
        cmocka_unit_test(what_is_in_use_and_not_present_is_named),
        cmocka_unit_test(a_gibibyte_page_needs_a_processor_that_has_them),
        cmocka_unit_test(guards_name_the_range_that_ran_over),
        cmocka_unit_test(ranges_that_are_gone_are_told_from_those_never_there),
        cmocka_unit_test(ranges_that_were_freed_last_are_remembered),
        cmocka_unit_test(each_of_many_ranges_is_found),
        cmocka_unit_test(the_direct_map_says_what_it_would_show),
        cmocka_unit_test(a_frame_that_was_freed_while_mapped_is_found_out),
        cmocka_unit_test(a_block_with_references_is_shown),
        cmocka_unit_test(addresses_give_themselves_away),
    };
    return RUN_TESTS(explain_tests);
}
