/*
 * trap.h - interrupts and exceptions.
 */
#ifndef KERNEL_TRAP_H
#define KERNEL_TRAP_H

#include <stdbool.h>
#include <stdint.h>

#define VECTOR_NMI              2u
#define VECTOR_DOUBLE_FAULT     8u
#define VECTOR_STACK_FAULT      12u
#define VECTOR_PROTECTION_FAULT 13u
#define VECTOR_PAGE_FAULT       14u
#define VECTOR_EXCEPTIONS       32u
#define VECTOR_LEGACY           0x20u /* 16 of the masked PIC: spurious only */
#define VECTOR_WORK             0xf0u
#define VECTOR_TLB              0xf1u
#define VECTOR_TIMER            0xf2u
#define VECTOR_SPURIOUS         0xffu

/* Error code of a page fault: Intel SDM vol. 3, section 4.7. */
#define FAULT_PRESENT  0x01u
#define FAULT_WRITE    0x02u
#define FAULT_USER     0x04u
#define FAULT_RESERVED 0x08u
#define FAULT_FETCH    0x10u

/* Instead of a vector: no trap, but a call of the panic hook; rip is its return address. */
#define TRAP_NONE UINT64_MAX

/* As trap.S pushes it. */
struct trap_frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
    uint64_t rbp, rdi, rsi, rdx, rcx, rbx, rax;
    uint64_t vector, error;
    uint64_t rip, cs, rflags, rsp, ss;
};

/* What looks at each timer tick and work IPI. Context: the handler, interrupts off. */
typedef void (*trap_watch)(const struct trap_frame *frame);

/* Set it for all CPUs. @param watch NULL: nobody looks */
void trap_set_watch(trap_watch watch);

/* What a page fault is shown to before it is a probe's, or reported. Context: the handler,
 * on its own stack, where it must not fault. @return true: the access is to be repeated */
typedef bool (*trap_fault_handler)(const struct trap_frame *frame, uint64_t address);

/* Set it for all CPUs. @param handler NULL: there is none */
void trap_set_fault_handler(trap_fault_handler handler);

/* Fill the one IDT; boot CPU. */
void trap_init(void);

/* Load it on the running CPU. */
void trap_load(void);

#endif
