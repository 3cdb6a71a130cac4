/*
 * layout.h - the kernel's virtual addresses, above the direct map.
 *
 *   0xffffffff80000000  image            kernel.ld
 *   0xffffffffc0000000  local APIC       uncached
 *   0xffffffffc8000000  firmware tables  while they are read: firmware.c
 *   0xffffffffd0000000  stacks           one slot per CPU, with guards
 *   0xffffffffe0000000  scratch          demos and self-tests map and unmap here
 *
 * And in the lower half, between their begin and end, what demos and self-tests
 * use: 0x8000000, 0x40000000, 0xdeadb000, 0x100000000, 0x200000000, 0x300000000.
 */
#ifndef KERNEL_LAYOUT_H
#define KERNEL_LAYOUT_H

#include <stdint.h>

#define LAYOUT_APIC     UINT64_C(0xffffffffc0000000)
#define LAYOUT_FIRMWARE UINT64_C(0xffffffffc8000000)
#define LAYOUT_STACKS   UINT64_C(0xffffffffd0000000)
#define LAYOUT_SCRATCH  UINT64_C(0xffffffffe0000000)

/* The parts of the image, from kernel.ld. */
extern const char kernel_text_start[], kernel_text_end[];
extern const char kernel_heap_text_start[], kernel_heap_text_end[];   /* functions of the heap */
extern const char kernel_frame_text_start[], kernel_frame_text_end[]; /* of the frame allocator */
extern const char kernel_rodata_start[], kernel_rodata_end[];
extern char kernel_data_start[], kernel_data_end[];

#endif
