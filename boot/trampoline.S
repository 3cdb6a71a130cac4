/*
 * trampoline.S - the page through which every CPU enters the kernel's world.
 *
 *   application CPUs   start here in real mode, CS:0 = the page, below 1 MiB
 *   the boot CPU       comes from long mode through handoff_switch()
 *   both               32-bit, paging off -> the kernel's tables -> own stack ->
 *                      wait for an address -> jump there
 *
 * handoff.c copies the page, fills in struct handoff at its end and maps it
 * identically, read-only and executable: the only lower-half mapping there is.
 * All CPUs may run here at once: nothing is written but each CPU's own slot.
 */
#define PAGE_OFFSET(symbol) ((symbol) - trampoline_start)

#define SEGMENT_CODE_32 0x18
#define SEGMENT_DATA_32 0x20
#define SEGMENT_CODE_64 0x28
#define SEGMENT_DATA_64 0x30

#define CR0_PE       0x00000001
#define CR0_KERNEL   0x80010011 /* PG, WP, ET, PE; the caches on */
#define CR0_NOT_PG   0x7fffffff
#define MSR_APIC     0x1b
#define APIC_X2      0x400
#define MSR_EFER     0xc0000080
#define MSR_PAT      0x277
#define PAT_LOW      0x00070406 /* UC, UC-, WT, WB */
#define PAT_HIGH     0x00000105 /* -, -, WC, WP */

#define SLOT_SIZE     32 /* struct slot, handoff.c */
#define SLOT_STATE    4
#define SLOT_STACK    8
#define SLOT_TARGET   16
#define SLOT_ARGUMENT 24
#define SLOT_WAITING  0
#define SLOT_PARKED   1

    .section .rodata.trampoline, "a"
    .balign 16
    .globl trampoline_start, trampoline_boot_cpu, trampoline_handoff, trampoline_end
    .code16
trampoline_start:
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds
    movzwl %ax, %ebx
    shll $4, %ebx /* the page */
    lgdtl PAGE_OFFSET(gdt_pointer_low)
    movl $CR0_PE, %eax
    movl %eax, %cr0
    ljmpl *PAGE_OFFSET(far_32)

    .code32
protected_mode:
    movl $SEGMENT_DATA_32, %eax
    movl %eax, %ds
    movl %eax, %ss
    jmp switch_tables

trampoline_boot_cpu: /* compatibility mode, paging on, %ebx = the page */
    movl %cr0, %eax
    andl $CR0_NOT_PG, %eax
    movl %eax, %cr0
switch_tables:
    lgdt PAGE_OFFSET(gdt_pointer_low)(%ebx)
    movl PAGE_OFFSET(cr4)(%ebx), %eax
    movl %eax, %cr4
    movl PAGE_OFFSET(cr3)(%ebx), %eax
    movl %eax, %cr3
    movl $MSR_EFER, %ecx
    movl PAGE_OFFSET(efer)(%ebx), %eax
    xorl %edx, %edx
    wrmsr
    movl $CR0_KERNEL, %eax
    movl %eax, %cr0
    ljmp *PAGE_OFFSET(far_64)(%ebx)

    .code64
long_mode:
    movl $SEGMENT_DATA_64, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %fs
    movl %eax, %gs
    movl %eax, %ss
    lgdt gdt_pointer(%rip)
    lidt no_idt(%rip)

    cmpl $0, has_pat(%rip)
    je 1f
    movl $MSR_PAT, %ecx
    movl $PAT_LOW, %eax
    movl $PAT_HIGH, %edx
    wrmsr
1:  cmpl $0, wants_x2apic(%rip)
    je 2f
    movl $MSR_APIC, %ecx
    rdmsr
    orl $APIC_X2, %eax
    wrmsr

    /* Who am I: leaf 0xb if it exists and is filled in, leaf 1 otherwise. */
2:  xorl %eax, %eax
    cpuid
    cmpl $0xb, %eax
    jb 3f
    movl $0xb, %eax
    xorl %ecx, %ecx
    cpuid
    testl %ebx, %ebx
    jnz 4f
3:  movl $1, %eax
    cpuid
    shrl $24, %ebx
    movl %ebx, %edx
4:  movq slots(%rip), %rsi
    movl slot_count(%rip), %ecx
5:  cmpl %edx, (%rsi)
    je 6f
    addq $SLOT_SIZE, %rsi
    decl %ecx
    jnz 5b
    jmp nobody

    /* Too late if the boot CPU has abandoned the slot. */
6:  movl $SLOT_WAITING, %eax
    movl $SLOT_PARKED, %ecx
    lock cmpxchgl %ecx, SLOT_STATE(%rsi)
    jne nobody
    movq SLOT_STACK(%rsi), %rsp
    movq SLOT_ARGUMENT(%rsi), %rdi
    movq SLOT_TARGET(%rsi), %rsi
7:  movq (%rsi), %rax /* an acquire, as every load is on x86 */
    pause
    testq %rax, %rax
    jz 7b

    pushq $0 /* the return address of the kernel's entry */
    pushq %rax
    pushq $2
    popfq
    xorl %eax, %eax
    xorl %ebx, %ebx
    xorl %ecx, %ecx
    xorl %edx, %edx
    xorl %esi, %esi
    xorl %ebp, %ebp
    xorl %r8d, %r8d
    xorl %r9d, %r9d
    xorl %r10d, %r10d
    xorl %r11d, %r11d
    xorl %r12d, %r12d
    xorl %r13d, %r13d
    xorl %r14d, %r14d
    xorl %r15d, %r15d
    ret

nobody:
    hlt
    jmp nobody

    .balign 8
no_idt: /* a fault before the kernel loads its own resets the machine */
    .short 0
    .quad 0

/* The GDT of the protocol; the kernel may go on using it. */
    .balign 8
gdt:
    .quad 0
    .quad 0x00009b000000ffff /* 0x08: 16-bit code */
    .quad 0x000093000000ffff /* 0x10: 16-bit data */
    .quad 0x00cf9b000000ffff /* 0x18: 32-bit code */
    .quad 0x00cf93000000ffff /* 0x20: 32-bit data */
    .quad 0x00af9b000000ffff /* 0x28: 64-bit code */
    .quad 0x00af93000000ffff /* 0x30: 64-bit data */
gdt_end:

/* struct handoff: addresses as offsets in the page; handoff.c adds the bases. */
    .balign 8
trampoline_handoff:
cr3:
    .long 0
cr4:
    .long 0
efer:
    .long 0
has_pat:
    .long 0
wants_x2apic:
    .long 0
slot_count:
    .long 0
slots:
    .quad 0
far_32:
    .long PAGE_OFFSET(protected_mode)
    .short SEGMENT_CODE_32
far_64:
    .long PAGE_OFFSET(long_mode)
    .short SEGMENT_CODE_64
gdt_pointer_low:
    .short gdt_end - gdt - 1
    .long PAGE_OFFSET(gdt)
gdt_pointer:
    .short gdt_end - gdt - 1
    .quad PAGE_OFFSET(gdt)
trampoline_end:

    .section .note.GNU-stack, "", @progbits
