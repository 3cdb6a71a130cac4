/*
 * heap_hard.c - a heap that notices what is done to it; see heap.h, LOAM_HEAP_HARDENED.
 *
 *     slot          | block ............ | 0 pad pad .. | 0 canary |
 *                      size as asked for     slack 0..      8 bytes
 *     slot's way    block --end--> held back --> magazine --> slab, or --begin--> block
 *                           a random one of 8   of the newest 8   from any bit on
 *
 *     large         | guard | pad .. | block ........ | pad .. | guard |
 *                   a page             ends at a page, as well as its alignment allows
 *
 * canary = (secret ^ place << 8 ^ slack << 8), but 0 as its lowest byte: the terminator of a
 * string that is one too long for its block changes nothing. A free exchanges the canary for
 * 0 by one instruction before anything else happens: of two CPUs that free the same block
 * one finds the 0, and panics. What is not live is zeroes, and is looked at when it is handed
 * out: what was written to it in between panics there, and nobody finds what was in it before.
 *
 * A canary stops accidents, and who can only write; who can read the heap can forge it.
 */
#include <loam/heap.h>

#include "internal/check.h"
#include "internal/heap_fast.h"
#include "internal/heap_large.h"
#include "internal/heap_pages.h"
#include "internal/inject.h"
#include "internal/slab_head.h"

#if LOAM_HEAP_MODE == LOAM_HEAP_HARDENED

#include <stdatomic.h>

#define HARD_PAD         0xa5u
#define HARD_PADS        (UINT64_MAX / 255 * HARD_PAD)
#define HARD_FRESH_MIN   4096u          /* bytes: slots of more are not looked at the first time */
#define HARD_SAMPLED_MIN sizeof(void *) /* what frees it later links it */
#define HARD_SAMPLES_MAX 256u           /* blocks with pages of their own, at a time */

/* ---- random numbers --------------------------------------------------------------- */

/* A permutation without a pattern. (G. Steele, D. Lea, C. Flood, Fast splittable
 * pseudorandom number generators, 2014.) */
static uint64_t hard_mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* One of many streams of a seed; never 0. */
static uint64_t hard_stream(uint64_t seed, uint64_t which)
{
    return hard_mix(hard_mix(seed) + which) | 1;
}

void loam_hard_init(struct loam_heap *heap, uint64_t seed)
{
    const uint64_t base = seed != 0 ? seed : loam_virt_of(heap).addr ^ heap->map.start;

    heap->is_weak = seed == 0;
    heap->secret = hard_stream(base, 0);
    for (unsigned class = 1; class < LOAM_HEAP_CLASSES; class ++)
        heap->cache[class].random = hard_stream(base, class);
}

bool loam_heap_is_weak(const struct loam_heap *heap)
{
    return heap->is_weak;
}

static uint32_t hard_countdown(struct loam_heap_cpu *cpu)
{
    return 1 + heap_hard_below(&cpu->hard.random, 2 * LOAM_HEAP_SAMPLE - 1);
}

void loam_hard_cpu_init(const struct loam_heap *heap, struct loam_heap_cpu *cpu)
{
    cpu->hard.random = hard_stream(heap->secret, LOAM_HEAP_CLASSES + cpu->index);
    cpu->hard.countdown = hard_countdown(cpu);
}

void loam_hard_cpu_drop(struct loam_heap *heap, struct loam_heap_cpu *cpu)
{
    for (unsigned class = 1; class < LOAM_HEAP_CLASSES; class ++) {
        for (unsigned i = 0; i < LOAM_HEAP_HELD; i++) {
            void *const slot = cpu->hard.held[class][i];
            cpu->hard.held[class][i] = NULL;
            if (slot != NULL)
                loam_slab_put(&heap->cache[class], &slot, 1);
        }
    }
}

/* ---- bytes ------------------------------------------------------------------------ */

/* As wide as the machine's registers are, where the compiler may use them. */
typedef uint64_t hard_words __attribute__((vector_size(16), aligned(8), may_alias));
#define HARD_WORDS sizeof(hard_words)

static inline hard_words hard_words_at(const void *start, size_t offset)
{
    return *(const hard_words *)(const void *)((const uint8_t *)start + offset);
}

/* Some bytes twice rather than a branch for each number of them: sizes follow no pattern.
 * @param size_bytes multiple of 16 */
static inline bool hard_is_zero(const void *start, size_t size_bytes)
{
    hard_words any = { 0, 0 };
    size_t at = 0;

    if (size_bytes == 0)
        return true;
    for (; size_bytes - at > 4 * HARD_WORDS; at += 4 * HARD_WORDS)
        any |= hard_words_at(start, at) | hard_words_at(start, at + HARD_WORDS) |
               hard_words_at(start, at + 2 * HARD_WORDS) |
               hard_words_at(start, at + 3 * HARD_WORDS);
    const size_t last = size_bytes - HARD_WORDS;
    const size_t second = at + HARD_WORDS < last ? at + HARD_WORDS : last;
    const size_t third = at + 2 * HARD_WORDS < last ? at + 2 * HARD_WORDS : last;
    any |= hard_words_at(start, at) | hard_words_at(start, second) | hard_words_at(start, third) |
           hard_words_at(start, last);
    return (any[0] | any[1]) == 0;
}

bool loam_hard_is_zero(const void *start, size_t size_bytes)
{
    return hard_is_zero(start, size_bytes);
}

/* Let the system fill a page that it has not filled yet: not with one that is only read. */
static inline void hard_touch(void *word)
{
    /* "memory": a word that other CPUs may write; "cc": the flags of OR. */
    __asm__ volatile("orq $0, (%0)" : : "r"(word) : "memory", "cc");
}

/* Of a slot. @param size_bytes multiple of 16 */
static inline void hard_wipe(void *start, size_t size_bytes)
{
    const hard_words none = { 0, 0 };
    uint8_t *const at = start;
    const size_t last = size_bytes - HARD_WORDS;

    if (size_bytes > 4 * HARD_WORDS) {
        __builtin_memset(start, 0, size_bytes);
        return;
    }
    *(hard_words *)(void *)at = none;
    *(hard_words *)(void *)(at + (HARD_WORDS < last ? HARD_WORDS : last)) = none;
    *(hard_words *)(void *)(at + (2 * HARD_WORDS < last ? 2 * HARD_WORDS : last)) = none;
    *(hard_words *)(void *)(at + last) = none;
}

/*
 * Behind a block, up to a multiple of 8: a byte 0, which may become the end of a string, and
 * others. Sizes follow no pattern, so that each branch on one would cost more than all the
 * rest: up to 16 bytes are two words, whatever is changed in them.
 */

/* The last bytes of a word, 0..8. */
static inline uint64_t hard_last(size_t count)
{
    return ~(UINT64_MAX >> 4 * count >> 4 * count);
}

/* Two words, the second one last. */
struct hard_pad {
    uint64_t mask[2], value[2];
};

/* @param size_bytes 0..16 */
static inline struct hard_pad hard_pad_of(size_t size_bytes)
{
    const size_t after = size_bytes - (size_bytes != 0); /* the 0 */
    const struct hard_pad pad = {
        { hard_last(size_bytes > 8 ? size_bytes - 8 : 0),
          hard_last(size_bytes > 8 ? 8 : size_bytes) },
        { HARD_PADS & hard_last(after > 8 ? after - 8 : 0),
          HARD_PADS & hard_last(after > 8 ? 8 : after) },
    };
    return pad;
}

/* Where more than two words are the pad, it begins with those two. */
static inline size_t hard_pad_rest(size_t size_bytes)
{
    return size_bytes <= 16 ? 0 : (size_bytes - 9) / 8 * 8;
}

/* @param start of the slot: nothing before it is touched */
static inline void hard_pad(void *start, uint8_t *end, size_t size_bytes)
{
    uint64_t *word = (uint64_t *)(void *)end;
    const size_t rest = hard_pad_rest(size_bytes);
    const struct hard_pad pad = hard_pad_of(size_bytes - rest);

    for (size_t i = 0; i < rest; i += sizeof(*word))
        *--word = HARD_PADS;
    word--;
    uint64_t *const first = word == start ? word : word - 1; /* then of no bytes */
    *first = (*first & ~pad.mask[0]) | pad.value[0];
    *word = (*word & ~pad.mask[1]) | pad.value[1];
}

static inline bool hard_is_padded(const void *start, const uint8_t *end, size_t size_bytes)
{
    const uint64_t *word = (const uint64_t *)(const void *)end;
    const size_t rest = hard_pad_rest(size_bytes);
    const struct hard_pad pad = hard_pad_of(size_bytes - rest);
    uint64_t change = 0;

    for (size_t i = 0; i < rest; i += sizeof(*word))
        change |= *--word ^ HARD_PADS;
    word--;
    const uint64_t *const first = word == start ? word : word - 1;
    change |= (*first ^ pad.value[0]) & pad.mask[0];
    change |= (*word ^ pad.value[1]) & pad.mask[1];
    return change == 0;
}

/* ---- slots ------------------------------------------------------------------------ */

static inline uint64_t *hard_canary_of(void *slot, size_t bytes)
{
    return (uint64_t *)(void *)((uint8_t *)slot + (bytes - LOAM_HEAP_TAIL));
}

static inline uint64_t hard_canary(const struct loam_heap *heap, const void *slot)
{
    return heap->secret ^ loam_virt_of(slot).addr << 8;
}

/* The end of a live block tells its size. */
static inline void hard_seal(const struct loam_heap *heap, void *slot, size_t bytes,
                             size_t size_bytes)
{
    const uint64_t slack = bytes - LOAM_HEAP_TAIL - size_bytes;

    hard_pad(slot, (uint8_t *)slot + (bytes - LOAM_HEAP_TAIL), slack);
    *hard_canary_of(slot, bytes) = (hard_canary(heap, slot) ^ slack << 8) & ~UINT64_C(0xff);
}

/* @return the block's size; panics if its end has changed */
static inline size_t hard_unseal(const struct loam_heap *heap, void *slot, size_t bytes,
                                 uint64_t canary)
{
    const uint64_t slack = (canary ^ hard_canary(heap, slot)) >> 8;
    const size_t most = bytes - LOAM_HEAP_TAIL;
    const uint64_t at = loam_virt_of(slot).addr;

    LOAM_REQUIRE(canary != 0, HEAP_TWICE, at, bytes);
    LOAM_REQUIRE((canary & 0xff) == 0 && slack <= most &&
                     hard_is_padded(slot, (uint8_t *)slot + most, slack),
                 HEAP_WRITTEN_PAST, at, bytes);
    return most - slack;
}

/* Has it never been handed out since its slab was made? From now on it has. */
static bool hard_was_fresh(const struct loam_heap *heap, const void *slot)
{
    const uint64_t at = loam_virt_of(slot).addr;
    struct loam_slab *const slab =
        loam_pagemap_record(&heap->map, loam_pagemap_look(&heap->map, at));
    const uint64_t bit = UINT64_C(1) << ((at - slab->first) * slab->cache->inverse >> 32 & 63);

    return (atomic_fetch_and(&slab->fresh, ~bit) & bit) != 0;
}

void *loam_hard_begin(struct loam_heap *heap, void *slot, unsigned class, size_t size_bytes)
{
    const size_t bytes = heap_kinds[class].bytes;

    if (HEAP_LIKELY(bytes <= HARD_FRESH_MIN)) {
        uint64_t *const last = hard_canary_of(slot, bytes);
        hard_touch(last); /* and loaded as it was stored */
        LOAM_REQUIRE(hard_is_zero(slot, bytes - HARD_WORDS) && (last[-1] | last[0]) == 0,
                     HEAP_WRITTEN_FREED, loam_virt_of(slot).addr, bytes);
    } else {
        LOAM_REQUIRE(hard_was_fresh(heap, slot) || hard_is_zero(slot, bytes), HEAP_WRITTEN_FREED,
                     loam_virt_of(slot).addr, bytes);
    }
    hard_seal(heap, slot, bytes, size_bytes);
    return slot;
}

void loam_hard_end(struct loam_heap *heap, void *block, unsigned class)
{
    const size_t bytes = heap_kinds[class].bytes;
    const uint64_t canary = __atomic_exchange_n(hard_canary_of(block, bytes), 0, __ATOMIC_SEQ_CST);

    (void)hard_unseal(heap, block, bytes, canary);
    hard_wipe(block, bytes);
}

/* ---- large and sampled blocks ------------------------------------------------------ */

/* First byte behind the pages that the block lies in. */
static uint64_t hard_large_end(const struct loam_heap_large *large)
{
    return large->start + (large->page_count - HEAP_HAS_GUARDS) * LOAM_PAGE_SIZE;
}

static uint64_t hard_large_page(const struct loam_heap_large *large)
{
    return large->block & ~(LOAM_PAGE_SIZE - 1);
}

/* @return is it one now? */
static bool hard_guard_page(struct loam_heap *heap, uint64_t page, bool was_guard, bool is_guard)
{
    if (!HEAP_HAS_GUARDS || was_guard == is_guard)
        return was_guard;
    if (loam_heap_pages_guard(&heap->map, (void *)(uintptr_t)page, is_guard))
        return is_guard;
    atomic_fetch_add(&heap->unguarded_count, 1);
    return was_guard;
}

static void hard_guard_back(struct loam_heap *heap, struct loam_heap_large *large, bool is_guard)
{
    large->has_back = hard_guard_page(heap, hard_large_end(large), large->has_back, is_guard);
}

static void hard_guard(struct loam_heap *heap, struct loam_heap_large *large, bool is_guard)
{
    if (hard_large_page(large) != large->start)
        large->has_front = hard_guard_page(heap, large->start, large->has_front, is_guard);
    hard_guard_back(heap, large, is_guard);
}

/* What is left of the first and the last page. */
static void hard_large_seal(const struct loam_heap_large *large)
{
    const uint64_t page = hard_large_page(large), end = large->block + large->size_bytes;

    __builtin_memset((void *)(uintptr_t)page, HARD_PAD, large->block - page);
    hard_pad((void *)(uintptr_t)page, (uint8_t *)(uintptr_t)hard_large_end(large),
             hard_large_end(large) - end);
}

static bool hard_large_is_sound(const struct loam_heap_large *large)
{
    const uint8_t *const page = (const uint8_t *)(uintptr_t)hard_large_page(large);
    const uint64_t end = large->block + large->size_bytes;

    for (const uint8_t *at = page; loam_virt_of(at).addr < large->block; at++) {
        if (*at != HARD_PAD)
            return false;
    }
    return hard_is_padded(page, (const uint8_t *)(uintptr_t)hard_large_end(large),
                          hard_large_end(large) - end);
}

/* The block's own page, behind a guard page, is to be found. */
static void hard_large_mark(struct loam_heap *heap, const struct loam_heap_large *large,
                            unsigned kind)
{
    const struct loam_pagemap_mark mark = { hard_large_page(large), 1, kind,
                                            kind == LOAM_PAGEMAP_NOTHING ? NULL : large };
    loam_pagemap_set(&heap->map, &mark);
}

/* Where a block of so many bytes goes: before a guard, as its alignment allows. */
static void hard_large_place(struct loam_heap_large *large, size_t size_bytes, size_t align)
{
    const uint64_t step = align < LOAM_HEAP_ALIGN ? LOAM_HEAP_ALIGN : align;

    large->block =
        HEAP_HAS_GUARDS ? (hard_large_end(large) - size_bytes) & ~(step - 1) : large->start;
    large->size_bytes = size_bytes;
}

static void *hard_large_begin(struct loam_heap *heap, struct loam_heap_large *large,
                              size_t size_bytes, size_t align)
{
    hard_large_place(large, size_bytes, align);
    hard_large_seal(large);
    if (hard_large_page(large) != large->start)
        hard_large_mark(heap, large, LOAM_PAGEMAP_LARGE);
    return (void *)(uintptr_t)large->block;
}

/* Pages between guard pages. @return NULL: no memory */
static struct loam_heap_large *hard_large_make(struct loam_heap *heap, size_t size_bytes,
                                               size_t align)
{
    const uint64_t guards = !HEAP_HAS_GUARDS ? 0 : align <= LOAM_PAGE_SIZE ? 2 : 1;
    const uint64_t page_count = heap_pages_of(size_bytes) + guards;
    bool is_zeroed;
    struct loam_heap_large *const large =
        loam_heap_large_make(heap, page_count * LOAM_PAGE_SIZE, align, &is_zeroed);

    if (large == NULL)
        return NULL;
    hard_large_place(large, size_bytes, align);
    if (hard_large_page(large) != large->start &&
        loam_pagemap_prepare(&heap->map, hard_large_page(large), 1) != LOAM_OK) {
        loam_heap_large_unmake(heap, large);
        return NULL;
    }
    if (!is_zeroed)
        __builtin_memset((void *)(uintptr_t)hard_large_page(large), 0,
                         hard_large_end(large) - hard_large_page(large));
    hard_guard(heap, large, true);
    return large;
}

void *loam_hard_large_alloc(struct loam_heap *heap, size_t size_bytes, size_t align)
{
    if (size_bytes > UINT64_MAX / 4)
        return NULL;
    struct loam_heap_large *const large = hard_large_make(heap, size_bytes, align);
    return large == NULL ? NULL : hard_large_begin(heap, large, size_bytes, align);
}

/* A page between guard pages that was used before. @return NULL: none */
static struct loam_heap_large *hard_sample_take(struct loam_heap *heap, bool *may_make)
{
    const loam_irq_state irq = loam_spinlock_acquire_irq(&heap->large_lock);
    struct loam_heap_large *const large = heap->sample;

    *may_make = large == NULL && heap->sample_count < HARD_SAMPLES_MAX;
    if (large != NULL)
        heap->sample = large->sample_next;
    heap->sample_count += *may_make;
    loam_spinlock_release_irq(&heap->large_lock, irq);
    return large;
}

static void hard_sample_keep(struct loam_heap *heap, struct loam_heap_large *large)
{
    const loam_irq_state irq = loam_spinlock_acquire_irq(&heap->large_lock);

    large->sample_next = heap->sample;
    heap->sample = large;
    loam_spinlock_release_irq(&heap->large_lock, irq);
}

/* A small block that has a page of its own. @return NULL: not now */
static void *hard_sample(struct loam_heap *heap, size_t size_bytes)
{
    bool may_make;

    if (!HEAP_HAS_GUARDS || size_bytes < HARD_SAMPLED_MIN || size_bytes > LOAM_PAGE_SIZE)
        return NULL;
    struct loam_heap_large *large = hard_sample_take(heap, &may_make);
    if (large != NULL)
        LOAM_REQUIRE(hard_is_zero((void *)(uintptr_t)hard_large_page(large), LOAM_PAGE_SIZE),
                     HEAP_WRITTEN_FREED, hard_large_page(large), LOAM_PAGE_SIZE);
    else if (may_make)
        large = hard_large_make(heap, LOAM_PAGE_SIZE, 1);
    if (large == NULL)
        return NULL;
    large->is_sampled = true;
    return hard_large_begin(heap, large, size_bytes, 1);
}

/* Of two CPUs that free a block one finds it gone. Without a guard page in front of it, it is
 * the first page that goes, when the pages are given back. */
static void hard_large_unmark(struct loam_heap *heap, struct loam_heap_large *large)
{
    const uint64_t page = hard_large_page(large);

    if (page == large->start)
        return;
    const loam_irq_state irq = loam_spinlock_acquire_irq(&heap->large_lock);
    const uint64_t entry = loam_pagemap_look(&heap->map, page);
    LOAM_REQUIRE(loam_pagemap_kind(entry) == LOAM_PAGEMAP_LARGE &&
                     loam_pagemap_record(&heap->map, entry) == large,
                 HEAP_TWICE, large->block, 0);
    hard_large_mark(heap, large, LOAM_PAGEMAP_NOTHING);
    loam_spinlock_release_irq(&heap->large_lock, irq);
}

bool loam_hard_large_end(struct loam_heap *heap, struct loam_heap_large *large)
{
    const uint64_t page = hard_large_page(large);

    hard_large_unmark(heap, large);
    LOAM_REQUIRE(hard_large_is_sound(large), HEAP_WRITTEN_PAST, large->block, large->size_bytes);
    if (!HEAP_HAS_GUARDS || large->page_count <= HEAP_WIPE_PAGES_MAX)
        __builtin_memset((void *)(uintptr_t)page, 0, hard_large_end(large) - page);
    if (large->is_sampled)
        hard_sample_keep(heap, large);
    else
        hard_guard(heap, large, false);
    return large->is_sampled;
}

/* To so many bytes in its place: pages behind it are taken or given back. */
static bool hard_large_stretch(struct loam_heap *heap, struct loam_heap_large *large,
                               size_t size_bytes)
{
    const uint64_t before = hard_large_end(large);
    const uint64_t after = (large->block + size_bytes + LOAM_PAGE_SIZE - 1) & ~(LOAM_PAGE_SIZE - 1);
    const uint64_t total = after - large->start + HEAP_HAS_GUARDS * LOAM_PAGE_SIZE;

    if (after < before)
        __builtin_memset((void *)(uintptr_t)after, 0, before - after);
    hard_guard_back(heap, large, false);
    if (large->has_back || !loam_heap_large_resize(heap, large, total)) {
        hard_guard_back(heap, large, true);
        return false;
    }
    hard_guard_back(heap, large, true);
    return true;
}

static bool hard_large_resize(struct loam_heap *heap, struct loam_heap_large *large,
                              size_t size_bytes)
{
    const uint64_t old = large->block + large->size_bytes;
    const uint64_t old_end = hard_large_end(large);

    LOAM_REQUIRE(hard_large_is_sound(large), HEAP_WRITTEN_PAST, large->block, large->size_bytes);
    if (size_bytes > old_end - large->block && (large->is_sampled || size_bytes > UINT64_MAX / 4))
        return false;
    if (large->is_sampled ? size_bytes < large->size_bytes / 2 : size_bytes <= LOAM_HEAP_SMALL_MAX)
        return false;
    __builtin_memset((void *)(uintptr_t)old, 0, old_end - old);
    const uint64_t new_end =
        (large->block + size_bytes + LOAM_PAGE_SIZE - 1) & ~(LOAM_PAGE_SIZE - 1);
    const bool is_done = new_end == old_end || hard_large_stretch(heap, large, size_bytes);
    large->size_bytes = is_done ? size_bytes : large->size_bytes;
    hard_large_seal(large);
    return is_done;
}

/* ---- the rest of a heap's functions ------------------------------------------------- */

static bool hard_sample_is_due(struct loam_heap_cpu *cpu)
{
    if (cpu == NULL || cpu->hard.countdown != 0 || !loam_guard_enter(&cpu->guard))
        return false;
    cpu->hard.countdown = hard_countdown(cpu);
    loam_guard_leave(&cpu->guard);
    return true;
}

void *loam_hard_alloc_slow(struct loam_heap *heap, struct loam_heap_cpu *cpu, size_t size_bytes)
{
    void *const sampled = hard_sample_is_due(cpu) ? hard_sample(heap, size_bytes) : NULL;
    if (sampled != NULL)
        return sampled;
    const unsigned class = heap_class_of(size_bytes);
    void *const slot = loam_heap_alloc_slow(heap, cpu, class);
    return slot == NULL ? NULL : loam_hard_begin(heap, slot, class, size_bytes);
}

static size_t hard_slot_size(const struct loam_heap *heap, void *slot, size_t bytes)
{
    return hard_unseal(heap, slot, bytes, *hard_canary_of(slot, bytes));
}

size_t loam_hard_usable(const struct loam_heap *heap, const void *block)
{
    const unsigned class = heap_fast_class(heap, block);

    if (class != 0)
        return hard_slot_size(heap, (void *)(uintptr_t)block, heap_class_bytes(class));
    const struct loam_heap_large *const large = loam_heap_large_find(heap, block);
    LOAM_REQUIRE(large != NULL, HEAP_FOREIGN, loam_virt_of(block).addr, 0);
    return large->size_bytes;
}

bool loam_hard_resize(struct loam_heap *heap, void *block, size_t size_bytes)
{
    const unsigned class = heap_fast_class(heap, block);

    if (class == 0) {
        struct loam_heap_large *const large = loam_heap_large_find(heap, block);
        LOAM_REQUIRE(large != NULL, HEAP_FOREIGN, loam_virt_of(block).addr, 0);
        return hard_large_resize(heap, large, size_bytes);
    }
    const size_t bytes = heap_class_bytes(class);
    const size_t old = hard_slot_size(heap, block, bytes);
    const size_t most = bytes - LOAM_HEAP_TAIL;
    if (size_bytes > most || size_bytes < most / 2)
        return false;
    if (size_bytes > old)
        __builtin_memset((uint8_t *)block + old, 0, size_bytes - old);
    hard_seal(heap, block, bytes, size_bytes);
    return true;
}

#endif
