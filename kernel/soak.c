/*
 * soak.c - see soak.h.
 */
#include "soak.h"

#include "memory.h"
#include "text.h"

#define FREE_NAME UINT64_C(0xf5f5f5f5f5f5f5f5)
#define FREE_BYTE 0xf5u

_Atomic(uint64_t) soak_stale_writes;

static uint64_t any(struct soak_pool *pool, uint64_t below)
{
    return (stress_random(pool->hand) >> 8) % below;
}

/* ---- frames ----------------------------------------------------------------------- */

static loam_phys address_of(const struct soak_frame *frame)
{
    return loam_hhdm_phys(memory.tables.hhdm, loam_virt_of(frame));
}

static uint64_t sum_of(const struct soak_frame *frame)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < SOAK_WRITTEN; i++)
        sum = sum * 31 + frame->written[i];
    return sum;
}

static void free_frame(struct soak_pool *pool, struct soak_frame *frame)
{
    frame->name = FREE_NAME;
    memset(frame->written, FREE_BYTE, SOAK_WRITTEN);
    frame->next = NULL;
    *pool->end = frame;
    pool->end = &frame->next;
}

static void check_free(const struct soak_frame *frame)
{
    bool is_free = frame->name == FREE_NAME;
    for (unsigned i = 0; i < SOAK_WRITTEN; i++)
        is_free = is_free && frame->written[i] == FREE_BYTE;
    if (!is_free)
        stress_count(&soak_stale_writes);
}

/* @return NULL: there is none */
static struct soak_frame *take_frame(struct soak_pool *pool, uint64_t name)
{
    struct soak_frame *frame = pool->first;
    if (frame == NULL)
        return NULL;
    pool->first = frame->next;
    if (pool->first == NULL)
        pool->end = &pool->first;
    check_free(frame);
    frame->name = name;
    memset(frame->written, 0, SOAK_WRITTEN);
    return frame;
}

/* Not before the batch is finished: others may use it until then. */
static void retire_frame(struct soak_pool *pool, struct soak_frame *frame)
{
    frame->next = pool->retired;
    pool->retired = frame;
}

bool soak_pool_fill(struct soak_pool *pool, unsigned count)
{
    *pool = (struct soak_pool){ .hand = NULL };
    pool->end = &pool->first;
    for (unsigned i = 0; i < count; i++) {
        const loam_phys frame = loam_take_frames(&memory, 0, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL);
        if (loam_phys_is_none(frame))
            return false;
        free_frame(pool, loam_hhdm_pointer(memory.tables.hhdm, frame));
    }
    return true;
}

void soak_pool_empty(struct soak_pool *pool)
{
    struct soak_frame *frame;
    while ((frame = take_frame(pool, 0)) != NULL)
        loam_give_frames(&memory, address_of(frame), 0, LOAM_OWNER_KERNEL);
}

/* ---- changes ---------------------------------------------------------------------- */

/* Some neighbouring pages of a group. */
struct part {
    struct soak_group *group;
    unsigned first, count;
};

static struct loam_virt_range range_of(const struct part *part)
{
    return loam_virt_range_of(loam_virt_at(part->group->start + part->first * LOAM_PAGE_SIZE),
                              part->count * LOAM_PAGE_SIZE);
}

static struct loam_attr attr_of(const struct soak_group *group, bool writable)
{
    const loam_prot prot = (writable ? LOAM_PROT_WRITE : LOAM_PROT_READ) |
                           (group->start >> 63 != 0 ? LOAM_PROT_GLOBAL : 0);
    return (struct loam_attr){ prot, LOAM_CACHE_WB };
}

/* @param kinds an OR of 1 << kind */
static bool all_are(const struct part *part, unsigned kinds)
{
    bool all = true;
    for (unsigned i = part->first; i < part->first + part->count; i++)
        all = all && (kinds >> part->group->page[i].kind & 1) != 0;
    return all;
}

static void map_part(struct soak_pool *pool, const struct part *part)
{
    struct soak_group *group = part->group;
    const bool writable = any(pool, 4) != 0;
    loam_phys phys[SOAK_PAGES];
    struct soak_frame *frame[SOAK_PAGES];
    enum loam_status st = LOAM_NO_MEMORY;
    unsigned got = 0;
    uint64_t more = 0;
    for (; got < part->count; got++) {
        frame[got] = take_frame(pool, group->name + part->first + got);
        if (frame[got] == NULL)
            break;
        phys[got] = address_of(frame[got]);
    }
    if (got == part->count) {
        do
            st = loam_space_map_frames(group->space, range_of(part).start, phys, got,
                                       attr_of(group, writable));
        while (loam_more_tables(&memory, st, &more));
        stress_expect(st == (all_are(part, 1u << LOAM_ENTRY_EMPTY) ? LOAM_OK : LOAM_OVERLAP));
    }
    for (unsigned i = 0; i < got; i++) {
        if (st == LOAM_OK)
            group->page[part->first + i] = (struct soak_page){ .kind = LOAM_ENTRY_PAGE,
                                                               .writable = writable,
                                                               .frame = frame[i] };
        else
            free_frame(pool, frame[i]);
    }
}

static bool unmap_part(struct soak_pool *pool, struct loam_space_batch *batch,
                       const struct part *part)
{
    enum loam_status st;
    uint64_t more = 0;
    do
        st = loam_space_batch_unmap(batch, range_of(part));
    while (loam_more_tables(&memory, st, &more));
    stress_expect(st == (all_are(part, 1u << LOAM_ENTRY_PAGE) ? LOAM_OK : LOAM_NOT_FOUND));
    for (unsigned i = 0; i < part->count && st == LOAM_OK; i++) {
        struct soak_page *page = &part->group->page[part->first + i];
        retire_frame(pool, page->frame);
        *page = (struct soak_page){ .kind = LOAM_ENTRY_EMPTY };
    }
    return st == LOAM_OK;
}

static bool protect_part(struct soak_pool *pool, struct loam_space_batch *batch,
                         const struct part *part)
{
    const bool writable = any(pool, 2) != 0;
    enum loam_status st;
    uint64_t more = 0;
    do
        st = loam_space_batch_protect(batch, range_of(part), attr_of(part->group, writable));
    while (loam_more_tables(&memory, st, &more));
    stress_expect(st == (all_are(part, 1u << LOAM_ENTRY_PAGE) ? LOAM_OK : LOAM_NOT_FOUND));
    for (unsigned i = 0; i < part->count && st == LOAM_OK; i++) {
        struct soak_page *page = &part->group->page[part->first + i];
        page->is_known = page->is_known && !writable;
        page->writable = writable;
    }
    return st == LOAM_OK;
}

static bool replace_page(struct soak_pool *pool, struct loam_space_batch *batch,
                         const struct part *part)
{
    struct soak_page *page = &part->group->page[part->first];
    const bool writable = any(pool, 2) != 0;
    struct soak_frame *frame = take_frame(pool, part->group->name + part->first);
    enum loam_status st;
    uint64_t more = 0;
    if (frame == NULL)
        return false;
    do
        st = loam_space_batch_replace(batch, range_of(part).start, address_of(frame),
                                      attr_of(part->group, writable));
    while (loam_more_tables(&memory, st, &more));
    stress_expect(st == (page->kind == LOAM_ENTRY_PAGE ? LOAM_OK : LOAM_NOT_FOUND));
    if (st != LOAM_OK) {
        free_frame(pool, frame);
        return false;
    }
    retire_frame(pool, page->frame);
    *page = (struct soak_page){ .kind = LOAM_ENTRY_PAGE, .writable = writable, .frame = frame };
    return true;
}

static void tag_part(struct soak_pool *pool, const struct part *part)
{
    const enum loam_entry_kind kind = any(pool, 2) != 0 ? LOAM_ENTRY_GUARD : LOAM_ENTRY_TAG;
    const uint64_t value = any(pool, UINT64_C(1) << 56);
    enum loam_status st;
    uint64_t more = 0;
    do
        st = loam_space_tag(part->group->space, range_of(part), kind, value);
    while (loam_more_tables(&memory, st, &more));
    stress_expect(st == (all_are(part, 1u << LOAM_ENTRY_EMPTY) ? LOAM_OK : LOAM_OVERLAP));
    for (unsigned i = 0; i < part->count && st == LOAM_OK; i++)
        part->group->page[part->first + i] = (struct soak_page){ .kind = kind, .value = value };
}

static void untag_part(const struct part *part)
{
    enum loam_status st;
    uint64_t more = 0;
    do
        st = loam_space_untag(part->group->space, range_of(part));
    while (loam_more_tables(&memory, st, &more));
    stress_expect(
        st ==
        (all_are(part, 1u << LOAM_ENTRY_GUARD | 1u << LOAM_ENTRY_TAG) ? LOAM_OK : LOAM_NOT_FOUND));
    for (unsigned i = 0; i < part->count && st == LOAM_OK; i++)
        part->group->page[part->first + i] = (struct soak_page){ .kind = LOAM_ENTRY_EMPTY };
}

static void query_page(const struct part *part)
{
    const struct soak_page *page = &part->group->page[part->first];
    const struct loam_virt at = range_of(part).start;
    struct loam_translation found;
    struct loam_entry entry;
    const enum loam_status st = loam_space_query(part->group->space, at, &found);
    const loam_phys phys = loam_space_translate(part->group->space, at);
    stress_expect(loam_space_entry(part->group->space, at, &entry) == LOAM_OK &&
                  entry.kind == page->kind);
    if (page->kind == LOAM_ENTRY_PAGE) {
        const loam_phys wanted = address_of(page->frame);
        stress_expect(st == LOAM_OK && found.phys.addr == wanted.addr && phys.addr == wanted.addr);
        stress_expect(((found.attr.prot & LOAM_PROT_WRITE) != 0) == page->writable);
    } else {
        stress_expect(st == LOAM_NOT_FOUND && loam_phys_is_none(phys));
        stress_expect(page->kind == LOAM_ENTRY_EMPTY || entry.value == page->value);
    }
}

bool soak_change(struct soak_pool *pool, struct loam_space_batch *batch, struct soak_group *group)
{
    const unsigned first = (unsigned)any(pool, SOAK_PAGES);
    const struct part part = { group, first, 1 + (unsigned)any(pool, SOAK_PAGES - first) };
    stress_count(&stress_counts.made);
    switch (any(pool, 16)) {
    case 0:
    case 1:
    case 2:
    case 3:
        map_part(pool, &part);
        break;
    case 4:
    case 5:
    case 6:
        return unmap_part(pool, batch, &part);
    case 7:
    case 8:
        return protect_part(pool, batch, &part);
    case 9:
    case 10:
        return replace_page(pool, batch, &part);
    case 11:
        tag_part(pool, &part);
        break;
    case 12:
    case 13:
        untag_part(&part);
        break;
    default:
        query_page(&part);
        break;
    }
    return false;
}

/* ---- groups ------------------------------------------------------------------------- */

bool soak_lock(struct soak_group *group)
{
    if (!loam_spinlock_try(&group->lock))
        return false;
    for (unsigned i = 0; i < SOAK_PAGES; i++) {
        const struct soak_page *page = &group->page[i];
        if (page->is_known && page->sum != sum_of(page->frame))
            stress_count(&soak_stale_writes);
    }
    return true;
}

void soak_settle(struct soak_pool *pool)
{
    while (pool->retired != NULL) {
        struct soak_frame *frame = pool->retired;
        pool->retired = frame->next;
        free_frame(pool, frame);
    }
}

void soak_unlock(struct soak_group *group)
{
    for (unsigned i = 0; i < SOAK_PAGES; i++) {
        struct soak_page *page = &group->page[i];
        if (page->kind != LOAM_ENTRY_PAGE || page->writable || page->is_known)
            continue;
        page->sum = sum_of(page->frame);
        page->is_known = true;
    }
    loam_spinlock_release(&group->lock);
}

void soak_empty(struct soak_pool *pool, struct soak_group *group)
{
    struct loam_space_batch batch;
    loam_space_batch_begin(&batch, group->space);
    for (unsigned i = 0; i < SOAK_PAGES; i++) {
        const struct part part = { group, i, 1 };
        if (group->page[i].kind == LOAM_ENTRY_PAGE)
            (void)unmap_part(pool, &batch, &part);
        else if (group->page[i].kind != LOAM_ENTRY_EMPTY)
            untag_part(&part);
    }
    loam_space_batch_finish(&batch);
    soak_settle(pool);
}
