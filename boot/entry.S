/*
 * entry.S - from the loader's 32-bit protected mode to long mode and main().
 *
 * Entered without paging, flat segments, interrupts off:
 *   pvh_entry   %ebx = start info
 *   mb2_entry   %eax = MB2_LOADER_MAGIC, %ebx = boot information
 * The identity map of the first 4 GiB uses 2 MiB pages: every CPU has those.
 */
#define PTE_PRESENT_WRITE 0x3
#define PTE_LARGE         0x80
#define CR0_PG            0x80000000
#define CR4_PAE           0x20
#define MSR_EFER          0xc0000080
#define EFER_LME          0x100
#define LONG_MODE_BIT     29 /* of CPUID 0x80000001 edx */

    .section .note.pvh, "a", @note
    .balign 4
    .long 4, 8, 18 /* name size, value size, XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz "Xen"
    .quad pvh_entry

    .section .multiboot2, "a"
    .balign 8
mb2_header:
    .long 0xe85250d6, 0, mb2_header_end - mb2_header
    .long 0x100000000 - 0xe85250d6 - (mb2_header_end - mb2_header)
    .short 6, 0 /* modules page-aligned */
    .long 8
    .short 5, 1 /* framebuffer, optional: width, height, depth */
    .long 20, 1024, 768, 32
    .balign 8
    .short 0, 0
    .long 8
mb2_header_end:

    .section .text.entry, "ax"
    .code32
    .globl pvh_entry, mb2_entry
pvh_entry:
    xorl %eax, %eax /* no magic: PVH */
mb2_entry:
    cli
    cld
    movl $stack_top, %esp
    movl %eax, %ebp /* cpuid takes eax to edx */
    movl %ebx, %esi

    movl $0x80000000, %eax
    cpuid
    cmpl $0x80000001, %eax
    jb no_long_mode
    movl $0x80000001, %eax
    cpuid
    btl $LONG_MODE_BIT, %edx
    jnc no_long_mode

    movl $(boot_pdpt + PTE_PRESENT_WRITE), boot_pml4
    movl $(boot_pd + PTE_PRESENT_WRITE), %eax
    movl $boot_pdpt, %edi
1:  movl %eax, (%edi)
    addl $0x1000, %eax
    addl $8, %edi
    cmpl $(boot_pdpt + 4 * 8), %edi
    jb 1b
    movl $(PTE_PRESENT_WRITE + PTE_LARGE), %eax
    movl $boot_pd, %edi
2:  movl %eax, (%edi)
    addl $8, %edi
    addl $0x200000, %eax
    jnc 2b /* until the address wraps at 4 GiB */

    movl $CR4_PAE, %eax
    movl %eax, %cr4
    movl $boot_pml4, %eax
    movl %eax, %cr3
    movl $MSR_EFER, %ecx
    rdmsr
    orl $EFER_LME, %eax
    wrmsr
    movl %cr0, %eax
    orl $CR0_PG, %eax
    movl %eax, %cr0
    lgdt boot_gdt_pointer
    ljmp $0x08, $long_mode

no_long_mode: /* the UART is as the firmware left it */
    movl $no_long_mode_text, %esi
1:  movw $0x3fd, %dx
2:  inb %dx, %al
    testb $0x20, %al
    jz 2b
    movw $0x3f8, %dx
    lodsb
    testb %al, %al
    jz 3f
    outb %al, %dx
    jmp 1b
3:  movb $0x11, %al /* as fail() */
    outb %al, $0xf4
4:  hlt
    jmp 4b

    .code64
long_mode:
    movl $0x10, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl %eax, %fs
    movl %eax, %gs
    movl %ebp, %edi
    xorl %ebp, %ebp
    call main
1:  hlt
    jmp 1b

/* ---- exceptions: 32 stubs of 16 bytes, then one common report --------------- */

    .balign 16
    .globl trap_stubs
trap_stubs:
    .set vector, 0
    .rept 32
    .balign 16
    /* These push an error code themselves: 8, 10 to 14, 17, 21, 29, 30. */
    .if (0x60227d00 >> vector) & 1
    .else
    pushq $0
    .endif
    pushq $vector
    jmp trap_common
    .set vector, vector + 1
    .endr
    .balign 16
trap_common:
    movq %rsp, %rdi
    andq $-16, %rsp
    call trap_report

/*
 * handoff_switch(page, entry): leave for the trampoline page's 32-bit code, which
 * turns paging off and on again under the kernel's tables. Does not return.
 */
    .globl handoff_switch
handoff_switch:
    movl %edi, %ebx
    lgdt boot_gdt_pointer
    pushq $0x18
    pushq %rsi
    lretq

    .section .rodata
no_long_mode_text:
    .asciz "shim: error: this CPU has no long mode\r\n"
    .balign 8
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff /* 0x08: 64-bit code */
    .quad 0x00cf93000000ffff /* 0x10: data */
    .quad 0x00cf9b000000ffff /* 0x18: 32-bit code */
boot_gdt_end:
boot_gdt_pointer:
    .short boot_gdt_end - boot_gdt - 1
    .quad boot_gdt

    .bss
    .balign 4096
boot_pml4:
    .skip 4096
boot_pdpt:
    .skip 4096
boot_pd:
    .skip 4 * 4096
    .skip 16384
stack_top:

    .section .note.GNU-stack, "", @progbits
