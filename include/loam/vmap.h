/*
 * vmap.h - memory, stacks and devices at virtual addresses of their own.
 *
 *     mm->vmap.window, in the kernel's half
 *     [ memory |g)[g| stack |g)   [ device |g)[ window: front | not mapped yet |g) ... )
 *
 *     alloc    addresses (vrange) -> frames (books) -> held -> mapped, all at once
 *     free     the range waits, as it is; when enough wait, or something is short:
 *              unmap them all -> one flush -> frames -> addresses
 *
 * Frames come from anywhere, one by one, and are charged to LOAM_OWNER_KERNEL. Memory of 2 MiB
 * and more begins at a multiple of that where there are such addresses, and has a large page
 * wherever there is such a block: none is made by asking for memory back. Guards
 * (g) are pages that nothing is ever mapped at. Whatever fails has changed nothing;
 * before that, what waits is purged, and it is tried again.
 *
 * What was freed stays mapped until it is purged: who still uses it does no harm to
 * others, and is not found out before.
 */
#ifndef LOAM_VMAP_H
#define LOAM_VMAP_H

#include "books.h"
#include "vrange.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Guard pages of each range on either side, but for what is said otherwise. A guard below
 * a stack stops what grows by less than it at once: compile with
 * -fstack-clash-protection, which touches each page on the way. */
#define LOAM_VMAP_GUARD_PAGES 1u

enum loam_vmap_kind {
    LOAM_VMAP_NONE, /* nothing is there */
    LOAM_VMAP_MEMORY,
    LOAM_VMAP_STACK,
    LOAM_VMAP_DEVICE,
    LOAM_VMAP_WINDOW,
};

/* Inside struct loam; fields are read-only outside vmap.c. */
struct loam_vmap {
    struct loam_virt_range window; /* where all this lies; nobody else maps anything there */
    struct loam_vrange ranges;
    struct loam_stock nodes; /* frames for their records */
};

/* What is wanted. 0 in a field but size_bytes: its default. */
struct loam_vmap_request {
    uint64_t size_bytes;   /* > 0; rounded up to pages */
    struct loam_attr attr; /* GLOBAL is added. Default: read-only, write-back */
    uint64_t align_bytes;  /* power of two; default: a page */
    uint64_t guard_pages;  /* on either side; default: LOAM_VMAP_GUARD_PAGES */
    uint64_t dice;         /* as for struct loam_vrange_request */
    bool is_zeroed;        /* wholly zero; else contents are undefined */
    const char *name;      /* permanent; default "unnamed" */
};

/*
 * Context, unless said otherwise: any CPU, where loam_map() and loam_unmap() may be
 * called. All return LOAM_STATE before loam_init().
 */

/**
 * Allocate memory.
 *
 * @param mm      subsystem
 * @param request not retained, but the name
 * @param out     the first byte; the caller's until loam_vmap_free()
 *
 * @return LOAM_OK; LOAM_INVALID: the request is malformed, or its attributes are none
 *         of kernel memory; LOAM_NO_SPACE: no addresses; LOAM_NO_MEMORY: no frames, for
 *         it, for tables, or for its record; LOAM_OVERLAP: somebody else has mapped
 *         something there
 */
LOAM_NODISCARD enum loam_status loam_vmap_alloc(struct loam *mm,
                                                const struct loam_vmap_request *request,
                                                loam_virt *out);

/**
 * Free memory; it waits, with its addresses. Never fails. What is not the start of a
 * range of its kind panics:
 *     vmap: nothing begins here        never allocated, freed and purged, or inside
 *     vmap: freed twice                freed, not yet purged
 *     vmap: freed as something else    (detail: enum loam_vmap_kind)
 */
void loam_vmap_free(struct loam *mm, loam_virt at);

/**
 * Allocate a stack: writable, not executable, with LOAM_VMAP_GUARD_PAGES below and above.
 *
 * @param size_bytes > 0, a multiple of the page size
 * @param out        from the lowest address up; the stack pointer starts at its end
 *
 * @return as loam_vmap_alloc()
 */
LOAM_NODISCARD enum loam_status loam_vmap_stack(struct loam *mm, uint64_t size_bytes,
                                                const char *name, struct loam_virt_range *out);

/**
 * As loam_vmap_free(). The stack that the running CPU is on panics:
 *     vmap: stack is in use
 * That no other CPU is on it is for the caller to know.
 */
void loam_vmap_stack_free(struct loam *mm, loam_virt at);

/**
 * Map registers or memory of a device: read and write, not executable.
 *
 * @param range of any alignment, not empty
 * @param cache how; WB and WP only for firmware's memory, which is what the usage map
 *              calls RESERVED, RESERVED_MAPPED or ACPI; UC, UC_MINUS, WC and WT only for
 *              what is RESERVED, FRAMEBUFFER or nobody's
 * @param name  permanent, may be NULL
 * @param out   where the range's first byte is; the caller's until
 *              loam_vmap_device_free()
 *
 * @return LOAM_OK; LOAM_OVERLAP: part of it is memory that somebody has or may get, or
 *         is not to be cached like this; LOAM_INVALID: empty, past 2^64 or the CPU's
 *         physical addresses, or no such cache type; LOAM_NO_SPACE, LOAM_NO_MEMORY
 */
LOAM_NODISCARD enum loam_status loam_vmap_device(struct loam *mm, struct loam_phys_range range,
                                                 enum loam_cache cache, const char *name,
                                                 loam_virt *out);

/** As loam_vmap_free(). @param at what loam_vmap_device() said */
void loam_vmap_device_free(struct loam *mm, loam_virt at);

/* Addresses whose front is mapped: for a heap that grows in place. The caller places it
 * and serialises the calls for each; fields are read-only. */
struct loam_vmap_window {
    struct loam_virt_range range;
    uint64_t front_bytes; /* of it that are mapped */
    struct loam_attr attr;
};

/**
 * Reserve addresses; nothing is mapped there yet.
 *
 * @param window  output
 * @param request as for loam_vmap_alloc(); is_zeroed is not read
 *
 * @return as loam_vmap_alloc()
 */
LOAM_NODISCARD enum loam_status loam_vmap_window_open(struct loam *mm,
                                                      struct loam_vmap_window *window,
                                                      const struct loam_vmap_request *request);

/**
 * Let the front have so many bytes, rounded up to pages. What it is larger by is zeroed;
 * what it is smaller by is unmapped, flushed and free on return, which never fails.
 *
 * @return LOAM_OK; LOAM_NO_SPACE: more than the window has; LOAM_NO_MEMORY, LOAM_OVERLAP
 *         as loam_vmap_alloc()
 */
LOAM_NODISCARD enum loam_status loam_vmap_window_resize(struct loam *mm,
                                                        struct loam_vmap_window *window,
                                                        uint64_t front_bytes);

/** Give front and addresses back, at once. A window that is not open panics. */
void loam_vmap_window_close(struct loam *mm, struct loam_vmap_window *window);

/**
 * Purge what waits: one flush, then its frames and addresses are free.
 *
 * @return false: nothing waits
 */
bool loam_vmap_purge(struct loam *mm);

/* What an address is. */
struct loam_vmap_place {
    enum loam_vrange_place place; /* LOAM_VRANGE_NOWHERE: not in mm->vmap.window */
    enum loam_vmap_kind kind;     /* of the range, or of whose guard it is */
    struct loam_vrange_info info; /* undefined for NOWHERE and CHANGING */
};

/**
 * What is at an address, for who explains a fault: never waits. See loam_vrange_peek().
 *
 * Context: any, also NMI.
 */
void loam_vmap_find(const struct loam *mm, loam_virt at, struct loam_vmap_place *out);

/**
 * Choose where all of this is to lie: right below the kernel's image or the highest
 * 2 GiB (with 5 levels: below what 4 could reach), or else below the direct map; at most
 * an eighth of the kernel's half, and half of what lies between: the rest is for the
 * direct map to grow into.
 *
 * @param levels paging levels: 4 or 5
 * @param shown  what the direct map shows, in either half
 * @param image  where the kernel begins, if it is in the upper half
 *
 * @return whole GiB; empty if there is no room
 *
 * Context: any; pure.
 */
LOAM_NODISCARD struct loam_virt_range loam_vmap_choose(unsigned levels,
                                                       struct loam_virt_range shown,
                                                       loam_virt image);

/**
 * Begin with nothing. Called by loam_init().
 *
 * @param window      as for loam_vrange_add_window()
 * @param purge_pages pages that may wait
 *
 * @return as loam_vrange_add_window()
 */
LOAM_NODISCARD enum loam_status loam_vmap_init(struct loam *mm, struct loam_virt_range window,
                                               uint64_t purge_pages);

/** @return NULL if sound: mapped is what should be, and nothing else in the window; else
 * the broken rule. Must be quiet. */
LOAM_NODISCARD const char *loam_vmap_audit(struct loam *mm);

/** @return digest of the ranges and of spare frames. Must be quiet. */
LOAM_NODISCARD uint64_t loam_vmap_digest(const struct loam *mm);

#ifdef __cplusplus
}
#endif
#endif
