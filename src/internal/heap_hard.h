/*
 * heap_hard.h - what LOAM_HEAP_HARDENED adds to every block; see heap_hard.c. In the other
 * mode all of it is nothing.
 */
#ifndef LOAM_INTERNAL_HEAP_HARD_H
#define LOAM_INTERNAL_HEAP_HARD_H

#include <loam/heap.h>

/* A call, so that no compiler calls the other mode's code unreachable. */
#define HEAP_IS_HARDENED heap_is_hardened()
static inline bool heap_is_hardened(void)
{
    return LOAM_HEAP_MODE == LOAM_HEAP_HARDENED;
}

/* Pages of a host can be made inaccessible one by one; those of the HHDM cannot. */
#define HEAP_HAS_GUARDS (HEAP_IS_HARDENED && LOAM_PAGEMAP_FLAT)

#define HEAP_WRITTEN_PAST  "heap: written past the end"
#define HEAP_WRITTEN_FREED "heap: written after free"

/* Free pages are zeroes. A host takes care that they still are, when they are taken, and
 * drops what is in more pages than these by itself, when they are given back. */
#define HEAP_WIPE_PAGES_MAX 64u

struct loam_heap_large;

/* ---- small blocks --------------------------------------------------------------- */

#if LOAM_HEAP_MODE == LOAM_HEAP_HARDENED

/** Hand a slot of a class out as a block of so many bytes, all zero. @return the block */
void *loam_hard_begin(struct loam_heap *heap, void *slot, unsigned class, size_t size_bytes);
/** Take a block of a class back: it must be live, and sound; else panics. Then it is zeroes. */
void loam_hard_end(struct loam_heap *heap, void *block, unsigned class);
/** What heap_fast_alloc() does not have at hand. @param cpu pinned; may be NULL */
LOAM_NODISCARD void *loam_hard_alloc_slow(struct loam_heap *heap, struct loam_heap_cpu *cpu,
                                          size_t size_bytes);
/** Bytes of a block as they were asked for; what is not one, or is free, panics. */
LOAM_NODISCARD size_t loam_hard_usable(const struct loam_heap *heap, const void *block);

/** Are these all zeroes? @param size_bytes multiple of 16 */
LOAM_NODISCARD bool loam_hard_is_zero(const void *start, size_t size_bytes);

/* ---- large blocks --------------------------------------------------------------- */

LOAM_NODISCARD void *loam_hard_large_alloc(struct loam_heap *heap, size_t size_bytes, size_t align);
/** Before its pages are given back: out of the page map; sound, or panics; emptied.
 * @return true: they are kept for another sampled block */
LOAM_NODISCARD bool loam_hard_large_end(struct loam_heap *heap, struct loam_heap_large *large);

/* ---- CPUs ------------------------------------------------------------------------ */

/* The upper half is random enough for places. (D. Knuth, TAOCP 3.3.4, table 1, line 26.) */
static inline uint32_t heap_hard_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*state >> 32);
}

/* @return 0..bound - 1 */
static inline uint32_t heap_hard_below(uint64_t *state, uint32_t bound)
{
    return (uint32_t)((uint64_t)heap_hard_random(state) * bound >> 32);
}

/* Blocks of a class that are held back: 32 KiB of them, but 1..LOAM_HEAP_HELD. */
static inline uint32_t heap_hard_held(unsigned class)
{
    return class <= 41 ? LOAM_HEAP_HELD : class <= 45 ? 4 : class <= 49 ? 2 : 1;
}

/* Any one of the newest of a magazine: the memory of older ones is cold. @return NULL: it is
 * empty, or the next block is to be a sampled one */
static inline void *heap_hard_pop(struct loam_heap_cpu *cpu, struct loam_magazine *magazine)
{
    void **const top = magazine->top;
    void **const base = magazine->limit - (size_t)(uintptr_t)magazine->limit[1];

    if (__builtin_expect(top == base || cpu->hard.countdown == 0, 0))
        return NULL;
    cpu->hard.countdown -= HEAP_HAS_GUARDS;
    const uint32_t count = (uint32_t)(top - base);
    const uint32_t window = count < LOAM_HEAP_HELD ? count : LOAM_HEAP_HELD;
    void **const place = top - heap_hard_below(&cpu->hard.random, window);
    void *const block = *place;
    *place = *top;
    magazine->top = top - 1;
    return block;
}

/* Hold a block back in the place of another. @return that one; NULL: there was none */
static inline void *heap_hard_hold(struct loam_heap_cpu *cpu, unsigned class, void *block)
{
    void **const place =
        &cpu->hard.held[class][heap_hard_below(&cpu->hard.random, heap_hard_held(class))];
    void *const out = *place;

    *place = block;
    return out;
}

/** Change the size of a block in its place. @return false: it needs another one */
LOAM_NODISCARD bool loam_hard_resize(struct loam_heap *heap, void *block, size_t size_bytes);
/** Seeds of a new heap, and of a new CPU. */
void loam_hard_init(struct loam_heap *heap, uint64_t seed);
void loam_hard_cpu_init(const struct loam_heap *heap, struct loam_heap_cpu *cpu);
/** Give back what a CPU holds back. Inside its guard, or while it is not in the heap. */
void loam_hard_cpu_drop(struct loam_heap *heap, struct loam_heap_cpu *cpu);

#else

static inline void *heap_hard_pop(struct loam_heap_cpu *cpu, struct loam_magazine *magazine)
{
    (void)cpu;
    return loam_magazine_pop(magazine);
}

static inline void *heap_hard_hold(struct loam_heap_cpu *cpu, unsigned class, void *block)
{
    (void)cpu, (void)class;
    return block;
}

LOAM_NODISCARD static inline bool loam_hard_resize(struct loam_heap *heap, void *block,
                                                   size_t size_bytes)
{
    (void)heap, (void)block, (void)size_bytes;
    return false;
}

static inline void loam_hard_init(struct loam_heap *heap, uint64_t seed)
{
    (void)heap, (void)seed;
}

static inline void loam_hard_cpu_init(const struct loam_heap *heap, struct loam_heap_cpu *cpu)
{
    (void)heap, (void)cpu;
}

static inline void loam_hard_cpu_drop(struct loam_heap *heap, struct loam_heap_cpu *cpu)
{
    (void)heap, (void)cpu;
}

/* Not called: who calls them asks HEAP_IS_HARDENED first. But without optimisation they have
 * to be there. */

static inline void *loam_hard_begin(struct loam_heap *heap, void *slot, unsigned class,
                                    size_t size_bytes)
{
    (void)heap, (void)class, (void)size_bytes;
    return slot;
}

static inline void loam_hard_end(struct loam_heap *heap, void *block, unsigned class)
{
    (void)heap, (void)block, (void)class;
}

static inline void *loam_hard_alloc_slow(struct loam_heap *heap, struct loam_heap_cpu *cpu,
                                         size_t size_bytes)
{
    (void)heap, (void)cpu, (void)size_bytes;
    return NULL;
}

static inline size_t loam_hard_usable(const struct loam_heap *heap, const void *block)
{
    (void)heap, (void)block;
    return 0;
}

static inline bool loam_hard_is_zero(const void *start, size_t size_bytes)
{
    (void)start, (void)size_bytes;
    return true;
}

static inline void *loam_hard_large_alloc(struct loam_heap *heap, size_t size_bytes, size_t align)
{
    (void)heap, (void)size_bytes, (void)align;
    return NULL;
}

static inline bool loam_hard_large_end(struct loam_heap *heap, struct loam_heap_large *large)
{
    (void)heap, (void)large;
    return false;
}

#endif
#endif
