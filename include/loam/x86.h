/*
 * x86.h - the privileged instructions that the library and its hooks need, one
 * per function. Host builds (LOAM_X86_SIM) declare the same names; there the
 * simulated machine defines them.
 */
#ifndef LOAM_X86_H
#define LOAM_X86_H

#include "types.h"

#define LOAM_MSR_PAT  0x277u      /* Intel SDM vol. 4, IA32_PAT */
#define LOAM_MSR_EFER 0xc0000080u /* Intel SDM vol. 4, IA32_EFER */

#define LOAM_EFER_NXE  (UINT64_C(1) << 11)
#define LOAM_CR0_WP    (UINT64_C(1) << 16)
#define LOAM_CR0_NW    (UINT64_C(1) << 29)
#define LOAM_CR0_CD    (UINT64_C(1) << 30)
#define LOAM_CR4_PGE   (UINT64_C(1) << 7)
#define LOAM_CR4_LA57  (UINT64_C(1) << 12)
#define LOAM_CR4_PCIDE (UINT64_C(1) << 17)
#define LOAM_CR4_SMEP  (UINT64_C(1) << 20)
#define LOAM_CR4_SMAP  (UINT64_C(1) << 21)

/* With CR4.PCIDE: do not drop what is cached under the PCID in bits 0-11. */
#define LOAM_CR3_KEEP (UINT64_C(1) << 63)

/* Types of INVPCID: Intel SDM vol. 2, INVPCID. */
#define LOAM_INVPCID_ALL UINT64_C(2) /* of every PCID, global translations, too */

/* What INVLPGB drops, in RAX beside a page's address: AMD APM vol. 3, INVLPGB. A
 * PCID or ASID that is not valid means all of them. */
#define LOAM_INVLPGB_VA     UINT64_C(0x1) /* just these pages; else every one */
#define LOAM_INVLPGB_ASID   UINT64_C(0x4) /* of one ASID: 0, the host's */
#define LOAM_INVLPGB_GLOBAL UINT64_C(0x8) /* global translations, too */
/* In ECX beside the number of further pages: a stride of 2 MiB, else 4 KiB. */
#define LOAM_INVLPGB_2M UINT32_C(0x80000000)

struct loam_cpuid {
    uint32_t eax, ebx, ecx, edx;
};

#if LOAM_X86_SIM

#ifdef __cplusplus
extern "C" {
#endif
struct loam_cpuid loam_x86_cpuid(uint32_t leaf, uint32_t subleaf);
uint64_t loam_x86_rdmsr(uint32_t msr);
void loam_x86_wrmsr(uint32_t msr, uint64_t value);
uint64_t loam_x86_read_cr0(void);
void loam_x86_write_cr0(uint64_t value);
uint64_t loam_x86_read_cr3(void);
void loam_x86_write_cr3(uint64_t value);
uint64_t loam_x86_read_cr4(void);
void loam_x86_write_cr4(uint64_t value);
void loam_x86_invlpg(loam_virt page);
void loam_x86_invpcid(uint64_t type, uint64_t pcid, loam_virt page);
void loam_x86_invlpgb(uint64_t what, uint32_t count, uint32_t tags);
void loam_x86_tlbsync(void);
void loam_x86_stac(void);
void loam_x86_clac(void);
void loam_x86_wbinvd(void);
void loam_x86_clflush(const volatile void *line);
void loam_x86_pause(void);
uint64_t loam_x86_irq_save(void);
void loam_x86_irq_restore(uint64_t flags);
#ifdef __cplusplus
}
#endif

#else

static inline struct loam_cpuid loam_x86_cpuid(uint32_t leaf, uint32_t subleaf)
{
    struct loam_cpuid r;
    __asm__ volatile("cpuid"
                     : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
                     : "a"(leaf), "c"(subleaf));
    return r;
}

static inline uint64_t loam_x86_rdmsr(uint32_t msr)
{
    uint32_t low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
    return (uint64_t)high << 32 | low;
}

/* "memory": what the register governs must not move across the write. */
static inline void loam_x86_wrmsr(uint32_t msr, uint64_t value)
{
    __asm__ volatile("wrmsr"
                     :
                     : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
                     : "memory");
}

static inline uint64_t loam_x86_read_cr0(void)
{
    uint64_t value;
    __asm__ volatile("mov %%cr0, %0" : "=r"(value));
    return value;
}

static inline void loam_x86_write_cr0(uint64_t value)
{
    __asm__ volatile("mov %0, %%cr0" : : "r"(value) : "memory");
}

static inline uint64_t loam_x86_read_cr3(void)
{
    uint64_t value;
    __asm__ volatile("mov %%cr3, %0" : "=r"(value));
    return value;
}

/* "memory": no access may move across a change of what addresses mean. */
static inline void loam_x86_write_cr3(uint64_t value)
{
    __asm__ volatile("mov %0, %%cr3" : : "r"(value) : "memory");
}

static inline uint64_t loam_x86_read_cr4(void)
{
    uint64_t value;
    __asm__ volatile("mov %%cr4, %0" : "=r"(value));
    return value;
}

static inline void loam_x86_write_cr4(uint64_t value)
{
    __asm__ volatile("mov %0, %%cr4" : : "r"(value) : "memory");
}

/* Drop one translation on this CPU. "memory" orders it after the entry's store. */
static inline void loam_x86_invlpg(loam_virt page)
{
    __asm__ volatile("invlpg (%0)" : : "r"(page.addr) : "memory");
}

/* By type: one page of a PCID, all of a PCID, all, all but global ones. The
 * descriptor is read from memory; "memory" as above. */
static inline void loam_x86_invpcid(uint64_t type, uint64_t pcid, loam_virt page)
{
    const uint64_t descriptor[2] = { pcid, page.addr };
    __asm__ volatile("invpcid %0, %1" : : "m"(descriptor), "r"(type) : "memory");
}

/* Drop translations on every CPU, some time before the tlbsync of this one ends.
 * In bytes: assemblers do not agree on its operands. "memory" as above. */
static inline void loam_x86_invlpgb(uint64_t what, uint32_t count, uint32_t tags)
{
    __asm__ volatile(".byte 0x0f, 0x01, 0xfe" : : "a"(what), "c"(count), "d"(tags) : "memory");
}

/* "memory": what was dropped must not be reused before. */
static inline void loam_x86_tlbsync(void)
{
    __asm__ volatile(".byte 0x0f, 0x01, 0xff" : : : "memory");
}

/* Let ring 0 use pages of user programs, under SMAP. "memory": just the accesses
 * between the two. */
static inline void loam_x86_stac(void)
{
    __asm__ volatile("stac" : : : "memory", "cc");
}

static inline void loam_x86_clac(void)
{
    __asm__ volatile("clac" : : : "memory", "cc");
}

static inline void loam_x86_wbinvd(void)
{
    __asm__ volatile("wbinvd" : : : "memory");
}

/* Write one cache line back to memory and drop it. "memory": the store before it
 * must not be delayed, the load after it must not be taken from the store. */
static inline void loam_x86_clflush(const volatile void *line)
{
    __asm__ volatile("clflush (%0)" : : "r"(line) : "memory");
}

static inline void loam_x86_pause(void)
{
    __asm__ volatile("pause");
}

/* RFLAGS as they were; interrupts are off afterwards. "memory": accesses that
 * rely on it must stay behind it. */
static inline uint64_t loam_x86_irq_save(void)
{
    uint64_t flags;
    __asm__ volatile("pushfq; popq %0; cli" : "=r"(flags) : : "memory");
    return flags;
}

static inline void loam_x86_irq_restore(uint64_t flags)
{
    if ((flags & UINT64_C(0x200)) != 0)
        __asm__ volatile("sti" : : : "memory");
}

#endif
#endif
