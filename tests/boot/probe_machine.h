/*
 * probe_machine.h - what the probe kernel stands on: its entry points, the machine's
 * registers, COM1 and the count of problems. Included by probe.c alone.
 */
#ifndef PROBE_MACHINE_H
#define PROBE_MACHINE_H

#include <stdbool.h>
#include <stddef.h>

#include <loam/boot/limine_protocol.h>

/* ---- entry: record the registers, then C ------------------------------------------- */

enum { R_RAX, R_RBX, R_RCX, R_RDX, R_RSI, R_RDI, R_RBP, R_R8, R_R15 = R_R8 + 7, R_RSP, R_FLAGS };

struct cpu_state {
    uint64_t reg[R_FLAGS + 1];
    uint64_t cs, ss, ds, es, fs, gs;
    uint64_t cr0, cr3, cr4, efer, pat, apic_base;
    uint64_t gdt_base, gdt_limit;
    uint64_t return_address;
};

_Noreturn void probe_main(void);
_Noreturn void probe_ap_main(struct loam_limine_mp_info *info, const uint64_t *regs);
extern void probe_ap_entry(struct loam_limine_mp_info *info);
extern uint64_t probe_regs[R_FLAGS + 1];
uint64_t probe_regs[R_FLAGS + 1];

/* Registers go to probe_regs on the boot CPU, to the stack on the others. */
__asm__(".globl probe_entry, probe_ap_entry\n"
        "probe_entry:\n"
        "  mov %rax, probe_regs(%rip)\n"
        "  lea probe_regs(%rip), %rax\n"
        "  mov %rbx, 8(%rax)\n  mov %rcx, 16(%rax)\n  mov %rdx, 24(%rax)\n"
        "  mov %rsi, 32(%rax)\n  mov %rdi, 40(%rax)\n  mov %rbp, 48(%rax)\n"
        "  mov %r8, 56(%rax)\n  mov %r9, 64(%rax)\n  mov %r10, 72(%rax)\n"
        "  mov %r11, 80(%rax)\n  mov %r12, 88(%rax)\n  mov %r13, 96(%rax)\n"
        "  mov %r14, 104(%rax)\n  mov %r15, 112(%rax)\n  mov %rsp, 120(%rax)\n"
        "  pushfq\n  popq 128(%rax)\n"
        "  jmp probe_main\n" /* as if called: the return address is the loader's 0 */
        "probe_ap_entry:\n"
        "  pushfq\n"
        "  lea 8(%rsp), %rsi\n  push %rsi\n  mov $0, %esi\n"
        "  push %r15\n  push %r14\n  push %r13\n  push %r12\n"
        "  push %r11\n  push %r10\n  push %r9\n  push %r8\n"
        "  push %rbp\n  push %rdi\n  push %rsi\n  push %rdx\n"
        "  push %rcx\n  push %rbx\n  push %rax\n"
        "  mov %rsp, %rsi\n"
        "  call probe_ap_main\n");

/* ---- machine --------------------------------------------------------------------------- */

static void out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static uint8_t in8(uint16_t port)
{
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

static uint64_t rdmsr(uint32_t msr)
{
    uint32_t low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
    return (uint64_t)high << 32 | low;
}

struct cpuid {
    uint32_t a, b, c, d;
};

static struct cpuid cpuid(uint32_t leaf)
{
    struct cpuid r;
    __asm__ volatile("cpuid" : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d) : "a"(leaf), "c"(0));
    return r;
}

#define READ_REGISTER(name, to) __asm__ volatile("mov %%" name ", %0" : "=r"(to))

static struct cpu_state state_now(const uint64_t *regs)
{
    struct cpu_state s;
    struct __attribute__((packed)) {
        uint16_t limit;
        uint64_t base;
    } gdt;

    for (unsigned i = 0; i <= R_FLAGS; i++)
        s.reg[i] = regs[i];
    READ_REGISTER("cs", s.cs);
    READ_REGISTER("ss", s.ss);
    READ_REGISTER("ds", s.ds);
    READ_REGISTER("es", s.es);
    READ_REGISTER("fs", s.fs);
    READ_REGISTER("gs", s.gs);
    READ_REGISTER("cr0", s.cr0);
    READ_REGISTER("cr3", s.cr3);
    READ_REGISTER("cr4", s.cr4);
    s.efer = rdmsr(0xc0000080);
    s.pat = rdmsr(0x277);
    s.apic_base = rdmsr(0x1b);
    __asm__ volatile("sgdt %0" : "=m"(gdt));
    s.gdt_base = gdt.base;
    s.gdt_limit = gdt.limit;
    s.return_address = *(const uint64_t *)s.reg[R_RSP];
    return s;
}

/* ---- words out --------------------------------------------------------------------------- */

static unsigned problem_count;

static void put(char c)
{
    while ((in8(0x3fd) & 0x20) == 0)
        continue;
    out8(0x3f8, (uint8_t)c);
}

static void say(const char *text)
{
    while (*text != '\0')
        put(*text++);
}

static void say_number(uint64_t value)
{
    int shift = 60;

    say(" 0x");
    while (shift > 0 && value >> shift == 0)
        shift -= 4;
    for (; shift >= 0; shift -= 4)
        put("0123456789abcdef"[value >> shift & 15]);
}

static void line(const char *key, uint64_t value)
{
    say(key);
    say_number(value);
    put('\n');
}

static void line_text(const char *key, const char *text)
{
    say(key);
    put(' ');
    say(text);
    put('\n');
}

static void check(bool good, const char *what, uint64_t value)
{
    if (good)
        return;
    problem_count++;
    say("problem ");
    say(what);
    say_number(value);
    put('\n');
}

static bool has_word(const char *text, const char *word)
{
    for (; *text != '\0'; text++) {
        size_t i = 0;
        while (word[i] != '\0' && text[i] == word[i])
            i++;
        if (word[i] == '\0')
            return true;
    }
    return false;
}

static uint64_t checksum(const void *data, uint64_t size)
{
    const uint8_t *bytes = data;
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

    for (uint64_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

#endif
