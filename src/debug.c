/*
 * debug.c - see debug.h.
 *
 *     at - lead               at - 96            at - 24    at      at + size
 *     | lead-in, if aligned   | header (72)      | red zone | block | red zone |
 *     \______________________________ total _________________________________/
 *
 * A block is known by its address. Live blocks form a list from the oldest to the
 * newest. Every check word binds links too, so a link is never followed before it
 * is known to be ours. States of a header: live; waiting in the ring; gone, that is
 * given back to the heap, which says so until something else is written there.
 *
 * Everything is checked before anything is changed, so that a panic leaves the
 * evidence as it was; only blame is written.
 */
#include <loam/debug.h>

#include "internal/check.h"
#include "internal/digest.h"
#include "internal/inject.h"

#define DEBUG_FRONT     96u /* bytes from the header to the block */
#define DEBUG_ZONE      16u /* bytes of the red zone behind a block, at least */
#define DEBUG_ALIGN_MIN 16u

/* may_alias: the memory holds objects of the heap and of callers, too. The first
 * members are what a heap may overwrite when it gets the block back. */
struct debug_header {
    uint64_t newer, older; /* neighbours among live blocks; 0: none */
    uint64_t sequence;
    uint64_t size_bytes;  /* asked for */
    uint64_t total_bytes; /* of the heap's block */
    uint64_t align;       /* DEBUG_ALIGN_MIN.. */
    uint64_t site;
    uint64_t free_site; /* 0: live */
    uint64_t check;
} __attribute__((may_alias));
LOAM_STATIC_ASSERT(sizeof(struct debug_header) + 24 == DEBUG_FRONT, "24 bytes of red zone");
LOAM_STATIC_ASSERT(DEBUG_FRONT % DEBUG_ALIGN_MIN == 0, "blocks need no lead-in by themselves");

enum debug_state {
    DEBUG_LIVE = 1,
    DEBUG_WAITING,
    DEBUG_GONE,
};

static const char debug_rule_foreign[] = "debug: not a block of this heap";
static const char debug_rule_free[] = "debug: block is already free";
static const char debug_rule_before[] = "debug: block was written before its start";
static const char debug_rule_past[] = "debug: block was written past its end";
static const char debug_rule_after[] = "debug: block was written after free";
static const char debug_rule_size[] = "debug: wrong size";

/* ---- headers ------------------------------------------------------------- */

static struct debug_header *debug_header(uint64_t at)
{
    return (struct debug_header *)(uintptr_t)(at - DEBUG_FRONT);
}

static void *debug_pointer(uint64_t at)
{
    return (void *)(uintptr_t)at;
}

static uint64_t debug_check_word(const struct loam_debug *debug, enum debug_state state,
                                 uint64_t at)
{
    const struct debug_header *header = debug_header(at);
    uint64_t check = loam_digest_add(debug->cookie + state, at);

    if (state != DEBUG_GONE) { /* the heap's by now, if they are not whole */
        check = loam_digest_add(check, header->newer);
        check = loam_digest_add(check, header->older);
        check = loam_digest_add(check, header->sequence);
    }
    check = loam_digest_add(check, header->size_bytes);
    check = loam_digest_add(check, header->total_bytes);
    check = loam_digest_add(check, header->align);
    check = loam_digest_add(check, header->site);
    return loam_digest_add(check, header->free_site);
}

static bool debug_is(const struct loam_debug *debug, enum debug_state state, uint64_t at)
{
    return debug_header(at)->check == debug_check_word(debug, state, at);
}

static void debug_seal(const struct loam_debug *debug, enum debug_state state, uint64_t at)
{
    debug_header(at)->check = debug_check_word(debug, state, at);
}

/* Could a header be there? Nothing has been read yet. */
static bool debug_is_readable(const struct loam_debug *debug, uint64_t at)
{
    return at % DEBUG_ALIGN_MIN == 0 && at >= DEBUG_FRONT &&
           loam_allocator_owns(&debug->allocator, debug_pointer(at - DEBUG_FRONT)) &&
           loam_allocator_owns(&debug->allocator, debug_pointer(at - 1));
}

/* Bytes of the heap's block before @p at. */
static uint64_t debug_lead(uint64_t align)
{
    return (DEBUG_FRONT + align - 1) & ~(align - 1);
}

static uint64_t debug_start(uint64_t at)
{
    return at - debug_lead(debug_header(at)->align);
}

/* ---- red zones and poison ------------------------------------------------ */

/* 0x80..0x9f: never a character, never what zeroing or filling leaves behind. */
static uint8_t debug_pattern(const struct loam_debug *debug, uint64_t at)
{
    return (uint8_t)(0x80 | (at * UINT64_C(0x9e3779b97f4a7c15) + debug->cookie) >> 59);
}

static void debug_zone_fill(const struct loam_debug *debug, uint64_t from, uint64_t end)
{
    for (uint64_t at = from; at < end; at++)
        *(uint8_t *)debug_pointer(at) = debug_pattern(debug, at);
}

static bool debug_zone_is_whole(const struct loam_debug *debug, uint64_t from, uint64_t end)
{
    for (uint64_t at = from; at < end; at++) {
        if (*(const uint8_t *)debug_pointer(at) != debug_pattern(debug, at))
            return false;
    }
    return true;
}

static bool debug_front_is_whole(const struct loam_debug *debug, uint64_t at)
{
    return debug_zone_is_whole(debug, at - DEBUG_FRONT + sizeof(struct debug_header), at);
}

static bool debug_back_is_whole(const struct loam_debug *debug, uint64_t at)
{
    const struct debug_header *header = debug_header(at);

    return debug_zone_is_whole(debug, at + header->size_bytes,
                               debug_start(at) + header->total_bytes);
}

/* Both red zones of a block whose header is complete but for its check word. */
static void debug_fill_zones(const struct loam_debug *debug, uint64_t at)
{
    const struct debug_header *header = debug_header(at);

    debug_zone_fill(debug, at - DEBUG_FRONT + sizeof(struct debug_header), at);
    debug_zone_fill(debug, at + header->size_bytes, debug_start(at) + header->total_bytes);
}

static bool debug_is_poisoned(uint64_t at, uint64_t size_bytes)
{
    const uint8_t *byte = debug_pointer(at);

    for (uint64_t i = 0; i < size_bytes; i++) {
        if (byte[i] != LOAM_DEBUG_POISON_FREE)
            return false;
    }
    return true;
}

/* ---- what is wrong ------------------------------------------------------- */

/* Broken rule of a live block with a good header, or NULL. */
static const char *debug_fault_of_live(const struct loam_debug *debug, uint64_t at)
{
    if (!debug_front_is_whole(debug, at))
        return debug_rule_before;
    return debug_back_is_whole(debug, at) ? NULL : debug_rule_past;
}

/* Broken rule of a block in the ring, or NULL. */
static const char *debug_fault_of_waiting(const struct loam_debug *debug, uint64_t at)
{
    const bool whole = debug_is(debug, DEBUG_WAITING, at) && debug_front_is_whole(debug, at) &&
                       debug_is_poisoned(at, debug_header(at)->size_bytes) &&
                       debug_back_is_whole(debug, at);

    return whole ? NULL : debug_rule_after;
}

static bool debug_is_in_ring(const struct loam_debug *debug, uint64_t at)
{
    for (size_t i = 0; i < debug->waiting_count; i++) {
        if (debug->waiting[(debug->waiting_oldest + i) % LOAM_DEBUG_QUARANTINE] == at)
            return true;
    }
    return false;
}

/* Does the list name @p at, coming from one of its ends? Blocks whose headers are
 * good are passed; the first that is not is where it stops. */
static bool debug_list_leads_to(const struct loam_debug *debug, uint64_t at, bool from_oldest)
{
    uint64_t block = from_oldest ? debug->oldest : debug->newest;

    for (size_t i = 0; i < debug->used_count && block != 0; i++) {
        if (block == at)
            return true;
        if (!debug_is(debug, DEBUG_LIVE, block))
            return false;
        block = from_oldest ? debug_header(block)->newer : debug_header(block)->older;
    }
    return false;
}

/* Why is there no header of a live block at @p at? Slow, but the caller panics. */
static const char *debug_why_not_live(const struct loam_debug *debug, uint64_t at)
{
    if (!debug_is_readable(debug, at))
        return debug_rule_foreign;
    if (debug_is_in_ring(debug, at) || debug_is(debug, DEBUG_GONE, at))
        return debug_rule_free;
    if (debug_list_leads_to(debug, at, true) || debug_list_leads_to(debug, at, false))
        return debug_rule_before;
    return debug_rule_foreign;
}

/* Panic about @p at; first note all that is known. */
__attribute__((noreturn)) static void debug_panic(struct loam_debug *debug, const char *rule,
                                                  uint64_t at, loam_virt caller)
{
    struct loam_debug_blame blame = { .block = loam_virt_at(at), .caller = caller };

    if (debug_is_readable(debug, at) &&
        (debug_is(debug, DEBUG_LIVE, at) || debug_is(debug, DEBUG_WAITING, at) ||
         debug_is(debug, DEBUG_GONE, at))) {
        blame.size_bytes = debug_header(at)->size_bytes;
        blame.alloc_site = loam_virt_at(debug_header(at)->site);
        blame.free_site = loam_virt_at(debug_header(at)->free_site);
    }
    const bool by_free = rule == debug_rule_free || rule == debug_rule_after;
    const loam_virt site = by_free ? blame.free_site : blame.alloc_site;
    debug->blame = blame;
    loam_check_fail(rule, __FILE__, __LINE__, at, site.addr);
}

/* ---- requirements -------------------------------------------------------- */

/* A link of a header that was found good, or an end of the list: it names a live
 * block, so its header is there, but may have been written to. */
static void debug_require_linked(struct loam_debug *debug, uint64_t at, loam_virt caller)
{
    if (at != 0 && !debug_is(debug, DEBUG_LIVE, at))
        debug_panic(debug, debug_rule_before, at, caller);
}

static uint64_t debug_require_live(struct loam_debug *debug, const void *block, loam_virt caller)
{
    const uint64_t at = loam_virt_of(block).addr;

    if (!debug_is_readable(debug, at) || !debug_is(debug, DEBUG_LIVE, at))
        debug_panic(debug, debug_why_not_live(debug, at), at, caller);
    return at;
}

/* A live block that may be unlinked: its red zones and neighbours are sound. */
static uint64_t debug_require_sound(struct loam_debug *debug, const void *block, size_t size_bytes,
                                    loam_virt caller)
{
    const uint64_t at = debug_require_live(debug, block, caller);
    const struct debug_header *header = debug_header(at);
    const char *fault = debug_fault_of_live(debug, at);

    if (size_bytes != LOAM_SIZE_UNKNOWN && size_bytes != header->size_bytes)
        debug_panic(debug, debug_rule_size, at, caller);
    if (fault != NULL)
        debug_panic(debug, fault, at, caller);
    debug_require_linked(debug, header->newer, caller);
    debug_require_linked(debug, header->older, caller);
    return at;
}

/* ---- the list and the ring ----------------------------------------------- */

/* Join two neighbours; 0: the end of the list. */
static void debug_join(struct loam_debug *debug, uint64_t older, uint64_t newer)
{
    if (older == 0) {
        debug->oldest = newer;
    } else {
        debug_header(older)->newer = newer;
        debug_seal(debug, DEBUG_LIVE, older);
    }
    if (newer == 0) {
        debug->newest = older;
    } else {
        debug_header(newer)->older = older;
        debug_seal(debug, DEBUG_LIVE, newer);
    }
}

/* Give the block that has waited longest back to the heap. */
static void debug_evict(struct loam_debug *debug, loam_virt caller)
{
    const uint64_t at = debug->waiting[debug->waiting_oldest];
    const struct debug_header *header = debug_header(at);
    const char *fault = debug_fault_of_waiting(debug, at);

    if (fault != NULL)
        debug_panic(debug, fault, at, caller);
    debug->waiting_oldest = (debug->waiting_oldest + 1) % LOAM_DEBUG_QUARANTINE;
    debug->waiting_count--;
    debug_seal(debug, DEBUG_GONE, at);
    loam_allocator_free_sized(&debug->allocator, debug_pointer(debug_start(at)),
                              header->total_bytes);
}

static void debug_evict_all(struct loam_debug *debug, loam_virt caller)
{
    while (debug->waiting_count > 0)
        debug_evict(debug, caller);
}

/* Take a sound block out of the list and let it wait; the ring has room. */
static void debug_retire(struct loam_debug *debug, uint64_t at, loam_virt site)
{
    struct debug_header *header = debug_header(at);
    const size_t place = debug->waiting_oldest + debug->waiting_count;

    debug_join(debug, header->older, header->newer);
    debug->used_bytes -= header->size_bytes;
    debug->used_count--;
    header->free_site = site.addr;
    debug_seal(debug, DEBUG_WAITING, at);
    __builtin_memset(debug_pointer(at), LOAM_DEBUG_POISON_FREE, header->size_bytes);
    debug->waiting[place % LOAM_DEBUG_QUARANTINE] = at;
    debug->waiting_count++;
}

static void debug_make_room(struct loam_debug *debug, loam_virt caller)
{
    if (debug->waiting_count == LOAM_DEBUG_QUARANTINE)
        debug_evict(debug, caller);
}

static void debug_count_used(struct loam_debug *debug, size_t size_bytes)
{
    debug->used_bytes += size_bytes;
    if (debug->used_bytes > debug->peak_bytes)
        debug->peak_bytes = debug->used_bytes;
}

/* ---- public -------------------------------------------------------------- */

void loam_debug_init(struct loam_debug *debug, const struct loam_allocator *allocator)
{
    __builtin_memset(debug, 0, sizeof(*debug));
    debug->allocator = *allocator;
    debug->cookie = loam_digest_add(LOAM_DIGEST_START, loam_virt_of(debug).addr);
}

void *loam_debug_alloc(struct loam_debug *debug, size_t size_bytes, size_t align, loam_virt site)
{
    const uint64_t align_given = align > DEBUG_ALIGN_MIN ? align : DEBUG_ALIGN_MIN;
    const uint64_t lead = debug_lead(align_given);

    if (!loam_is_power_of_two(align) ||
        size_bytes > SIZE_MAX - lead - DEBUG_ZONE - (DEBUG_ALIGN_MIN - 1) ||
        LOAM_INJECT("debug.alloc"))
        return NULL;
    debug_require_linked(debug, debug->newest, site);

    const uint64_t mask = DEBUG_ALIGN_MIN - 1;
    const uint64_t total = (lead + size_bytes + DEBUG_ZONE + mask) & ~mask;
    void *start = loam_allocator_alloc(&debug->allocator, total, align_given);
    if (start == NULL && debug->waiting_count > 0) {
        debug_evict_all(debug, site);
        start = loam_allocator_alloc(&debug->allocator, total, align_given);
    }
    if (start == NULL)
        return NULL;

    const uint64_t at = loam_virt_of(start).addr + lead;
    *debug_header(at) = (struct debug_header){
        .sequence = ++debug->sequence,
        .size_bytes = size_bytes,
        .total_bytes = total,
        .align = align_given,
        .site = site.addr,
    };
    debug_fill_zones(debug, at);
    __builtin_memset(debug_pointer(at), LOAM_DEBUG_POISON_NEW, size_bytes);
    debug_join(debug, debug->newest, at);
    debug_join(debug, at, 0);
    debug_count_used(debug, size_bytes);
    debug->used_count++;
    return debug_pointer(at);
}

void loam_debug_free(struct loam_debug *debug, void *block, loam_virt site)
{
    loam_debug_free_sized(debug, block, LOAM_SIZE_UNKNOWN, site);
}

void loam_debug_free_sized(struct loam_debug *debug, void *block, size_t size_bytes, loam_virt site)
{
    if (block == NULL)
        return;
    const uint64_t at = debug_require_sound(debug, block, size_bytes, site);
    debug_make_room(debug, site);
    debug_retire(debug, at, site);
}

/* Where there is no room to move to, what is cut off becomes red zone. */
static void debug_shrink(struct loam_debug *debug, uint64_t at, size_t size_bytes, loam_virt site)
{
    struct debug_header *header = debug_header(at);

    debug->used_bytes -= header->size_bytes - size_bytes;
    header->size_bytes = size_bytes;
    header->site = site.addr;
    debug_fill_zones(debug, at);
    debug_seal(debug, DEBUG_LIVE, at);
}

void *loam_debug_realloc(struct loam_debug *debug, void *block, const struct loam_resize *resize,
                         loam_virt site)
{
    if (block == NULL)
        return loam_debug_alloc(debug, resize->size_bytes, resize->align, site);

    const uint64_t at = debug_require_sound(debug, block, resize->old_bytes, site);
    const uint64_t old_bytes = debug_header(at)->size_bytes;
    const bool shrinks = resize->size_bytes <= old_bytes;
    if (!loam_is_power_of_two(resize->align))
        return NULL;
    debug_make_room(debug, site);
    void *moved = loam_debug_alloc(debug, resize->size_bytes, resize->align, site);
    if (moved != NULL) {
        __builtin_memcpy(moved, block, shrinks ? resize->size_bytes : old_bytes);
        debug_retire(debug, at, site);
        return moved;
    }
    if (!shrinks || (at & (resize->align - 1)) != 0)
        return NULL;
    debug_shrink(debug, at, resize->size_bytes, site);
    return block;
}

size_t loam_debug_usable(struct loam_debug *debug, const void *block)
{
    return debug_header(debug_require_live(debug, block, loam_virt_at(0)))->size_bytes;
}

void loam_debug_flush(struct loam_debug *debug)
{
    debug_evict_all(debug, loam_virt_at(0));
}

static void debug_show(uint64_t at, bool is_known, struct loam_debug_block *out)
{
    struct loam_debug_block block = { .start = loam_virt_at(at) };

    if (is_known) {
        block.size_bytes = debug_header(at)->size_bytes;
        block.site = loam_virt_at(debug_header(at)->site);
        block.sequence = debug_header(at)->sequence;
    }
    *out = block;
}

/* Broken rule of a block that the list names, or NULL. */
static const char *debug_fault_of_listed(const struct loam_debug *debug, uint64_t at)
{
    return debug_is(debug, DEBUG_LIVE, at) ? debug_fault_of_live(debug, at) : debug_rule_before;
}

const char *loam_debug_check(const struct loam_debug *debug, struct loam_debug_block *broken)
{
    const char *fault = NULL;
    uint64_t at = debug->oldest;

    while (at != 0) { /* terminates: every live block is linked once */
        fault = debug_fault_of_listed(debug, at);
        if (fault != NULL)
            break;
        at = debug_header(at)->newer;
    }
    for (size_t i = 0; fault == NULL && i < debug->waiting_count; i++) {
        at = debug->waiting[(debug->waiting_oldest + i) % LOAM_DEBUG_QUARANTINE];
        fault = debug_fault_of_waiting(debug, at);
    }
    if (fault != NULL && broken != NULL)
        debug_show(at, debug_is(debug, DEBUG_LIVE, at) || debug_is(debug, DEBUG_WAITING, at),
                   broken);
    return fault;
}

bool loam_debug_next(const struct loam_debug *debug, struct loam_debug_block *block)
{
    const uint64_t at = block->start.addr;
    uint64_t next = debug->oldest;

    if (at != 0) {
        LOAM_REQUIRE(debug_is_readable(debug, at) && debug_is(debug, DEBUG_LIVE, at),
                     "debug: walk from what is no live block", at, 0);
        next = debug_header(at)->newer;
    }
    if (next == 0)
        return false;
    LOAM_REQUIRE(debug_is(debug, DEBUG_LIVE, next), "debug: block was written before its start",
                 next, 0);
    debug_show(next, true, block);
    return true;
}

void loam_debug_measure(const struct loam_debug *debug, struct loam_debug_stats *out)
{
    struct loam_debug_stats stats = {
        .used_bytes = debug->used_bytes,
        .peak_bytes = debug->peak_bytes,
        .used_count = debug->used_count,
        .waiting_count = debug->waiting_count,
    };

    for (size_t i = 0; i < debug->waiting_count; i++) {
        const uint64_t at = debug->waiting[(debug->waiting_oldest + i) % LOAM_DEBUG_QUARANTINE];
        if (debug_is(debug, DEBUG_WAITING, at))
            stats.waiting_bytes += debug_header(at)->size_bytes;
    }
    *out = stats;
}

const char *loam_debug_audit(const struct loam_debug *debug)
{
    const char *fault = loam_debug_check(debug, NULL);
    size_t used_bytes = 0;
    size_t used_count = 0;
    uint64_t older = 0;

    if (fault != NULL)
        return fault;
    for (uint64_t at = debug->oldest; at != 0; at = debug_header(at)->newer) {
        if (debug_header(at)->older != older)
            return "debug: links disagree";
        used_bytes += debug_header(at)->size_bytes;
        used_count++;
        older = at;
    }
    if (older != debug->newest)
        return "debug: list ends elsewhere";
    if (used_bytes != debug->used_bytes || used_count != debug->used_count)
        return "debug: live blocks are miscounted";
    if (debug->peak_bytes < used_bytes)
        return "debug: peak is below use";
    return loam_allocator_audit(&debug->allocator);
}

uint64_t loam_debug_digest(const struct loam_debug *debug)
{
    uint64_t digest = LOAM_DIGEST_START;
    uint64_t at = debug->oldest;

    while (at != 0 && debug_is(debug, DEBUG_LIVE, at)) {
        digest = loam_digest_add(digest, at);
        digest = loam_digest_add(digest, debug_header(at)->size_bytes);
        digest = loam_digest_add(digest, debug_header(at)->site);
        at = debug_header(at)->newer;
    }
    digest = loam_digest_add(digest, debug->used_bytes);
    digest = loam_digest_add(digest, debug->peak_bytes);
    digest = loam_digest_add(digest, debug->used_count);
    return loam_digest_add(digest, debug->sequence);
}
