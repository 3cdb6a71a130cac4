/*
 * dump.c - see dump.h. Every run is asked for by itself, so no lock is held while text
 * is written; the walk goes on behind what was printed, so it ends whatever changes.
 */
#include <loam/dump.h>

#include "internal/dump.h"
#include "internal/text.h"

#define DUMP_NAME_WIDTH 20u
#define DUMP_SIZE_WIDTH 5u /* "4 KiB" */

/* Contiguous memory of a line. */
struct dump_piece {
    loam_virt virt;
    struct loam_phys_range memory;
};

struct dump_line {
    struct loam_mapping run; /* all of the line; phys of its first byte */
    struct loam_place place;
    bool is_direct;
    uint64_t piece_count;
    struct dump_piece piece[LOAM_DUMP_PIECES]; /* the first ones */
};

struct dump_sums {
    uint64_t line_count, bytes, direct_bytes;
    uint64_t alias_count, open_count, user_count; /* lines: shared, W+X somehow, for users */
};

/* ---- lines --------------------------------------------------------------- */

static unsigned dump_pieces(const struct dump_line *line)
{
    return line->piece_count < LOAM_DUMP_PIECES ? (unsigned)line->piece_count : LOAM_DUMP_PIECES;
}

static void dump_add(struct dump_line *line, const struct loam_mapping *run)
{
    if (!dump_has_memory(run))
        return;
    if (line->piece_count < LOAM_DUMP_PIECES) {
        struct dump_piece *const piece = &line->piece[line->piece_count];
        piece->virt = run->virt.start;
        piece->memory = dump_memory(run);
    }
    line->piece_count++;
}

/* Let a run end where a place does. */
static void dump_cut(struct loam_mapping *run, loam_virt last)
{
    if (last.addr - run->virt.start.addr < run->virt.size - 1)
        run->virt.size = last.addr - run->virt.start.addr + 1;
}

static bool dump_is_alike(const struct loam_mapping *a, const struct loam_mapping *b)
{
    if (a->kind != b->kind || a->page_size != b->page_size)
        return false;
    if (!dump_is_mapped(a))
        return dump_has_memory(a) || a->value == b->value;
    return a->attr.prot == b->attr.prot && a->attr.cache == b->attr.cache && a->is_cow == b->is_cow;
}

/* What follows without a gap, is alike and in the same place belongs to the line, too.
 * O(pieces) */
static void dump_extend(const struct loam_names *names, struct dump_cursor *cursor,
                        struct dump_line *line)
{
    struct loam_mapping run;

    while (cursor->at.addr <= line->place.last.addr && dump_peek(names, cursor, &run) &&
           run.virt.start.addr == cursor->at.addr && dump_is_alike(&run, &line->run) &&
           !line->is_direct && !dump_is_direct(names, &run)) {
        dump_cut(&run, line->place.last);
        dump_add(line, &run);
        line->run.virt.size += run.virt.size;
        dump_move(cursor, loam_virt_at(run.virt.start.addr + (run.virt.size - 1)));
    }
}

/* @return false: that was all */
static bool dump_next_line(const struct loam_names *names, struct dump_cursor *cursor,
                           struct dump_line *line)
{
    if (!dump_peek(names, cursor, &line->run))
        return false;
    line->place = loam_names_find(names, line->run.virt.start);
    line->is_direct = dump_is_direct(names, &line->run);
    if (line->place.kind == LOAM_PLACE_DIRECT_MAP && !line->is_direct) {
        line->place.kind = LOAM_PLACE_UNNAMED; /* there, but not of it */
        line->place.name = "unnamed";
    }
    dump_cut(&line->run, line->place.last);
    line->piece_count = 0;
    dump_add(line, &line->run);
    dump_move(cursor, loam_virt_at(line->run.virt.start.addr + (line->run.virt.size - 1)));
    if (!cursor->ended)
        dump_extend(names, cursor, line);
    return true;
}

/* ---- owners -------------------------------------------------------------- */

/* Who has most of the memory. @return his name; *others: how many have the rest */
static const char *dump_owner(const struct loam_names *names, const struct dump_line *line,
                              unsigned *others)
{
    uint64_t bytes[LOAM_OWNERS + 1] = { 0 }; /* the last: nobody's */
    unsigned most = 0;

    for (unsigned i = 0; i < dump_pieces(line); i++) {
        struct loam_usage_totals totals;
        uint64_t rest = line->piece[i].memory.size;
        if (loam_usage_totals_in(names->usage, line->piece[i].memory, &totals) != LOAM_OK)
            continue;
        for (unsigned owner = 0; owner < LOAM_OWNERS; owner++) {
            bytes[owner] += totals.bytes[owner];
            rest -= totals.bytes[owner];
        }
        bytes[LOAM_OWNERS] += rest;
    }
    *others = 0;
    for (unsigned owner = 0; owner <= LOAM_OWNERS; owner++) {
        *others += bytes[owner] != 0 ? 1u : 0u;
        if (bytes[owner] > bytes[most])
            most = owner;
    }
    *others -= *others != 0 ? 1u : 0u;
    if (most == LOAM_OWNERS)
        return "nobody";
    return most == LOAM_OWNER_USABLE && !line->is_direct ? "single frames"
                                                         : loam_owner_name((enum loam_owner)most);
}

static void dump_print_owner(const struct loam_names *names, const struct dump_line *line,
                             const struct loam_writer *writer)
{
    unsigned others = 0;

    if (names->usage == NULL || line->piece_count == 0)
        return;
    loam_text_string(writer, "of ");
    loam_text_string(writer, dump_owner(names, line, &others));
    if (others != 0) {
        loam_text_string(writer, " and ");
        loam_text_decimal(writer, others, 0);
        loam_text_string(writer, others == 1 ? " other" : " others");
    }
}

/* ---- aliases ------------------------------------------------------------- */

/* What other pages show the memory of a line. */
struct dump_aliases {
    uint64_t count; /* runs, the direct map's not */
    loam_virt first, writable, executable, cached;
    bool is_writable, is_executable, is_cached;
    enum loam_cache cache; /* at cached */
};

/* One run that shows a piece of the line at @p where. */
static void dump_add_alias(const struct loam_names *names, const struct dump_line *line,
                           const struct loam_mapping *run, loam_virt where,
                           struct dump_aliases *aliases)
{
    if (!dump_is_direct(names, run) && aliases->count++ == 0)
        aliases->first = where;
    if (dump_is_exposed(names, &line->run, run) && !aliases->is_writable) {
        aliases->is_writable = true;
        aliases->writable = where;
    }
    if (dump_is_exposed(names, run, &line->run) && !aliases->is_executable) {
        aliases->is_executable = true;
        aliases->executable = where;
    }
    if (run->attr.cache != line->run.attr.cache && !aliases->is_cached) {
        aliases->is_cached = true;
        aliases->cached = where;
        aliases->cache = run->attr.cache;
    }
}

/* O(runs x pieces) */
static void dump_find_aliases(const struct loam_names *names, const struct dump_line *line,
                              struct dump_aliases *aliases)
{
    struct dump_cursor cursor = { { 0 }, false };
    struct loam_mapping run;
    loam_virt where;

    while (dump_next(names, &cursor, &run)) { /* ends: the cursor goes upwards */
        for (unsigned i = 0; i < dump_pieces(line); i++) {
            const struct dump_piece *const piece = &line->piece[i];
            if (!dump_shows(&run, piece->memory, &where))
                continue;
            const uint64_t behind = run.phys.addr + (where.addr - run.virt.start.addr);
            if (where.addr - piece->virt.addr != behind - piece->memory.start.addr)
                dump_add_alias(names, line, &run, where, aliases);
        }
    }
}

static void dump_print_aliases(const struct dump_aliases *aliases, const struct loam_writer *writer)
{
    if (aliases->count != 0) {
        loam_text_string(writer, "; also at ");
        loam_text_hex(writer, aliases->first.addr);
    }
    if (aliases->count > 1) {
        loam_text_string(writer, " and ");
        loam_text_decimal(writer, aliases->count - 1, 0);
        loam_text_string(writer, " more");
    }
    if (aliases->is_writable) {
        loam_text_string(writer, "; writable at ");
        loam_text_hex(writer, aliases->writable.addr);
    }
    if (aliases->is_executable) {
        loam_text_string(writer, "; executable at ");
        loam_text_hex(writer, aliases->executable.addr);
    }
    if (aliases->is_cached) {
        loam_text_string(writer, "; ");
        loam_text_string(writer, loam_cache_name(aliases->cache));
        loam_text_string(writer, " at ");
        loam_text_hex(writer, aliases->cached.addr);
    }
}

/* ---- a line as text ------------------------------------------------------ */

static const struct loam_rights dump_no_rights = { "-----" };

static const char *dump_kind(enum loam_entry_kind kind)
{
    if (kind == LOAM_ENTRY_GUARD)
        return "guard";
    return kind == LOAM_ENTRY_TAG ? "tag" : "held";
}

static void dump_print_columns(const struct dump_line *line, const struct loam_writer *writer)
{
    const struct loam_mapping *const run = &line->run;
    const char *kind = loam_cache_name(run->attr.cache);
    struct loam_rights rights = loam_rights_of(run->attr.prot);

    if (!dump_is_mapped(run)) {
        kind = dump_kind(run->kind);
        rights = dump_no_rights;
    } else if (run->is_cow) {
        rights.text[1] = 'c';
    }
    loam_text_hex(writer, run->virt.start.addr);
    loam_text_string(writer, "-");
    loam_text_hex(writer, run->virt.start.addr + (run->virt.size - 1));
    loam_text_string(writer, " ");
    loam_text_size(writer, run->virt.size, LOAM_TEXT_SIZE_MAX);
    loam_text_string(writer, " ");
    loam_text_size(writer, run->page_size, DUMP_SIZE_WIDTH);
    loam_text_string(writer, " ");
    loam_text_left(writer, kind, 6);
    loam_text_string(writer, rights.text);
    loam_text_string(writer, "  ");
    loam_text_hex(writer, dump_has_memory(run) ? run->phys.addr : run->value);
    loam_text_string(writer, "  ");
}

/* Frames behind the line that nobody has; the direct map shows all of them. */
static uint64_t dump_free_frames(const struct loam_names *names, const struct dump_line *line)
{
    uint64_t count = 0;

    if (names->frame == NULL || line->is_direct)
        return 0;
    for (unsigned i = 0; i < dump_pieces(line); i++)
        count += loam_frame_free_in(names->frame, line->piece[i].memory);
    return count;
}

static void dump_print_remarks(const struct loam_names *names, const struct dump_line *line,
                               const struct loam_writer *writer)
{
    const uint64_t free_frames = dump_free_frames(names, line);

    if (dump_is_mapped(&line->run) &&
        (line->place.kind == LOAM_PLACE_GUARD_BEFORE || line->place.kind == LOAM_PLACE_GUARD_AFTER))
        loam_text_string(writer, "; guard page");
    if (line->place.kind == LOAM_PLACE_WAITING)
        loam_text_string(writer, "; freed");
    if (line->place.kind == LOAM_PLACE_FREE)
        loam_text_string(writer, "; not in use");
    if (line->piece_count > 1) {
        loam_text_string(writer, "; in ");
        loam_text_decimal(writer, line->piece_count, 0);
        loam_text_string(writer, " pieces");
    }
    if (dump_is_executable(names, &line->run) && dump_is_writable(&line->run))
        loam_text_string(writer, "; W+X");
    if (free_frames != 0) {
        loam_text_string(writer, "; ");
        loam_text_decimal(writer, free_frames, 0);
        loam_text_string(writer, free_frames == 1 ? " frame is free" : " frames are free");
    }
}

static void dump_print_line(const struct loam_names *names, const struct dump_line *line,
                            struct dump_sums *sums, const struct loam_writer *writer)
{
    struct dump_aliases aliases = { .count = 0 };
    const bool both = dump_is_executable(names, &line->run) && dump_is_writable(&line->run);

    dump_print_columns(line, writer);
    loam_text_left(writer, line->place.name, DUMP_NAME_WIDTH);
    loam_text_string(writer, " ");
    dump_print_owner(names, line, writer);
    dump_print_remarks(names, line, writer);
    if (dump_is_mapped(&line->run) && !line->is_direct) {
        dump_find_aliases(names, line, &aliases);
        dump_print_aliases(&aliases, writer);
    }
    loam_text_string(writer, "\n");

    sums->line_count++;
    sums->bytes += dump_is_mapped(&line->run) ? line->run.virt.size : 0;
    sums->direct_bytes += line->is_direct ? line->run.virt.size : 0;
    sums->alias_count += aliases.count != 0 ? 1u : 0u;
    sums->open_count += both || aliases.is_writable || aliases.is_executable ? 1u : 0u;
    sums->user_count +=
        dump_is_mapped(&line->run) && (line->run.attr.prot & LOAM_PROT_USER) != 0 ? 1u : 0u;
}

void loam_space_dump(const struct loam_names *names, const struct loam_writer *writer)
{
    struct dump_cursor cursor = { { 0 }, false };
    struct dump_sums sums = { .line_count = 0 };
    struct dump_line line;

    loam_text_left(writer, "first-last", 44);
    loam_text_string(writer, "size  page cache rights ");
    loam_text_left(writer, "physical", 20);
    loam_text_left(writer, "what", DUMP_NAME_WIDTH);
    loam_text_string(writer, " memory of; remarks\n");
    while (dump_next_line(names, &cursor, &line)) /* ends: the cursor goes upwards */
        dump_print_line(names, &line, &sums, writer);

    loam_text_decimal(writer, sums.line_count, 0);
    loam_text_string(writer, sums.line_count == 1 ? " range, " : " ranges, ");
    loam_text_size(writer, sums.bytes, 0);
    loam_text_string(writer, ", of which direct map ");
    loam_text_size(writer, sums.direct_bytes, 0);
    loam_text_string(writer, "; ");
    loam_text_decimal(writer, sums.alias_count, 0);
    loam_text_string(writer, " aliased, ");
    loam_text_decimal(writer, sums.open_count, 0);
    loam_text_string(writer, " writable and executable, ");
    loam_text_decimal(writer, sums.user_count, 0);
    loam_text_string(writer, " for users\n");
}
