/*
 * usage_plan.h - how usage.c overwrites and cuts: first a plan, made without
 * changing anything, then carried out as a whole or not at all.
 */
#ifndef LOAM_INTERNAL_USAGE_PLAN_H
#define LOAM_INTERNAL_USAGE_PLAN_H

#include "try.h"
#include "usage_grow.h"
#include "usage_shrink.h"

/* From a place on, so many intervals go and up to three come instead. */
struct usage_plan {
    uint64_t seek; /* the first one that goes is the first that ends at or above */
    uint64_t remove_count;
    struct usage_entry put[3];
    unsigned put_count;
};

/* Keep what an interval has below a range that overlaps it. */
static void usage_plan_below(struct usage_plan *plan, const struct usage_entry *entry,
                             const struct usage_entry *range)
{
    if (entry->first < range->first) {
        const struct usage_entry rest = { entry->first, range->first - 1, entry->owner };
        plan->put[plan->put_count++] = rest;
    }
}

/* Keep what an interval has above a range that overlaps it. */
static void usage_plan_above(struct usage_plan *plan, const struct usage_entry *entry,
                             const struct usage_entry *range)
{
    if (entry->last > range->last) {
        const struct usage_entry rest = { range->last + 1, entry->last, entry->owner };
        plan->put[plan->put_count++] = rest;
    }
}

/*
 * Take a range away from all intervals. With @p keep, give it to its owner then,
 * merged with touching intervals of that owner:
 *
 *     intervals  [ A    )[ B  )    [ B       )
 *     range              [ A           )
 *     removed    ^^^^^^^^^^^^^^    ^^^^^^^^^^^
 *     put        [ A                   )[ B  )
 */
static struct usage_plan usage_plan_locked(struct loam_usage *usage,
                                           const struct usage_entry *range, bool keep)
    LOAM_NEEDS(usage->lock)
{
    struct usage_plan plan = { .seek = range->first - (keep && range->first > 0) };
    struct usage_entry whole = *range; /* grows by what it is merged with */
    struct usage_entry other = { 0, 0, range->owner };
    struct usage_path path;

    usage_seek_locked(usage, plan.seek, &path);
    for (; usage_has_entry(&path); usage_step_locked(usage, &path)) {
        const struct usage_entry entry = usage_leaf_entry(path.leaf, path.index);
        const bool same = keep && entry.owner == range->owner;
        if (entry.first > range->last && !(same && entry.first - 1 == range->last))
            break;
        if (same) {
            whole.first = entry.first < whole.first ? entry.first : whole.first;
            whole.last = entry.last > whole.last ? entry.last : whole.last;
        } else {
            usage_plan_below(&plan, &entry, range); /* all of one that only touches */
            other = entry;
        }
        plan.remove_count++;
    }
    if (keep)
        plan.put[plan.put_count++] = whole;
    usage_plan_above(&plan, &other, range); /* the last one; those before end inside */
    return plan;
}

/*
 * Reserve, then commit. Intervals that go become, one by one, those that come. If
 * more go, the first of them are removed before that; if more come, the last of them
 * are inserted after: two at most, since who puts three takes from one at least.
 *
 * While some have changed and others not, an interval may reach over the next. The
 * tree allows that as long as nothing is searched: the path only steps on.
 */
static enum loam_status usage_carry_out_locked(struct loam_usage *usage,
                                               const struct usage_plan *plan)
    LOAM_NEEDS(usage->lock)
{
    struct usage_path path;

    usage_seek_locked(usage, plan->seek, &path);
    if (plan->remove_count > plan->put_count) {
        usage_remove_locked(usage, plan->seek, plan->remove_count - plan->put_count);
        usage_seek_locked(usage, plan->seek, &path);
    } else if (plan->put_count > plan->remove_count) {
        struct usage_path end = path;
        for (uint64_t i = 0; i < plan->remove_count; i++)
            usage_step_locked(usage, &end);
        LOAM_TRY(usage_make_room_locked(usage, &end, plan->put_count - plan->remove_count));
    }
    for (uint64_t i = 0; i < plan->put_count; i++) {
        if (i < plan->remove_count)
            usage_set_locked(usage, &path, &plan->put[i]);
        else
            usage_insert_locked(usage, &path, &plan->put[i]);
        usage_step_locked(usage, &path);
    }
    return LOAM_OK;
}

#endif
