/*
 * locked.c - see locked.h.
 */
#include <loam/locked.h>

#include <loam/x86.h>

#include "internal/digest.h"

/* ---- the lock ------------------------------------------------------------ */

/* One capability for the analyser, whichever lock stands behind it. */
loam_irq_state loam_locked_acquire(struct loam_locked *locked) LOAM_UNCHECKED
{
    const bool leave = locked->options.leave_interrupts;

    switch (locked->options.lock) {
    case LOAM_LOCKED_TICKET:
        if (!leave)
            return loam_ticketlock_acquire_irq(&locked->ticket);
        loam_ticketlock_acquire(&locked->ticket);
        return 0;
    case LOAM_LOCKED_SPIN:
        if (!leave)
            return loam_spinlock_acquire_irq(&locked->spin);
        loam_spinlock_acquire(&locked->spin);
        return 0;
    case LOAM_LOCKED_BY_CALLER:
        return locked->options.caller_lock->acquire(locked->options.caller_lock);
    case LOAM_LOCKED_NOT:
        break;
    }
    return leave ? 0 : loam_x86_irq_save();
}

void loam_locked_release(struct loam_locked *locked, loam_irq_state state) LOAM_UNCHECKED
{
    const bool leave = locked->options.leave_interrupts;

    switch (locked->options.lock) {
    case LOAM_LOCKED_TICKET:
        if (leave)
            loam_ticketlock_release(&locked->ticket);
        else
            loam_ticketlock_release_irq(&locked->ticket, state);
        return;
    case LOAM_LOCKED_SPIN:
        if (leave)
            loam_spinlock_release(&locked->spin);
        else
            loam_spinlock_release_irq(&locked->spin, state);
        return;
    case LOAM_LOCKED_BY_CALLER:
        locked->options.caller_lock->release(locked->options.caller_lock, state);
        return;
    case LOAM_LOCKED_NOT:
        break;
    }
    if (!leave)
        loam_x86_irq_restore(state);
}

enum loam_status loam_locked_init(struct loam_locked *locked,
                                  const struct loam_locked_options *options)
{
    const struct loam_caller_lock *lock = options->caller_lock;
    const bool by_caller = options->lock == LOAM_LOCKED_BY_CALLER;

    if ((unsigned)options->lock > LOAM_LOCKED_NOT || by_caller != (lock != NULL))
        return LOAM_INVALID;
    if (by_caller && (lock->acquire == NULL || lock->release == NULL))
        return LOAM_INVALID;
    const struct loam_locked_options copy = *options; /* may lie in *locked */
    __builtin_memset(locked, 0, sizeof(*locked));
    locked->options = copy;
    if (copy.debug)
        loam_debug_init(&locked->debug, &copy.allocator);
    return LOAM_OK;
}

/* ---- with the lock held -------------------------------------------------- */

static void *locked_count_alloc_locked(struct loam_locked *locked, void *block) LOAM_NEEDS(*locked)
{
    if (block == NULL)
        locked->refusal_count++;
    else
        locked->alloc_count++;
    return block;
}

static void *locked_alloc_locked(struct loam_locked *locked, size_t size_bytes, size_t align,
                                 loam_virt site) LOAM_NEEDS(*locked)
{
    void *block = locked->options.debug
                      ? loam_debug_alloc(&locked->debug, size_bytes, align, site)
                      : loam_allocator_alloc(&locked->options.allocator, size_bytes, align);

    return locked_count_alloc_locked(locked, block);
}

static void *locked_realloc_locked(struct loam_locked *locked, void *block,
                                   const struct loam_resize *resize, loam_virt site)
    LOAM_NEEDS(*locked)
{
    void *moved = locked->options.debug
                      ? loam_debug_realloc(&locked->debug, block, resize, site)
                      : loam_allocator_realloc(&locked->options.allocator, block, resize);

    if (block == NULL)
        return locked_count_alloc_locked(locked, moved);
    if (moved == NULL)
        locked->refusal_count++;
    else
        locked->realloc_count++;
    return moved;
}

static void locked_free_locked(struct loam_locked *locked, void *block, loam_virt site)
    LOAM_NEEDS(*locked)
{
    if (locked->options.debug)
        loam_debug_free(&locked->debug, block, site);
    else
        loam_allocator_free(&locked->options.allocator, block);
    locked->free_count++;
}

static void locked_free_sized_locked(struct loam_locked *locked, void *block, size_t size_bytes,
                                     loam_virt site) LOAM_NEEDS(*locked)
{
    if (locked->options.debug)
        loam_debug_free_sized(&locked->debug, block, size_bytes, site);
    else
        loam_allocator_free_sized(&locked->options.allocator, block, size_bytes);
    locked->free_count++;
}

static size_t locked_usable_locked(struct loam_locked *locked, const void *block)
    LOAM_NEEDS(*locked)
{
    return locked->options.debug ? loam_debug_usable(&locked->debug, block)
                                 : loam_allocator_usable(&locked->options.allocator, block);
}

static const char *locked_audit_locked(const struct loam_locked *locked) LOAM_NEEDS(*locked)
{
    return locked->options.debug ? loam_debug_audit(&locked->debug)
                                 : loam_allocator_audit(&locked->options.allocator);
}

static uint64_t locked_digest_locked(const struct loam_locked *locked) LOAM_NEEDS(*locked)
{
    uint64_t digest = locked->options.debug ? loam_debug_digest(&locked->debug)
                                            : loam_allocator_digest(&locked->options.allocator);

    digest = loam_digest_add(digest, locked->alloc_count);
    digest = loam_digest_add(digest, locked->free_count);
    return loam_digest_add(digest, locked->realloc_count);
}

/* ---- public, with a site ------------------------------------------------- */

void *loam_locked_alloc_at(struct loam_locked *locked, size_t size_bytes, size_t align,
                           loam_virt site)
{
    const loam_irq_state state = loam_locked_acquire(locked);
    void *block = locked_alloc_locked(locked, size_bytes, align, site);

    loam_locked_release(locked, state);
    return block;
}

void *loam_locked_calloc_at(struct loam_locked *locked, size_t count, size_t size_bytes,
                            size_t align, loam_virt site)
{
    size_t total_bytes = 0;
    const bool wraps = __builtin_mul_overflow(count, size_bytes, &total_bytes);
    void *block = loam_locked_alloc_at(locked, wraps ? SIZE_MAX : total_bytes, align, site);

    if (block != NULL)
        __builtin_memset(block, 0, total_bytes);
    return block;
}

void loam_locked_free_at(struct loam_locked *locked, void *block, loam_virt site)
{
    if (block == NULL)
        return;
    const loam_irq_state state = loam_locked_acquire(locked);
    locked_free_locked(locked, block, site);
    loam_locked_release(locked, state);
}

void loam_locked_free_sized_at(struct loam_locked *locked, void *block, size_t size_bytes,
                               loam_virt site)
{
    if (block == NULL)
        return;
    const loam_irq_state state = loam_locked_acquire(locked);
    locked_free_sized_locked(locked, block, size_bytes, site);
    loam_locked_release(locked, state);
}

void *loam_locked_realloc_at(struct loam_locked *locked, void *block,
                             const struct loam_resize *resize, loam_virt site)
{
    const loam_irq_state state = loam_locked_acquire(locked);
    void *moved = locked_realloc_locked(locked, block, resize, site);

    loam_locked_release(locked, state);
    return moved;
}

/* ---- public -------------------------------------------------------------- */

/* Not inlined into the library: the return address is then the caller's. */
#define LOCKED_SITE     loam_virt_of(__builtin_return_address(0))
#define LOCKED_NOINLINE __attribute__((noinline))

LOCKED_NOINLINE void *loam_locked_alloc(struct loam_locked *locked, size_t size_bytes, size_t align)
{
    return loam_locked_alloc_at(locked, size_bytes, align, LOCKED_SITE);
}

LOCKED_NOINLINE void *loam_locked_calloc(struct loam_locked *locked, size_t count,
                                         size_t size_bytes, size_t align)
{
    return loam_locked_calloc_at(locked, count, size_bytes, align, LOCKED_SITE);
}

LOCKED_NOINLINE void loam_locked_free(struct loam_locked *locked, void *block)
{
    loam_locked_free_at(locked, block, LOCKED_SITE);
}

LOCKED_NOINLINE void loam_locked_free_sized(struct loam_locked *locked, void *block,
                                            size_t size_bytes)
{
    loam_locked_free_sized_at(locked, block, size_bytes, LOCKED_SITE);
}

LOCKED_NOINLINE void *loam_locked_realloc(struct loam_locked *locked, void *block,
                                          const struct loam_resize *resize)
{
    return loam_locked_realloc_at(locked, block, resize, LOCKED_SITE);
}

size_t loam_locked_usable(struct loam_locked *locked, const void *block)
{
    const loam_irq_state state = loam_locked_acquire(locked);
    const size_t size_bytes = locked_usable_locked(locked, block);

    loam_locked_release(locked, state);
    return size_bytes;
}

void loam_locked_measure(struct loam_locked *locked, struct loam_locked_stats *out)
{
    struct loam_locked_stats stats;
    const loam_irq_state state = loam_locked_acquire(locked);

    loam_allocator_measure(&locked->options.allocator, &stats.heap);
    stats.alloc_count = locked->alloc_count;
    stats.free_count = locked->free_count;
    stats.realloc_count = locked->realloc_count;
    stats.refusal_count = locked->refusal_count;
    loam_locked_release(locked, state);
    *out = stats;
}

const char *loam_locked_audit(struct loam_locked *locked)
{
    const loam_irq_state state = loam_locked_acquire(locked);
    const char *fault = locked_audit_locked(locked);

    loam_locked_release(locked, state);
    return fault;
}

uint64_t loam_locked_digest(struct loam_locked *locked)
{
    const loam_irq_state state = loam_locked_acquire(locked);
    const uint64_t digest = locked_digest_locked(locked);

    loam_locked_release(locked, state);
    return digest;
}
