/*
 * paging_space.c - see paging.h: spaces come and go, and share.
 *
 * A kernel's space keeps a list of those that share its higher half. Entries of its
 * root change while all its stripes are held, and are then written to theirs, too.
 */
#include <loam/paging.h>

#include "internal/check.h"
#include "internal/paging_edit.h"
#include "internal/try.h"

/* ---- init, create, destroy ----------------------------------------------- */

static enum loam_status paging_start(struct loam_space *space, struct loam_stock *stock,
                                     const struct loam_cpu_features *features)
{
    loam_phys frames;

    LOAM_TRY(loam_stock_take(stock, 1, &frames));
    __builtin_memset(space, 0, sizeof(*space)); /* locks start as zeroes */
    space->stock = stock;
    space->hhdm = stock->hhdm;
    space->features = *features;
    space->not_in_link = ~pte_allowed_table(features) | PTE_PRESENT;
    space->not_in_page = ~pte_allowed_leaf(features, 1) | PTE_PRESENT;
    for (unsigned level = 1; level <= PTE_LEAF_MAX; level++)
        space->foreign_leaf[level] = ~pte_allowed_leaf(features, level);
    space->root = loam_stock_next(stock, &frames);
    atomic_store_explicit(&space->has_local, features->global_pages ? 0 : 1, memory_order_relaxed);
    atomic_store_explicit(&space->table_count, 1, memory_order_relaxed);
    return LOAM_OK;
}

enum loam_status loam_space_init(struct loam_space *space, struct loam_stock *stock,
                                 const struct loam_cpu_features *features)
{
    LOAM_REQUIRE(loam_hhdm_is_genuine(stock->hhdm), "paging: direct map not from a boot adapter",
                 stock->hhdm.offset, stock->hhdm.seal);
    if ((features->levels != 4 && features->levels != 5) || features->phys_bits < 32 ||
        features->phys_bits > LOAM_PHYS_BITS_MAX)
        return LOAM_INVALID;
    return paging_start(space, stock, features);
}

enum loam_status loam_space_create(struct loam_space *space,
                                   struct loam_space *kernel) LOAM_UNCHECKED
{
    LOAM_REQUIRE(kernel->kernel == NULL, "paging: the kernel's space shares another's",
                 kernel->root.addr, 0);
    LOAM_TRY(paging_start(space, kernel->stock, &kernel->features));

    paging_word *const own = paging_table(space, space->root.addr);
    const paging_word *const shared = paging_table(space, kernel->root.addr);
    const loam_irq_state irq = paging_lock(kernel, PAGING_ALL);
    for (unsigned i = PTE_COUNT / 2; i < PTE_COUNT; i++)
        paging_store(&own[i], paging_load(&shared[i]));
    space->kernel = kernel;
    space->sharer = kernel->sharer;
    kernel->sharer = space;
    paging_unlock(kernel, PAGING_ALL, irq);
    if (kernel->tlb.tlb != NULL)
        loam_tlb_connect(kernel->tlb.tlb, &space->tlb, space->root, false);
    return LOAM_OK;
}

void loam_space_switch(struct loam_space *space)
{
    LOAM_REQUIRE(space->tlb.tlb != NULL, "paging: space to run on is not connected",
                 space->root.addr, 0);
    loam_tlb_switch(space->tlb.tlb, &space->tlb);
}

/* Off the kernel's list. */
static void paging_leave(struct loam_space *space) LOAM_UNCHECKED
{
    struct loam_space *const kernel = space->kernel;
    const loam_irq_state irq = paging_lock(kernel, PAGING_ALL);
    struct loam_space **at = &kernel->sharer;

    while (*at != space)
        at = &(*at)->sharer;
    *at = space->sharer;
    paging_unlock(kernel, PAGING_ALL, irq);
}

enum loam_status loam_space_destroy(struct loam_space *space)
{
    struct paging_tour tour = { .space = space };
    const unsigned levels = space->features.levels;

    LOAM_REQUIRE(atomic_load(&space->open_count) == 0, "paging: batch was never finished",
                 space->root.addr, atomic_load(&space->open_count));
    LOAM_REQUIRE(space->kernel != NULL || space->sharer == NULL,
                 "paging: space that ends is shared", space->root.addr, 0);
    LOAM_TRY(loam_tlb_disconnect(&space->tlb));
    if (space->kernel != NULL)
        paging_leave(space);
    paging_tour_enter(&tour, levels, space->root.addr);
    for (;;) {
        const unsigned below = tour.level; /* a table is done when the tour goes up */
        const bool more = paging_tour_next(&tour);
        const unsigned now = more ? tour.level : levels + 1;
        for (unsigned level = below; level < now; level++)
            loam_stock_put(space->stock,
                           loam_hhdm_phys(space->hhdm, loam_virt_of(tour.table[level])));
        if (!more)
            return LOAM_OK;
        LOAM_REQUIRE(paging_kind(tour.entry) != LOAM_ENTRY_HELD,
                     "paging: space that ends holds frames", tour.virt, tour.entry);
        paging_require_ours(space, tour.entry, tour.level, tour.index[tour.level] - 1);
        if (pte_is_present(tour.entry) && !pte_is_leaf(tour.entry, tour.level) &&
            (space->kernel == NULL || paging_is_lower(tour.virt)))
            paging_tour_enter(&tour, tour.level - 1, pte_table_phys(tour.entry));
    }
}

/* ---- copy on write ------------------------------------------------------- */

/* The first entry of level 4 or 5 that is not of the lower half ends a tour. */
static bool paging_tour_lower(struct paging_tour *tour)
{
    return paging_tour_next(tour) && paging_is_lower(tour->virt);
}

static bool paging_tour_at_table(const struct paging_tour *tour)
{
    return pte_is_present(tour->entry) && !pte_is_leaf(tour->entry, tour->level);
}

/* Tables of the lower half. @return LOAM_STATE: frames are held there */
static enum loam_status paging_clone_count(const struct loam_space *parent, uint64_t *tables)
{
    struct paging_tour tour = { .space = parent };

    *tables = 0;
    paging_tour_enter(&tour, parent->features.levels, parent->root.addr);
    while (paging_tour_lower(&tour)) {
        paging_require_ours(parent, tour.entry, tour.level, tour.index[tour.level] - 1);
        if (paging_kind(tour.entry) == LOAM_ENTRY_HELD)
            return LOAM_STATE;
        if (!paging_tour_at_table(&tour))
            continue;
        (*tables)++;
        paging_tour_enter(&tour, tour.level - 1, pte_table_phys(tour.entry));
    }
    return LOAM_OK;
}

/* A page of the parent's becomes a shared one. @return the child's entry: nobody has
 * touched the page there, but it is as dirty as before */
static uint64_t paging_clone_leaf(paging_word *word)
{
    uint64_t entry = paging_load(word);

    while (pte_is_present(entry) &&
           !atomic_compare_exchange_weak_explicit(word, &entry, pte_share(entry),
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
    return pte_is_present(entry) ? pte_share(entry) & ~PTE_ACCESSED : entry;
}

/* Tables of the child are made as the tour enters those of the parent, and so they hold
 * the same entries at the same places. */
static void paging_clone_tables(struct loam_space *child, const struct loam_space *parent,
                                loam_phys list)
{
    struct paging_tour tour = { .space = parent };
    paging_word *copy[PTE_LEVEL_MAX + 1];
    const unsigned levels = parent->features.levels;

    copy[levels] = paging_table(child, child->root.addr);
    paging_tour_enter(&tour, levels, parent->root.addr);
    while (paging_tour_lower(&tour)) {
        const unsigned index = tour.index[tour.level] - 1;
        paging_word *const word = &copy[tour.level][index];
        if (!paging_tour_at_table(&tour)) {
            paging_store(word, paging_clone_leaf(&tour.table[tour.level][index]));
            continue;
        }
        const loam_phys table = loam_stock_next(child->stock, &list);
        paging_publish(word, (tour.entry & ~PTE_ADDRESS) | table.addr);
        copy[tour.level - 1] = paging_table(child, table.addr);
        atomic_fetch_add_explicit(&child->table_count, 1, memory_order_relaxed);
        paging_tour_enter(&tour, tour.level - 1, pte_table_phys(tour.entry));
    }
    LOAM_ASSERT(loam_phys_is_none(list));
}

enum loam_status loam_space_clone(struct loam_space *child, struct loam_space *parent)
{
    struct loam_space_batch batch;
    loam_phys list = loam_phys_none();
    uint64_t tables;

    LOAM_REQUIRE(child->features.levels == parent->features.levels && child != parent,
                 "paging: clone of a space of another kind", child->root.addr, parent->root.addr);
    if (atomic_load(&child->table_count) != 1)
        return LOAM_STATE;
    LOAM_TRY(paging_clone_count(parent, &tables));
    if (tables == 0)
        return LOAM_OK;
    LOAM_TRY(loam_stock_take(child->stock, tables, &list));
    loam_space_batch_begin(&batch, parent);
    paging_clone_tables(child, parent, list);
    loam_tlb_batch_full(&batch.tlb);
    loam_space_batch_finish(&batch);
    return LOAM_OK;
}
