/*
 * zero_page.h - making pages zero, and seeing whether they are.
 *
 * By one instruction, not by the kernel's memset(), which may be a loop of bytes; and
 * through the cache, also for frames that wait: stores around it (movnti) take four
 * times as long, and the frame's user then waits for memory line by line, longer than
 * if he had zeroed the frame himself.
 */
#ifndef LOAM_INTERNAL_ZERO_PAGE_H
#define LOAM_INTERNAL_ZERO_PAGE_H

#include <loam/types.h>

/* Whatever else a page's last user kept there. */
typedef uint64_t zero_word __attribute__((may_alias));

#if LOAM_X86_SIM

static inline void zero_fill(void *start, uint64_t size_bytes)
{
    __builtin_memset(start, 0, size_bytes);
}

#else

/* Start and count run on; "memory": what is written is no operand. */
static inline void zero_fill(void *start, uint64_t size_bytes)
{
    uint64_t word_count = size_bytes / sizeof(zero_word);

    __asm__ volatile("rep stosq" : "+D"(start), "+c"(word_count) : "a"(UINT64_C(0)) : "memory");
}

#endif

/* Offset of the first byte of a page that is not zero; LOAM_PAGE_SIZE: there is none. */
static inline uint64_t zero_first_other(const zero_word *page)
{
    for (uint64_t i = 0; i < LOAM_PAGE_SIZE / sizeof(*page); i++)
        if (page[i] != 0)
            return i * sizeof(*page) + (unsigned)__builtin_ctzll(page[i]) / 8;
    return LOAM_PAGE_SIZE;
}

#endif
