/*
 * instructions.h - what the kernel needs beside <loam/x86.h>, one instruction
 * per function.
 */
#ifndef KERNEL_INSTRUCTIONS_H
#define KERNEL_INSTRUCTIONS_H

#include <loam/x86.h>

#define MSR_APIC_BASE 0x1bu       /* Intel SDM vol. 4, IA32_APIC_BASE */
#define MSR_GS_BASE   0xc0000101u /* Intel SDM vol. 4, IA32_GS_BASE */

/* "memory" in this file: a device or a descriptor table is read by somebody
 * else, who must see what was written before, and no access made early. */

static inline void x86_out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline void x86_out16(uint16_t port, uint16_t value)
{
    __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline uint8_t x86_in8(uint16_t port)
{
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
    return value;
}

static inline uint64_t x86_read_cr2(void)
{
    uint64_t value;
    __asm__ volatile("mov %%cr2, %0" : "=r"(value));
    return value;
}

static inline uint64_t x86_read_tsc(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

static inline void x86_interrupts_on(void)
{
    __asm__ volatile("sti" : : : "memory");
}

static inline void x86_interrupts_off(void)
{
    __asm__ volatile("cli" : : : "memory");
}

/* Two instructions on purpose: STI takes effect after HLT has begun, so an
 * interrupt that came while they were off still ends the wait. */
static inline void x86_wait_for_interrupt(void)
{
    __asm__ volatile("sti; hlt" : : : "memory");
}

static inline void x86_halt(void)
{
    __asm__ volatile("hlt" : : : "memory");
}

/* Writes before it reach memory before those after it, write-combining ones, too. */
static inline void x86_store_fence(void)
{
    __asm__ volatile("sfence" : : : "memory");
}

struct __attribute__((packed)) x86_table_pointer {
    uint16_t limit;
    uint64_t base;
};

static inline void x86_load_gdt(const struct x86_table_pointer *table)
{
    __asm__ volatile("lgdt %0" : : "m"(*table) : "memory");
}

static inline void x86_load_idt(const struct x86_table_pointer *table)
{
    __asm__ volatile("lidt %0" : : "m"(*table) : "memory");
}

static inline void x86_load_task(uint16_t selector)
{
    __asm__ volatile("ltr %0" : : "r"(selector) : "memory");
}

#endif
