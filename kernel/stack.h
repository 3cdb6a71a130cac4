/*
 * stack.h - the kernel's own stacks.
 *
 *     slot of one CPU, ascending addresses
 *     | guard | main .... | guard | page fault .. | guard | double fault | guard | NMI |
 *
 * Guards are pages that nothing is mapped at: a stack that grows out of its part
 * faults instead of running over its neighbour.
 */
#ifndef KERNEL_STACK_H
#define KERNEL_STACK_H

#include "cpu.h"

#define STACK_PARTS 4u

struct stack_part {
    const char *name;
    uint64_t guard; /* the page below; unmapped */
    uint64_t bottom, top;
};

/** Where a part of a CPU's stacks lies, made or not. @param part 0..STACK_PARTS-1 */
struct stack_part stack_part_of(unsigned cpu, unsigned part);

/** Make the stacks of a CPU. @return LOAM_OK; LOAM_NO_MEMORY: nothing was taken */
enum loam_status stack_make(unsigned cpu, struct cpu_stacks *stacks);

/**
 * Whose guard page is hit?
 *
 * @param address of the access
 * @param cpu     set if it is one
 * @param part    likewise
 *
 * @return false: no guard page
 */
bool stack_find_guard(uint64_t address, unsigned *cpu, struct stack_part *part);

#endif
