/*
 * types.h - addresses, ranges, status codes: the vocabulary of every layer.
 *
 * Physical and virtual addresses are one-member structs: mixing them up, or
 * passing a size where an address belongs, does not compile. They cost nothing:
 * each travels in one register.
 *
 * Ranges are start + size, half-open. They are stored as a size, not an end, so
 * that a range touching the top of the address space is representable; its last
 * byte is start + (size - 1). Ranges with size 0 are empty.
 */
#ifndef LOAM_TYPES_H
#define LOAM_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config.h"

/*
 * An atomic field of a public struct: _Atomic in C, a plain object of the same
 * size and alignment in C++, which only ever places the struct.
 */
#ifdef __cplusplus
#define LOAM_STATIC_ASSERT(cond, why) static_assert(cond, why)
#define LOAM_ATOMIC(type)             type
extern "C" {
#else
#define LOAM_STATIC_ASSERT(cond, why) _Static_assert(cond, why)
#define LOAM_ATOMIC(type)             _Atomic(type)
LOAM_STATIC_ASSERT(sizeof(_Atomic(uint32_t)) == 4 && _Alignof(_Atomic(uint32_t)) == 4,
                   "C++ must see the layout that C uses");
LOAM_STATIC_ASSERT(sizeof(_Atomic(uint64_t)) == 8 && _Alignof(_Atomic(uint64_t)) == 8,
                   "C++ must see the layout that C uses");
#endif

#define LOAM_NODISCARD __attribute__((warn_unused_result))

#define LOAM_PAGE_SHIFT 12u
#define LOAM_PAGE_SIZE  (UINT64_C(1) << LOAM_PAGE_SHIFT)
#define LOAM_ORDER_2M   9u
#define LOAM_ORDER_1G   18u
#define LOAM_ORDER_MAX  LOAM_ORDER_1G

/* Architectural limit of physical addresses: Intel SDM vol. 3, section 4.1.4. */
#define LOAM_PHYS_BITS_MAX 52u

typedef struct loam_phys {
    uint64_t addr;
} loam_phys;

typedef struct loam_virt {
    uint64_t addr;
} loam_virt;

struct loam_phys_range {
    loam_phys start;
    uint64_t size; /* bytes */
};

struct loam_virt_range {
    loam_virt start;
    uint64_t size; /* bytes */
};

/* Anything but LOAM_OK means: nothing has changed. */
enum loam_status {
    LOAM_OK = 0,
    LOAM_NO_MEMORY,   /* no page frame of the requested kind */
    LOAM_NO_SPACE,    /* a fixed table or an address window is full */
    LOAM_INVALID,     /* input from outside (boot data, a request) is malformed */
    LOAM_OVERLAP,     /* the range already holds something */
    LOAM_NOT_FOUND,   /* nothing there */
    LOAM_UNSUPPORTED, /* this CPU or this bootloader cannot do it */
    LOAM_STATE,       /* before initialisation, or a second time */
};

/** Name of a status for logs. @param status any value @return never NULL */
LOAM_NODISCARD const char *loam_status_name(enum loam_status status);

/*
 * Why a request was refused. Filled beside a status other than LOAM_OK, else
 * untouched.
 */
struct loam_refusal {
    const char *rule; /* static sentence: "layer: what was asked of the input" */
    uint64_t have;    /* the offending number; its unit is in the rule */
    uint64_t need;    /* what would have been right; 0 when there is no such number */
};

/* The size of a block, when its owner does not say. */
#define LOAM_SIZE_UNKNOWN SIZE_MAX

/* How a block of a heap is to change. */
struct loam_resize {
    size_t old_bytes;  /* what was last asked for, or LOAM_SIZE_UNKNOWN */
    size_t size_bytes; /* new size; 0 keeps a block of size 0 */
    size_t align;      /* power of two that the result is aligned to */
};

static inline loam_phys loam_phys_at(uint64_t addr)
{
    loam_phys p = { addr };
    return p;
}

static inline loam_virt loam_virt_at(uint64_t addr)
{
    loam_virt v = { addr };
    return v;
}

static inline loam_virt loam_virt_of(const volatile void *pointer)
{
    return loam_virt_at((uint64_t)(uintptr_t)pointer);
}

/* "No frame". Not zero, so that physical page 0 needs no special case. */
static inline loam_phys loam_phys_none(void)
{
    return loam_phys_at(UINT64_MAX);
}

static inline bool loam_phys_is_none(loam_phys p)
{
    return p.addr == UINT64_MAX;
}

static inline struct loam_phys_range loam_phys_range_of(loam_phys start, uint64_t size)
{
    struct loam_phys_range r = { start, size };
    return r;
}

static inline struct loam_virt_range loam_virt_range_of(loam_virt start, uint64_t size)
{
    struct loam_virt_range r = { start, size };
    return r;
}

/** Does the range stay below 2^64? Ending at 2^64 exactly is fine. */
static inline bool loam_range_fits(uint64_t start, uint64_t size)
{
    return size == 0 || size - 1 <= UINT64_MAX - start;
}

/** Is @p p inside @p r? @param r range that fits @param p any address */
static inline bool loam_phys_range_contains(struct loam_phys_range r, loam_phys p)
{
    return p.addr >= r.start.addr && p.addr - r.start.addr < r.size;
}

/** Do the ranges share a byte? Empty ranges share none. Both must fit. */
static inline bool loam_phys_range_overlaps(struct loam_phys_range a, struct loam_phys_range b)
{
    return a.size != 0 && b.size != 0 &&
           (loam_phys_range_contains(a, b.start) || loam_phys_range_contains(b, a.start));
}

/**
 * Cut one range out of another.
 *
 *     range   [                )
 *     cut          [    )
 *     rest    [0  )      [1    )
 *
 * @param range what to cut from; must fit (loam_range_fits())
 * @param cut   what to remove; must fit; need not touch @p range
 * @param rest  receives the 0, 1 or 2 non-empty rests in ascending order;
 *              entries beyond the count are untouched
 *
 * @return number of rests
 */
unsigned loam_phys_range_cut(struct loam_phys_range range, struct loam_phys_range cut,
                             struct loam_phys_range rest[2]);

static inline bool loam_is_page_aligned(uint64_t value)
{
    return (value & (LOAM_PAGE_SIZE - 1)) == 0;
}

static inline uint64_t loam_page_floor(uint64_t value)
{
    return value & ~(LOAM_PAGE_SIZE - 1);
}

static inline bool loam_is_power_of_two(uint64_t value)
{
    return value != 0 && (value & (value - 1)) == 0;
}

/** Bytes of 2^order page frames. @param order 0..LOAM_ORDER_MAX */
static inline uint64_t loam_order_bytes(unsigned order)
{
    return LOAM_PAGE_SIZE << order;
}

/**
 * Is the address canonical: bits above the implemented ones copies of the
 * highest? Intel SDM vol. 1, section 3.3.7.1.
 *
 * @param v      any address
 * @param levels paging levels, 4 (48 bits) or 5 (57 bits)
 */
static inline bool loam_virt_is_canonical(loam_virt v, unsigned levels)
{
    const uint64_t top = v.addr >> (12u + 9u * levels - 1u);
    return top == 0 || top == UINT64_MAX >> (12u + 9u * levels - 1u);
}

/*
 * The higher-half direct map: virtual = physical + offset for memory that the
 * bootloader promised to map. Only a boot adapter makes one (boot/adapter.h); a
 * zeroed or hand-made one fails loam_hhdm_is_genuine(), which every layer that
 * takes one requires.
 */
struct loam_hhdm {
    uint64_t offset; /* bytes; page-aligned */
    uint64_t seal;   /* ~offset: proves that an adapter made it */
};

static inline bool loam_hhdm_is_genuine(struct loam_hhdm hhdm)
{
    return hhdm.seal == ~hhdm.offset;
}

/** Address of @p p in the direct map. It is mapped if its type is covered. */
static inline loam_virt loam_hhdm_virt(struct loam_hhdm hhdm, loam_phys p)
{
    return loam_virt_at(p.addr + hhdm.offset);
}

/** loam_hhdm_virt() as a pointer. */
static inline void *loam_hhdm_pointer(struct loam_hhdm hhdm, loam_phys p)
{
    return (void *)(uintptr_t)(p.addr + hhdm.offset);
}

/** Inverse of loam_hhdm_virt(). @param v an address inside the direct map */
static inline loam_phys loam_hhdm_phys(struct loam_hhdm hhdm, loam_virt v)
{
    return loam_phys_at(v.addr - hhdm.offset);
}

/*
 * Where text goes. write() may be called many times per line, from the context
 * of the function that was given the writer; @p text is not terminated.
 */
struct loam_writer {
    void (*write)(void *context, const char *text, size_t size_bytes);
    void *context;
};

LOAM_STATIC_ASSERT(sizeof(loam_phys) == 8, "an address must pass in one register");
LOAM_STATIC_ASSERT(LOAM_PAGE_SIZE << LOAM_ORDER_1G == UINT64_C(1) << 30, "order 18 is 1 GiB");

#ifdef __cplusplus
}
#endif
#endif
