/*
 * dump_lint.c - see dump.h: rules about aliases. Each rule is a walk over the runs, and
 * for each run that the rule is about another walk over those that show its memory.
 *
 * Page tables are found in the tree itself, whoever the books say they belong to; their
 * addresses are compared in batches, so that a walk serves many of them.
 */
#include <loam/dump.h>

#include "internal/dump.h"
#include "internal/pte.h"

#define LINT_BATCH 64u /* page tables that one walk over the runs looks for */

static const char *lint_found(struct loam_lint *finding, const struct loam_mapping *run,
                              loam_virt at, loam_virt other, const char *rule)
{
    if (finding != NULL) {
        finding->at = at;
        finding->other = other;
        finding->phys.addr = run->phys.addr + (at.addr - run->virt.start.addr);
    }
    return rule;
}

/* ---- write and execute ---------------------------------------------------- */

/* Can memory of an executable run be written, wherever? O(runs) */
static const char *lint_executable(const struct loam_names *names, const struct loam_mapping *run,
                                   struct loam_lint *finding)
{
    struct dump_cursor cursor = { { 0 }, false };
    struct loam_mapping other;
    loam_virt where;

    if (dump_is_writable(run))
        return lint_found(finding, run, run->virt.start, run->virt.start,
                          "lint: page is writable and executable");
    if (dump_is_direct(names, run))
        return lint_found(finding, run, run->virt.start, run->virt.start,
                          "lint: direct map is executable");
    while (dump_next(names, &cursor, &other)) {
        if (!dump_is_exposed(names, run, &other) || !dump_shows(&other, dump_memory(run), &where))
            continue;
        const uint64_t behind = other.phys.addr + (where.addr - other.virt.start.addr);
        const loam_virt at = loam_virt_at(run->virt.start.addr + (behind - run->phys.addr));
        return lint_found(finding, run, at, where,
                          "lint: memory is executable here, writable there");
    }
    return NULL;
}

/* ---- the kernel image and the books --------------------------------------- */

static struct loam_phys_range lint_section(const struct loam_image *image, unsigned index)
{
    const struct loam_virt_range virt = image->section[index].virt;
    const uint64_t offset = virt.start.addr - image->virt_base.addr;

    return loam_phys_range_of(loam_phys_at(image->phys_base.addr + offset),
                              loam_page_floor(virt.size + (LOAM_PAGE_SIZE - 1)));
}

static const char *lint_image(const struct loam_names *names, const struct loam_mapping *run,
                              struct loam_lint *finding)
{
    const bool is_user = (run->attr.prot & LOAM_PROT_USER) != 0;
    loam_virt where;

    for (unsigned i = 0; names->image != NULL && i < names->image->section_count; i++) {
        const struct loam_image_section *const section = &names->image->section[i];
        if (!dump_shows(run, lint_section(names->image, i), &where))
            continue;
        if (is_user)
            return lint_found(finding, run, where, section->virt.start,
                              "lint: user page shows the kernel image");
        if (dump_is_writable(run) && (section->prot & (LOAM_PROT_WRITE | LOAM_PROT_EXEC)) == 0)
            return lint_found(finding, run, where, section->virt.start,
                              "lint: constants of the kernel are writable");
    }
    return NULL;
}

static const char *lint_books(const struct loam_names *names, const struct loam_mapping *run,
                              struct loam_lint *finding)
{
    struct loam_usage_totals totals;

    if (names->usage == NULL || (run->attr.prot & LOAM_PROT_USER) == 0 ||
        loam_usage_totals_in(names->usage, dump_memory(run), &totals) != LOAM_OK ||
        (totals.bytes[LOAM_OWNER_METADATA] == 0 && totals.bytes[LOAM_OWNER_PAGE_TABLES] == 0))
        return NULL;
    return lint_found(finding, run, run->virt.start, run->virt.start,
                      "lint: user page shows the library's books");
}

/* ---- page tables ---------------------------------------------------------- */

/* Where a walk over all tables is: a path of indices, the last the next to look at. */
struct lint_tour {
    unsigned level; /* of the table we are in; above the root's: done */
    uint64_t table[PTE_LEVEL_MAX + 2];
    unsigned index[PTE_LEVEL_MAX + 2];
};

/* The next table, its parents before it. @return false: that was all */
static bool lint_next_table(const struct loam_names *names, struct lint_tour *tour, uint64_t *phys)
{
    while (tour->level <= names->space->features.levels) {
        const unsigned level = tour->level;
        if (level == 1 || tour->index[level] == PTE_COUNT) {
            tour->level++;
            continue;
        }
        const uint64_t *const entry =
            loam_hhdm_pointer(names->space->hhdm,
                              loam_phys_at(tour->table[level] + UINT64_C(8) * tour->index[level]));
        tour->index[level]++;
        if (!pte_is_present(*entry) || pte_is_leaf(*entry, level))
            continue;
        *phys = pte_table_phys(*entry);
        tour->level = level - 1;
        tour->table[level - 1] = *phys;
        tour->index[level - 1] = 0;
        return true;
    }
    return false;
}

/* Does any run that must not show one of these tables? O(runs x count) */
static const char *lint_batch(const struct loam_names *names, const uint64_t *table, unsigned count,
                              struct loam_lint *finding)
{
    struct dump_cursor cursor = { { 0 }, false };
    struct loam_mapping run;
    loam_virt where;

    while (dump_next(names, &cursor, &run)) {
        const bool is_user = (run.attr.prot & LOAM_PROT_USER) != 0;
        if (!dump_is_mapped(&run) ||
            (!is_user && (!dump_is_writable(&run) || dump_is_direct(names, &run))))
            continue;
        for (unsigned i = 0; i < count; i++) {
            const struct loam_phys_range memory =
                loam_phys_range_of(loam_phys_at(table[i]), LOAM_PAGE_SIZE);
            if (dump_shows(&run, memory, &where))
                return lint_found(finding, &run, where, where, "lint: page table is mapped");
        }
    }
    return NULL;
}

static const char *lint_tables(const struct loam_names *names, struct loam_lint *finding)
{
    const unsigned levels = names->space->features.levels;
    struct lint_tour tour = { .level = levels };
    uint64_t batch[LINT_BATCH] = { names->space->root.addr };
    unsigned count = 1;

    tour.table[levels] = names->space->root.addr;
    while (lint_next_table(names, &tour, &batch[count])) { /* ends: the tree is sound, or audit
                                                              says so */
        if (++count < LINT_BATCH)
            continue;
        const char *const broken = lint_batch(names, batch, count, finding);
        if (broken != NULL)
            return broken;
        count = 0;
    }
    return lint_batch(names, batch, count, finding);
}

const char *loam_space_lint(const struct loam_names *names, struct loam_lint *finding)
{
    struct dump_cursor cursor = { { 0 }, false };
    struct loam_mapping run;
    const char *broken = NULL;

    while (broken == NULL && dump_next(names, &cursor, &run)) {
        if (!dump_is_mapped(&run))
            continue;
        if (dump_is_executable(names, &run))
            broken = lint_executable(names, &run, finding);
        if (broken == NULL)
            broken = lint_image(names, &run, finding);
        if (broken == NULL)
            broken = lint_books(names, &run, finding);
    }
    return broken != NULL ? broken : lint_tables(names, finding);
}
