/*
 * books_print.c - who has how much, in ranges and in single frames. See books.h.
 */
#include <loam/loam.h>

#include "internal/text.h"

#define BOOKS_NAME_WIDTH 16u /* "library metadata" */

uint64_t loam_owner_bytes(struct loam *mm, enum loam_owner owner)
{
    if (!loam_once_is_ready(&mm->once) || (unsigned)owner >= LOAM_OWNERS)
        return 0;
    const uint64_t in_ranges = loam_usage_total(&mm->usage, owner);
    if (owner != LOAM_OWNER_USABLE)
        return in_ranges + loam_ledger_total(&mm->ledger, owner) * LOAM_PAGE_SIZE;
    const uint64_t in_frames = loam_ledger_sum(&mm->ledger) * LOAM_PAGE_SIZE;
    return in_ranges > in_frames ? in_ranges - in_frames : 0; /* others take meanwhile */
}

/* One line of the table; bytes. */
struct books_row {
    uint64_t interval_count, in_ranges, in_frames;
};

static void books_print_row(const struct loam_writer *writer, const char *name,
                            const struct books_row *row)
{
    const uint64_t sum = row->in_ranges + row->in_frames;

    loam_text_left(writer, name, BOOKS_NAME_WIDTH);
    loam_text_decimal(writer, row->interval_count, 11);
    loam_text_decimal(writer, row->in_ranges, 16);
    loam_text_decimal(writer, row->in_frames, 16);
    loam_text_decimal(writer, sum, 16);
    loam_text_string(writer, "  ");
    loam_text_size(writer, sum, LOAM_TEXT_SIZE_MAX);
    loam_text_string(writer, "\n");
}

void loam_print_usage(struct loam *mm, const struct loam_writer *writer)
{
    struct books_row row[LOAM_OWNERS];
    struct books_row sum = { 0, 0, 0 };

    if (!loam_once_is_ready(&mm->once))
        return;
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&mm->usage.lock);
    for (unsigned i = 0; i < LOAM_OWNERS; i++) {
        row[i].interval_count = mm->usage.owner_count[i];
        row[i].in_ranges = mm->usage.total_bytes[i];
        row[i].in_frames = loam_ledger_total(&mm->ledger, (enum loam_owner)i) * LOAM_PAGE_SIZE;
        sum.in_frames += row[i].in_frames;
    }
    loam_ticketlock_release_irq(&mm->usage.lock, irq);

    struct books_row *const usable = &row[LOAM_OWNER_USABLE];
    usable->in_ranges = usable->in_ranges > sum.in_frames ? usable->in_ranges - sum.in_frames : 0;
    loam_text_string(writer, "owner             intervals       in ranges       in frames"
                             "             sum        size\n");
    for (unsigned i = 0; i < LOAM_OWNERS; i++) {
        sum.interval_count += row[i].interval_count;
        sum.in_ranges += row[i].in_ranges;
        if (row[i].interval_count > 0 || row[i].in_frames > 0)
            books_print_row(writer, loam_owner_name((enum loam_owner)i), &row[i]);
    }
    books_print_row(writer, "sum", &sum);
}
