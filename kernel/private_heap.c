/*
 * private_heap.c - see private_heap.h.
 */
#include "private_heap.h"

#include "log.h"
#include "memory.h"

static struct {
    struct loam_allocator_room room;
    struct loam_locked heap;
    size_t size_bytes;
} private;

struct loam_locked *private_heap_make(enum loam_allocator_kind kind, void *span, size_t size_bytes)
{
    struct loam_locked_options options = {
        .lock = memory.heap.options.lock,
        .debug = memory.heap.options.debug,
    };
    if (loam_allocator_init(&private.room, kind, span, size_bytes, &options.allocator) != LOAM_OK ||
        loam_locked_init(&private.heap, &options) != LOAM_OK)
        return NULL;
    private.size_bytes = size_bytes;
    return &private.heap;
}

bool private_heap_is_free(struct loam_locked *heap)
{
    const size_t most = private.size_bytes / 4 * 3;
    struct loam_locked_stats stats;
    void *block = loam_locked_alloc(heap, most, LOAM_MALLOC_ALIGN);
    if (block == NULL) {
        log_error("%zu bytes of %zu, all free, are not in one piece", most, private.size_bytes);
        return false;
    }
    loam_locked_free_sized(heap, block, most);
    if (heap->options.debug)
        loam_debug_flush(&heap->debug);
    loam_locked_measure(heap, &stats);
    const char *broken = loam_locked_audit(heap);
    if (broken != NULL)
        log_error("private heap: %s", broken);
    return broken == NULL && stats.heap.used_count == 0 && stats.heap.used_bytes == 0;
}
