/*
 * names_world.h - a machine that was brought up, a window of virtual ranges beside it,
 * and paper to write on. Shared by the tests of names, dump and explain.
 */
#ifndef LOAM_TESTS_NAMES_WORLD_H
#define LOAM_TESTS_NAMES_WORLD_H

#include "loam_world.h"

#include <loam/dump.h>

#define WINDOW UINT64_C(0xffffc00000000000)
#define DEVICE UINT64_C(0xffffffffc0000000)

static struct loam_vrange vrange;
static const struct loam_landmark landmarks[] = {
    { { { DEVICE }, 0x1000 }, "local APIC" },
    { { { UINT64_C(0xffffffffffff0000) }, 0x10000 }, "top" },
};
static struct loam_names names;

/* Bring a small machine up. */
static inline void named_machine(void)
{
    small_machine(2);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    assert_int_equal(loam_enter(&mm), LOAM_OK);
    loam_vrange_init(&vrange, &mm.nodes, 4, 0);
    assert_int_equal(
        loam_vrange_add_window(&vrange, loam_virt_range_of(loam_virt_at(WINDOW), MIB(64))),
        LOAM_OK);
    names = loam_names_of(&mm);
    names.vrange = &vrange;
    names.image = &boot.image;
    names.landmark = landmarks;
    names.landmark_count = 2;
}

static inline struct loam_virt_range virt_range(uint64_t start, uint64_t size)
{
    return loam_virt_range_of(loam_virt_at(start), size);
}

static inline void map_at(uint64_t virt, uint64_t size, uint64_t phys, loam_prot prot)
{
    const struct loam_attr attr = { prot, LOAM_CACHE_WB };
    assert_int_equal(loam_map(&mm, virt_range(virt, size), loam_phys_at(phys), attr), LOAM_OK);
}

static inline uint64_t take(uint64_t pages)
{
    const struct loam_frame_request request = { .page_count = pages };
    struct loam_phys_range got;
    assert_int_equal(loam_take(&mm, &request, LOAM_OWNER_KERNEL, &got), LOAM_OK);
    return got.start.addr;
}

/* A range with a guard page on each side. */
static inline uint64_t range_of(uint64_t pages, const char *name)
{
    const struct loam_vrange_request request = {
        .page_count = pages, .guard_before = 1, .guard_after = 1, .name = name
    };
    loam_virt at = { 0 };
    assert_int_equal(loam_vrange_alloc(&vrange, &request, &at), LOAM_OK);
    return at.addr;
}

static inline uint64_t direct(uint64_t phys)
{
    return loam_hhdm_virt(mm.space.hhdm, loam_phys_at(phys)).addr;
}

/* Where the entry of @p level that translates an address lies; the levels above lead
 * there. */
static inline uint64_t *entry_of(uint64_t virt, unsigned level)
{
    uint64_t table = mm.space.root.addr;
    for (unsigned l = mm.space.features.levels;; l--) {
        uint64_t *const word = machine_ram(table + (virt >> (12 + 9 * (l - 1)) & 511) * 8);
        if (l == level)
            return word;
        assert_int_equal(*word & 0x81, 1);
        table = *word & UINT64_C(0x000ffffffffff000);
    }
}

/* ---- paper ---------------------------------------------------------------- */

static char paper[1 << 16];
static size_t paper_length;

/* No lock is held while somebody else's code runs. */
static inline void paper_write(void *context, const char *text, size_t size_bytes)
{
    assert_null(context);
    assert_true(machine_interrupts());
    assert_true(paper_length + size_bytes < sizeof(paper));
    memcpy(paper + paper_length, text, size_bytes);
    paper_length += size_bytes;
    paper[paper_length] = '\0';
}

static inline struct loam_writer paper_start(void)
{
    paper_length = 0;
    paper[0] = '\0';
    return (struct loam_writer){ paper_write, NULL };
}

static inline const char *dumped(void)
{
    const struct loam_writer writer = paper_start();
    loam_space_dump(&names, &writer);
    return paper;
}

/* The line of the dump that begins at an address; terminated, in an array of its own. */
static inline const char *dump_line_at(uint64_t virt)
{
    static char line[512];
    char start[24];
    (void)snprintf(start, sizeof start, "0x%016llx-", (unsigned long long)virt);
    const char *at = strstr(dumped(), start);
    if (at == NULL)
        fail_msg("no line at %s in\n%s", start, paper);
    const size_t length = (size_t)(strchr(at, '\n') - at);
    assert_true(length < sizeof line);
    memcpy(line, at, length);
    line[length] = '\0';
    return line;
}

static inline void expect_words(const char *text, const char *words)
{
    if (strstr(text, words) == NULL)
        fail_msg("no \"%s\" in\n%s", words, text);
    assert_non_null(strstr(text, words));
}

static inline void expect_no_words(const char *text, const char *words)
{
    if (strstr(text, words) != NULL)
        fail_msg("\"%s\" in\n%s", words, text);
    assert_null(strstr(text, words));
}

#endif
