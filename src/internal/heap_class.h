/*
 * heap_class.h - size classes: 8, 16 and multiples of 16 to 256, eight steps a doubling to
 * 1 KiB, four from there to 64 KiB.
 *
 * Of what is asked for at most a ninth is lost, of large ones a fifth. 24 is none: a block of
 * 16 bytes or more is aligned to 16, as C demands of malloc.
 */
#ifndef LOAM_INTERNAL_HEAP_CLASS_H
#define LOAM_INTERNAL_HEAP_CLASS_H

#include <loam/heap.h>

#define CLASS_2(c) c, c
#define CLASS_4(c) CLASS_2(c), CLASS_2(c)
#define CLASS_8(c) CLASS_4(c), CLASS_4(c)

/* By (size + 7) / 8. What is to have a tail begins with the class of 8 bytes more. */
static const uint8_t heap_class_table[LOAM_HEAP_TABLE_MAX / 8 + 1] = {
#if LOAM_HEAP_TAIL == 0
    1,           1,
#else
    2, /* no slot is smaller than what is looked at */
#endif
    2,           CLASS_2(3),  CLASS_2(4),  CLASS_2(5),
    CLASS_2(6),  CLASS_2(7),  CLASS_2(8),  CLASS_2(9), /* 128 */
    CLASS_2(10), CLASS_2(11), CLASS_2(12), CLASS_2(13),
    CLASS_2(14), CLASS_2(15), CLASS_2(16), CLASS_2(17), /* 256 */
    CLASS_4(18), CLASS_4(19), CLASS_4(20), CLASS_4(21),
    CLASS_4(22), CLASS_4(23), CLASS_4(24), CLASS_4(25), /* 512 */
    CLASS_8(26), CLASS_8(27), CLASS_8(28), CLASS_8(29),
    CLASS_8(30), CLASS_8(31), CLASS_8(32), CLASS_8(33), /* 1024 */
};

#define CLASS_TABLE_LAST 33u

/* Class of a size above LOAM_HEAP_TABLE_MAX, up to LOAM_HEAP_SMALL_MAX. */
static inline unsigned heap_class_of_middle(size_t size)
{
    const size_t last = size + LOAM_HEAP_TAIL - 1;
    const unsigned top = 63u - (unsigned)__builtin_clzll(last); /* 10..15 */

    return CLASS_TABLE_LAST + 1 + (top - 10) * 4 + ((unsigned)(last >> (top - 2)) & 3);
}

/* Class of a size up to LOAM_HEAP_SMALL_MAX. */
static inline unsigned heap_class_of(size_t size)
{
    return size <= LOAM_HEAP_TABLE_MAX ? heap_class_table[(size + 7) / 8]
                                       : heap_class_of_middle(size);
}

/*
 * A distance d is a multiple of a size if d * inverse < inverse, modulo 2^64, for d < 2^32
 * and inverse = 2^64 / size, rounded up. (D. Lemire, O. Kaser, N. Kurz, Faster remainder by
 * direct computation, 2019.)
 */
struct heap_kind {
    uint64_t inverse; /* 0: what begins here is no block of a class */
    uint64_t bytes;   /* of its slots */
};

#define CLASS_KIND(bytes)                 \
    {                                     \
        UINT64_MAX / (bytes) + 1, (bytes) \
    } /* powers of two, too */
#define CLASS_KINDS_4(from, step)                                                                  \
    CLASS_KIND((from) + (step)), CLASS_KIND((from) + 2 * (step)), CLASS_KIND((from) + 3 * (step)), \
        CLASS_KIND((from) + 4 * (step))
#define CLASS_KINDS_8(from, step) \
    CLASS_KINDS_4((from), (step)), CLASS_KINDS_4((from) + 4 * (step), (step))

/* By kind, as the page map has it. */
static const struct heap_kind heap_kinds[256] = {
    { 0, 0 },
    CLASS_KIND(8),
    CLASS_KINDS_8(0, 16),
    CLASS_KINDS_8(128, 16),
    CLASS_KINDS_8(256, 32),
    CLASS_KINDS_8(512, 64),
    CLASS_KINDS_4(1024, 256),
    CLASS_KINDS_4(2048, 512),
    CLASS_KINDS_4(4096, 1024),
    CLASS_KINDS_4(8192, 2048),
    CLASS_KINDS_4(16384, 4096),
    CLASS_KINDS_4(32768, 8192),
};

/* The largest size of a class. */
static inline uint32_t heap_class_bytes(unsigned class)
{
    return (uint32_t)heap_kinds[class].bytes;
}

#endif
