/*
 * trap.S - the 256 interrupt entries, the panic hook, and the accesses that may
 * fail. Registers are saved as struct trap_frame, trap.h.
 */
#define CODE_SEGMENT 0x08 /* cpu.h */
#define DATA_SEGMENT 0x10

    .macro save_registers
    pushq %rax
    pushq %rbx
    pushq %rcx
    pushq %rdx
    pushq %rsi
    pushq %rdi
    pushq %rbp
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    .endm

    .text

/* ---- entries: 16 bytes each, so that trap.c can compute their addresses ------- */

    .balign 16
    .globl trap_entries
trap_entries:
    .set vector, 0
    .rept 256
    .balign 16
    /* These push an error code themselves: 8, 10 to 14, 17, 21, 29, 30. */
    .if vector < 32 && ((0x60227d00 >> (vector & 31)) & 1)
    .else
    pushq $0
    .endif
    pushq $vector
    jmp trap_common
    .set vector, vector + 1
    .endr

    .balign 16
    .type trap_common, @function
trap_common:
    save_registers
    cld
    movq %rsp, %rdi /* 16-byte aligned: 22 words under an aligned top */
    call trap_dispatch
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rbp
    popq %rdi
    popq %rsi
    popq %rdx
    popq %rcx
    popq %rbx
    popq %rax
    addq $16, %rsp /* vector, error code */
    iretq
    .size trap_common, . - trap_common

/* ---- loam_port_panic(panic): the caller's registers, as if it had trapped ----- */

    .globl loam_port_panic
    .type loam_port_panic, @function
loam_port_panic:
    pushq $DATA_SEGMENT
    pushq %rsp
    pushfq
    addq $16, 8(%rsp) /* the saved RSP: above our return address */
    pushq $CODE_SEGMENT
    pushq 32(%rsp) /* the return address is the RIP */
    pushq $0
    pushq $-1
    save_registers
    movq %rsp, %rsi
    andq $-16, %rsp
    call panic_rule
    ud2
    .size loam_port_panic, . - loam_port_panic

/* ---- probes: see probe.h -------------------------------------------------------- */

    .globl probe_read, probe_read_at, probe_write, probe_write_at, probe_call, probe_failed
    .type probe_read, @function
probe_read:
probe_read_at:
    movq (%rdi), %rax
    movq %rax, (%rsi)
    movl $1, %eax
    ret
    .size probe_read, . - probe_read

    .type probe_write, @function
probe_write:
probe_write_at:
    movb %sil, (%rdi)
    movl $1, %eax
    ret
    .size probe_write, . - probe_write

    .type probe_call, @function
probe_call:
    call *%rdi
    movl $1, %eax
    ret
    .size probe_call, . - probe_call

    .type probe_failed, @function
probe_failed:
    xorl %eax, %eax
    ret
    .size probe_failed, . - probe_failed

    .section .note.GNU-stack, "", @progbits
