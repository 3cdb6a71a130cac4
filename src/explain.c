/*
 * explain.c - see explain.h. First what was tried, then what the tables say, which needs
 * least to be sound; names, owners and guesses come last.
 */
#include <loam/explain.h>

#include <loam/debug.h>

#include "internal/explain_ask.h"
#include "internal/explain_walk.h"
#include "internal/text.h"

#define EXPLAIN_NEAR_NULL UINT64_C(0x10000) /* members of the largest struct lie below this */

/* What is gathered about one fault. */
struct explain_case {
    const struct loam_names *names;
    const struct loam_fault *fault;
    struct explain_walk walk;
    enum explain_answer asked; /* place: EXPLAIN_YES, or why the vrange was not asked */
    struct loam_place place;
    struct explain_gone gone;
    bool has_memory; /* phys is what is mapped there, or the direct map would show */
    uint64_t phys;
    enum explain_answer owned;
    struct usage_entry owner;
    bool is_frame, is_free; /* RAM that the frame allocator manages */
};

static void explain_line(const struct loam_writer *writer, const char *text)
{
    loam_text_string(writer, "  ");
    loam_text_string(writer, text);
    loam_text_string(writer, "\n");
}

static void explain_value(const struct loam_writer *writer, const char *text, uint64_t value)
{
    loam_text_string(writer, text);
    loam_text_hex(writer, value);
}

static void explain_number(const struct loam_writer *writer, const char *text, uint64_t value)
{
    loam_text_string(writer, text);
    loam_text_decimal(writer, value, 0);
}

/* ---- the access ----------------------------------------------------------- */

static void explain_access(const struct loam_fault *fault, const struct loam_writer *writer)
{
    static const struct {
        uint64_t bit;
        const char *name;
    } flags[] = {
        { LOAM_FAULT_PRESENT, " present" },     { LOAM_FAULT_WRITE, " write" },
        { LOAM_FAULT_USER, " user" },           { LOAM_FAULT_RESERVED, " reserved" },
        { LOAM_FAULT_FETCH, " fetch" },         { LOAM_FAULT_KEY, " protection-key" },
        { LOAM_FAULT_SHADOW, " shadow-stack" }, { LOAM_FAULT_SGX, " SGX" },
    };
    const char *verb = (fault->error & LOAM_FAULT_WRITE) != 0 ? "write" : "read";

    if ((fault->error & LOAM_FAULT_FETCH) != 0)
        verb = "execution";
    loam_text_string(writer, "  ");
    loam_text_string(writer, verb);
    loam_text_string(writer,
                     (fault->error & LOAM_FAULT_USER) != 0 ? " by user mode" : " by the kernel");
    explain_value(writer, " at ", fault->address.addr);
    explain_value(writer, ", error code ", fault->error);
    for (unsigned i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        if ((fault->error & flags[i].bit) != 0)
            loam_text_string(writer, flags[i].name);
    }
    if (fault->ip.addr != 0)
        explain_value(writer, ", instruction at ", fault->ip.addr);
    loam_text_string(writer, "\n");
}

/* ---- the tables ----------------------------------------------------------- */

/* An entry that is not present, by its kind. */
static void explain_absent(uint64_t entry, const struct loam_writer *writer)
{
    if (entry == 0) {
        loam_text_string(writer, "nothing");
    } else if ((entry & PTE_KIND) == PTE_GUARD) {
        loam_text_string(writer, "guard");
    } else if ((entry & PTE_KIND) == PTE_TAG) {
        explain_value(writer, "tag ", pte_mark_value(entry));
    } else if ((entry & PTE_KIND) == PTE_HELD) {
        explain_value(writer, "holds ", pte_held_phys(entry));
        loam_text_string(writer, ", not mapped");
    } else {
        loam_text_string(writer, "not present, and nothing that Loam writes");
    }
}

static void explain_entry(const struct loam_cpu_features *features, const struct explain_step *step,
                          const struct loam_writer *writer)
{
    const uint64_t entry = step->entry;
    const struct loam_attr attr = pte_attr(features, entry, step->level);
    struct loam_rights rights = loam_rights_of(attr.prot);

    if (!pte_is_present(entry)) {
        explain_absent(entry, writer);
        return;
    }
    rights.text[1] = (entry & PTE_WRITE) != 0 ? 'w' : '-';
    if (!pte_is_leaf(entry, step->level)) {
        explain_value(writer, "table at ", pte_table_phys(entry));
        loam_text_string(writer, ", ");
        loam_text_string(writer, rights.text);
        return;
    }
    loam_text_size(writer, pte_span(step->level), 0);
    explain_value(writer, " page at ", pte_leaf_phys(entry, step->level));
    loam_text_string(writer, ", ");
    loam_text_string(writer, rights.text);
    loam_text_string(writer, " ");
    loam_text_string(writer, loam_cache_name(attr.cache));
    if ((entry & PTE_ACCESSED) != 0)
        loam_text_string(writer, ", accessed");
    if ((entry & PTE_DIRTY) != 0)
        loam_text_string(writer, ", dirty");
    if ((entry & PTE_COW) != 0)
        loam_text_string(writer, ", copy on write");
}

static void explain_tables(const struct explain_case *c, const struct loam_writer *writer)
{
    const loam_phys root = c->names->space->root;
    const loam_phys used = c->fault->root;

    if (!loam_phys_is_none(used) && ((used.addr ^ root.addr) & PTE_ADDRESS) != 0) {
        explain_value(writer, "  tables: those of ", used.addr & PTE_ADDRESS);
        explain_value(writer, ", not of the space that is known, ", root.addr);
        loam_text_string(writer, "\n");
    }
    for (unsigned i = 0; i < c->walk.count; i++) {
        const struct explain_step *const step = &c->walk.step[i];
        explain_number(writer, "  level ", step->level);
        explain_number(writer, ", entry ", pte_index(c->fault->address.addr, step->level));
        explain_value(writer, " at ", step->at);
        explain_value(writer, ": ", step->entry);
        loam_text_string(writer, " ");
        explain_entry(&c->names->space->features, step, writer);
        loam_text_string(writer, "\n");
    }
}

/* ---- why ------------------------------------------------------------------ */

/* Lines that end in the level that decides. */
static const char *explain_why_at_level(enum loam_fault_cause cause)
{
    switch (cause) {
    case LOAM_FAULT_BY_TABLE:
        return "not known, there is no RAM where the tables lead, at level ";
    case LOAM_FAULT_BY_ABSENCE:
        return "nothing is mapped there, the entry is not present at level ";
    case LOAM_FAULT_BY_USER:
        return "the page is the kernel's, users are not allowed at level ";
    case LOAM_FAULT_BY_WRITE:
        return "the page is read-only, writing is not allowed at level ";
    case LOAM_FAULT_BY_FETCH:
        return "the page is not executable, forbidden at level ";
    case LOAM_FAULT_BY_ADDRESS:
    case LOAM_FAULT_BY_FORMAT:
    case LOAM_FAULT_BY_SUPERVISION:
    case LOAM_FAULT_BY_NOTHING:
        break;
    }
    return NULL;
}

static const char *explain_why_without(const struct explain_case *c)
{
    const uint64_t error = c->fault->error;

    if (c->walk.cause == LOAM_FAULT_BY_ADDRESS)
        return "why: the address is not canonical";
    if (c->walk.cause == LOAM_FAULT_BY_SUPERVISION)
        return (error & LOAM_FAULT_FETCH) != 0
                   ? "why: the kernel must not execute users' pages: SMEP"
                   : "why: the kernel must not access users' pages: SMAP";
    if ((error & LOAM_FAULT_KEY) != 0)
        return "why: a protection key forbids it, the tables do not";
    if ((error & (LOAM_FAULT_SHADOW | LOAM_FAULT_SGX)) != 0)
        return "why: a rule of shadow stacks or SGX forbids it, the tables do not";
    return (error & LOAM_FAULT_PRESENT) != 0
               ? "why: not known, the tables allow it now: were they changed without a flush?"
               : "why: not known, it is mapped now: was it mapped meanwhile?";
}

static void explain_why(const struct explain_case *c, const struct loam_writer *writer)
{
    const char *const at_level = explain_why_at_level(c->walk.cause);
    const bool was_present = (c->fault->error & LOAM_FAULT_PRESENT) != 0;

    if (c->walk.cause == LOAM_FAULT_BY_FORMAT) {
        explain_value(writer, "  why: reserved bits are set: ", c->walk.reserved);
        explain_number(writer, " at level ", c->walk.level);
    } else if (at_level != NULL) {
        loam_text_string(writer, "  why: ");
        explain_number(writer, at_level, c->walk.level);
    } else {
        explain_line(writer, explain_why_without(c));
        return;
    }
    if (c->walk.cause == LOAM_FAULT_BY_ABSENCE && was_present)
        loam_text_string(writer, "; but the processor remembers it as present");
    if (c->walk.cause >= LOAM_FAULT_BY_USER && !was_present)
        loam_text_string(writer, "; but the processor found it absent: it was mapped meanwhile");
    loam_text_string(writer, "\n");
}

/* ---- where, and whose ----------------------------------------------------- */

static void explain_where(const struct explain_case *c, const struct loam_writer *writer)
{
    static const char *const kinds[] = {
        [LOAM_PLACE_UNNAMED] = "",
        [LOAM_PLACE_IMAGE] = "",
        [LOAM_PLACE_RANGE] = "range ",
        [LOAM_PLACE_WAITING] = "freed range, not purged yet: ",
        [LOAM_PLACE_GUARD_BEFORE] = "guard page below ",
        [LOAM_PLACE_GUARD_AFTER] = "guard page above ",
        [LOAM_PLACE_FREE] = "in no range, the place is ",
        [LOAM_PLACE_LANDMARK] = "",
        [LOAM_PLACE_DIRECT_MAP] = "",
    };

    if (c->asked == EXPLAIN_BUSY)
        explain_line(writer, "where: the vrange was not asked, it is being changed");
    if (c->asked == EXPLAIN_BROKEN)
        explain_line(writer, "where: the vrange was not asked, its tree is broken");
    if (c->asked != EXPLAIN_YES && c->place.kind == LOAM_PLACE_UNNAMED)
        return;
    loam_text_string(writer, "  where: ");
    loam_text_string(writer, kinds[c->place.kind]);
    loam_text_string(writer, c->place.name);
    if (c->place.first.addr != 0)
        explain_value(writer, " from ", c->place.first.addr);
    loam_text_string(writer, "\n");
    if (c->gone.since == 0)
        return;
    loam_text_string(writer, "  last free: range ");
    loam_text_string(writer, c->gone.last.name);
    explain_value(writer, ", ", c->gone.last.range.start.addr);
    explain_value(writer, "-", c->gone.last.range.start.addr + (c->gone.last.range.size - 1));
    explain_number(writer, "; since then ", c->gone.since - 1);
    loam_text_string(writer, " others were\n");
}

static void explain_owner(const struct explain_case *c, const struct loam_writer *writer)
{
    switch (c->owned) {
    case EXPLAIN_YES:
        loam_text_string(writer, "  owner: ");
        loam_text_string(writer, loam_owner_name(c->owner.owner));
        explain_value(writer, ", ", c->owner.first);
        explain_value(writer, "-", c->owner.last);
        loam_text_string(writer, "\n");
        break;
    case EXPLAIN_NO:
        explain_line(writer, "owner: nobody, no entry of the memory map has it");
        break;
    case EXPLAIN_BUSY:
        explain_line(writer, "owner: not asked, the usage map is being changed");
        break;
    case EXPLAIN_BROKEN:
        explain_line(writer, "owner: not asked, the usage map is broken");
        break;
    case EXPLAIN_SILENT:
        break;
    }
}

static void explain_memory(const struct explain_case *c, const struct loam_writer *writer)
{
    struct loam_record_block block;

    if (!c->has_memory)
        return;
    explain_value(writer, "  memory: physical ", c->phys);
    if (c->walk.leaf_level == 0)
        loam_text_string(writer, " would be shown there");
    if (c->is_frame)
        loam_text_string(writer, c->is_free ? ", a free frame" : ", a frame in use");
    loam_text_string(writer, "\n");
    explain_owner(c, writer);
    if (c->is_frame && c->names->record != NULL &&
        loam_record_find(c->names->record, loam_phys_at(c->phys), &block)) {
        explain_value(writer, "  record: block at ", block.start.addr);
        explain_number(writer, " of order ", block.order);
        explain_number(writer, ", references ", block.count);
        loam_text_string(writer, "\n");
    }
    if (c->is_frame)
        explain_line(writer, c->is_free ? "last free: it is free; by whom is not recorded"
                                        : "last free: not recorded");
}

/* ---- hints ---------------------------------------------------------------- */

/* Is it nothing but poison, but for a small offset? Such pointers were read from memory
 * that was freed, or never written. */
static bool explain_is_poison(uint64_t address, uint64_t poison)
{
    const uint64_t pattern = poison * UINT64_C(0x0101010101010101);

    return address - (pattern - LOAM_PAGE_SIZE) < 2 * LOAM_PAGE_SIZE;
}

static void explain_hint_value(const struct explain_case *c, const struct loam_writer *writer)
{
    const uint64_t address = c->fault->address.addr;

    if (address < EXPLAIN_NEAR_NULL) {
        explain_value(writer, "  hint: near null, perhaps member ", address);
        loam_text_string(writer, " of a struct behind a null pointer\n");
    }
    if (explain_is_poison(address, LOAM_DEBUG_POISON_FREE) ||
        explain_is_poison(address, LOAM_RECORD_POISON))
        explain_line(writer, "hint: poison: the pointer was read from memory that is freed");
    if (explain_is_poison(address, LOAM_DEBUG_POISON_NEW))
        explain_line(writer, "hint: poison: the pointer was read from memory never written");
    if (c->fault->ip.addr == address && (c->fault->error & LOAM_FAULT_FETCH) != 0)
        explain_line(writer,
                     "hint: the jump went there: a wild function pointer, or return address?");
}

/* What kind of entry the walk ended at. */
static const char *explain_hint_entry(const struct explain_case *c)
{
    const uint64_t entry = c->walk.count != 0 ? c->walk.step[c->walk.count - 1].entry : 0;

    if (c->walk.cause == LOAM_FAULT_BY_WRITE && pte_is_present(entry) && (entry & PTE_COW) != 0)
        return "hint: copy on write: nobody has copied the page";
    if (c->walk.cause != LOAM_FAULT_BY_ABSENCE || entry == 0)
        return NULL;
    switch (entry & PTE_KIND) {
    case PTE_GUARD:
        return "hint: a guard: nothing is ever mapped there, a stack or buffer ran over";
    case PTE_TAG:
        return "hint: a tag: whoever set it was to bring the page in";
    case PTE_HELD:
        return "hint: memory is held there: not published yet, or detached to be freed";
    default:
        return "hint: the tables were overwritten";
    }
}

static const char *explain_hint_place(const struct explain_case *c)
{
    const bool absent = c->walk.cause == LOAM_FAULT_BY_ABSENCE;

    switch (c->place.kind) {
    case LOAM_PLACE_GUARD_BEFORE:
        return "hint: a stack that overflows runs into the guard below it";
    case LOAM_PLACE_GUARD_AFTER:
        return "hint: somebody ran over the end of the range";
    case LOAM_PLACE_WAITING:
        return "hint: the range was used after it was freed";
    case LOAM_PLACE_FREE:
        return c->gone.since != 0 ? "hint: the range was used after it was freed"
                                  : "hint: the range was freed long ago, or there never was one";
    case LOAM_PLACE_IMAGE:
        return c->walk.cause == LOAM_FAULT_BY_WRITE
                   ? "hint: code and constants of the kernel are read-only"
                   : NULL;
    case LOAM_PLACE_DIRECT_MAP:
        if (!absent)
            return NULL;
        if (c->is_frame)
            return "hint: RAM that was unmapped, or removed, since";
        return c->owned == EXPLAIN_YES ? "hint: the direct map does not show memory of this owner"
                                       : "hint: no memory, or a device: it must be mapped first";
    case LOAM_PLACE_UNNAMED:
    case LOAM_PLACE_RANGE:
    case LOAM_PLACE_LANDMARK:
        break;
    }
    return NULL;
}

static void explain_hints(const struct explain_case *c, const struct loam_writer *writer)
{
    const char *const hint = explain_hint_place(c);
    const char *const of_entry = explain_hint_entry(c);
    const bool is_lower = c->fault->address.addr >> 63 == 0;

    explain_hint_value(c, writer);
    if (hint != NULL)
        explain_line(writer, hint);
    if (of_entry != NULL)
        explain_line(writer, of_entry);
    if (c->walk.cause == LOAM_FAULT_BY_FETCH)
        explain_line(writer, "hint: data is never executable");
    if (c->walk.leaf_level != 0 && c->is_free)
        explain_line(writer, c->place.kind == LOAM_PLACE_DIRECT_MAP
                                 ? "hint: the frame is free: a pointer to memory given back?"
                                 : "hint: the frame behind was freed while it is mapped");
    if (c->walk.cause == LOAM_FAULT_BY_TABLE && c->walk.count == 0 && c->names->frame != NULL)
        explain_line(writer, "hint: CR3 does not name a table");
    else if (c->walk.count != 0 &&
             (c->walk.cause == LOAM_FAULT_BY_TABLE || c->walk.cause == LOAM_FAULT_BY_FORMAT))
        explain_line(writer, "hint: the tables were overwritten");
    if (is_lower && (c->fault->error & LOAM_FAULT_USER) == 0 &&
        c->walk.cause == LOAM_FAULT_BY_ABSENCE && c->fault->address.addr >= EXPLAIN_NEAR_NULL &&
        c->place.kind == LOAM_PLACE_UNNAMED)
        explain_line(writer, "hint: the lower half is for users: a wild pointer?");
}

/* ---- all of it ------------------------------------------------------------ */

static void explain_gather(struct explain_case *c)
{
    const struct loam_names *const names = c->names;
    const uint64_t address = c->fault->address.addr;

    explain_walk_tables(names, c->fault, &c->walk);
    c->asked = explain_place(names, address, &c->place, &c->gone);
    c->has_memory = c->walk.leaf_level != 0 || c->place.kind == LOAM_PLACE_DIRECT_MAP;
    c->phys = c->walk.leaf_level != 0 ? c->walk.phys : address - names->space->hhdm.offset;
    c->owned = EXPLAIN_SILENT;
    c->is_frame = false;
    c->is_free = false;
    if (!c->has_memory)
        return;
    c->owned = explain_usage(names, c->phys, &c->owner);
    c->is_frame = explain_is_ram(names, c->phys);
    if (c->is_frame)
        c->is_free = loam_frame_free_in(names->frame,
                                        loam_phys_range_of(loam_phys_at(loam_page_floor(c->phys)),
                                                           LOAM_PAGE_SIZE)) != 0;
}

enum loam_fault_cause loam_explain_cause(const struct loam_names *names,
                                         const struct loam_fault *fault, unsigned *level)
{
    struct explain_walk walk;

    explain_walk_tables(names, fault, &walk);
    if (level != NULL)
        *level = walk.level;
    return walk.cause;
}

void loam_explain_fault(const struct loam_names *names, const struct loam_fault *fault,
                        const struct loam_writer *writer)
{
    struct explain_case c = { .names = names, .fault = fault };

    explain_access(fault, writer);
    explain_gather(&c);
    explain_tables(&c, writer);
    explain_why(&c, writer);
    explain_where(&c, writer);
    explain_memory(&c, writer);
    explain_hints(&c, writer);
}
