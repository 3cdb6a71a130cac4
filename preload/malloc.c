/*
 * malloc.c - the malloc family.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../src/internal/heap_fast.h"
#include "../src/internal/heap_large.h"
#include "thread.h"

#define EXPORT __attribute__((visibility("default")))

uint64_t loam_x86_irq_save(void)
{
    return 0;
}

void loam_x86_irq_restore(uint64_t flags)
{
    (void)flags;
}

void loam_x86_pause(void)
{
    __builtin_ia32_pause();
}

void loam_port_panic(const struct loam_panic *panic)
{
    fprintf(stderr, "loam: %s (%#lx)\n", panic->rule, (unsigned long)panic->subject);
    abort();
}

static __attribute__((noinline)) void *malloc_slow(size_t size)
{
    struct loam_heap_cpu *const cpu = preload_thread_begin();
    void *const block = size > PTRDIFF_MAX ? NULL
                        : size <= LOAM_HEAP_SMALL_MAX
                            ? loam_heap_alloc_slow(&preload_heap, cpu, heap_class_of(size))
                            : loam_heap_large_alloc(&preload_heap, size, 1, NULL);
    if (block == NULL)
        errno = ENOMEM;
    return block;
}

EXPORT void *malloc(size_t size)
{
    struct loam_heap_cpu *const cpu = preload_cpu;
    if (HEAP_LIKELY(size <= LOAM_HEAP_TABLE_MAX)) {
        struct loam_magazine *const magazine = &cpu->magazine[heap_class_table[(size + 7) / 8]];
        if (HEAP_LIKELY(heap_fast_enter(cpu))) {
            void *const block = loam_magazine_pop(magazine);
            loam_guard_leave(&cpu->guard);
            if (HEAP_LIKELY(block != NULL))
                return block;
        }
    }
    return malloc_slow(size);
}

static __attribute__((noinline)) void free_slow(void *block)
{
    loam_heap_free_slow(&preload_heap, preload_thread_begin(), block);
}

EXPORT void free(void *block)
{
    struct loam_heap_cpu *const cpu = preload_cpu;
    size_t class_16;
    if (HEAP_LIKELY(heap_fast_find(&preload_heap, block, &class_16) && heap_fast_enter(cpu))) {
        const bool is_done = loam_magazine_push(heap_fast_magazine(cpu, class_16), block);
        loam_guard_leave(&cpu->guard);
        if (HEAP_LIKELY(is_done))
            return;
    }
    free_slow(block);
}

EXPORT void *calloc(size_t count, size_t size)
{
    preload_thread_begin();
    void *const block = loam_heap_calloc(&preload_heap, count, size);
    if (block == NULL)
        errno = ENOMEM;
    return block;
}

EXPORT void *realloc(void *block, size_t size)
{
    preload_thread_begin();
    void *const moved = size > PTRDIFF_MAX ? NULL : loam_heap_realloc(&preload_heap, block, size);
    if (moved == NULL)
        errno = ENOMEM;
    return moved;
}

EXPORT void *memalign(size_t align, size_t size)
{
    preload_thread_begin();
    void *const block =
        size > PTRDIFF_MAX ? NULL : loam_heap_alloc_aligned(&preload_heap, align, size);
    if (block == NULL)
        errno = ENOMEM;
    return block;
}

EXPORT void *aligned_alloc(size_t align, size_t size)
{
    return memalign(align, size);
}

EXPORT int posix_memalign(void **out, size_t align, size_t size)
{
    void *block = memalign(align, size);
    if (block == NULL)
        return ENOMEM;
    *out = block;
    return 0;
}

EXPORT size_t malloc_usable_size(void *block)
{
    return loam_heap_usable(&preload_heap, block);
}
