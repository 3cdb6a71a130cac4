/*
 * machine.h - the simulated machine under every host test.
 *
 * RAM lies behind a direct map at a host address; only what machine_add_ram()
 * named is accessible there, everything else faults. CPUs have control
 * registers, MSRs and a TLB that remembers until it is flushed. The functions
 * loam_x86_*() of x86.h and the hooks loam_port_cpu() and loam_port_tlb_flush()
 * are defined here and act on the calling thread's current CPU.
 *
 *     machine_reset(4);                    power on: 4 CPUs, no RAM
 *     machine_add_ram(0x100000, 64 << 20); 64 MiB at 1 MiB
 *     ... loam_cpu_enter() on each CPU ...
 *     machine_access(2, virt, MACHINE_WRITE).fault
 *
 * The MMU is written from the Intel SDM (vol. 3, sections 4.5 to 4.10), not from
 * the library. A register write that would raise #GP fails the running test.
 */
#ifndef LOAM_TESTS_MACHINE_H
#define LOAM_TESTS_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include <loam/tlb.h>
#include <loam/types.h>

#define MACHINE_CPUS_MAX 64u

/* ---- the machine --------------------------------------------------------- */

/* Power on: no RAM, @p cpus CPUs with every feature but INVLPGB, 4-level paging and
 * 46 physical address bits. Undoes an earlier machine completely. The calling
 * thread is CPU 0. */
void machine_reset(unsigned cpus);

/* The direct map of this machine. RAM at physical p is at p + offset. */
struct loam_hhdm machine_hhdm(void);

/* Let all RAM lie at or above @p base, which moves the direct map down by as much:
 * if it is larger than the host's address space, into the higher half. There is
 * no RAM yet. What the host can reach is still in its lower half: what wraps. */
void machine_set_base(uint64_t base);

/* Bytes of physical address space that the direct map can show. */
uint64_t machine_window(void);

/* Make [start, start + size) RAM, zeroed. Rounded outward to pages; may overlap
 * or repeat earlier ranges, whose contents stay. */
void machine_add_ram(uint64_t start, uint64_t size);

bool machine_is_ram(uint64_t phys);

/* Host pointer to RAM; fails the test if it is none. */
void *machine_ram(uint64_t phys);

/* From now on the page at @p phys forgets what is written to it once it leaves the
 * cache. One page; until the next machine_reset(). */
void machine_break_ram(uint64_t phys);

/* ---- CPUs ---------------------------------------------------------------- */

/*
 * One CPU. After machine_reset() every switch is as unhelpful as a bootloader
 * may leave it: NXE and WP clear, PGE set, the PAT at its reset value, CR3 at no
 * table. Tests may change any field between calls of the library.
 */
struct machine_cpu {
    bool nx, gib_pages, global_pages, pat, la57; /* what CPUID reports */
    bool smep, smap, pcid, invpcid, invlpgb;     /* all but the last are there */
    bool is_intel;                               /* else AMD */
    bool ac;                                     /* RFLAGS.AC */
    uint32_t signature;                          /* CPUID 1 EAX */
    uint16_t invlpgb_more;                       /* pages of an INVLPGB beside the first */
    unsigned phys_bits;                          /* MAXPHYADDR; 36 if the leaf is missing */
    uint32_t basic_leaf_max;                     /* 7 */
    uint32_t extended_leaf_max;                  /* 80000008h */
    uint64_t cr0, cr3, cr4, efer, pat_msr;
};

struct machine_cpu *machine_cpu(unsigned cpu);
unsigned machine_cpu_count(void);

/* Switch all CPUs to 4 or 5 paging levels. */
void machine_set_levels(unsigned levels);

/* Which CPU the calling thread is from now on; its interrupt flag goes with it. */
void machine_set_cpu(unsigned cpu);

/* RFLAGS.IF of the calling thread; on in every new thread and after
 * machine_reset(). What is set here must be found when the library calls the
 * TLB hook. */
void machine_set_interrupts(bool on);
bool machine_interrupts(void);

/* Called each time that the library lets interrupts come, with them on: what other CPUs do,
 * and have done on this one, at such moments. NULL: none. May call the library, as another
 * CPU, and is not called meanwhile. */
void machine_interrupt_visit(void (*visit)(void));

/* ---- memory accesses ----------------------------------------------------- */

#define MACHINE_READ  0x0u
#define MACHINE_WRITE 0x1u
#define MACHINE_EXEC  0x2u
#define MACHINE_USER  0x4u /* at CPL 3; else ring 0 */

enum machine_fault {
    MACHINE_OK,
    MACHINE_NOT_CANONICAL,
    MACHINE_NOT_PRESENT,
    MACHINE_PROTECTION,
    MACHINE_RESERVED_BIT,
    MACHINE_BUS, /* a table lies outside RAM */
};

/* Memory types as IA32_PAT encodes them. */
enum machine_type {
    MACHINE_UC = 0,
    MACHINE_WC = 1,
    MACHINE_WT = 4,
    MACHINE_WP = 5,
    MACHINE_WB = 6,
    MACHINE_UC_MINUS = 7,
};

struct machine_access {
    enum machine_fault fault;
    uint64_t phys; /* the rest is 0 after a fault */
    uint64_t page_size;
    enum machine_type type; /* through this CPU's PAT when the translation was cached */
};

/*
 * Access one byte on a CPU. As hardware: uses a cached translation if there is
 * one, however stale; else walks from CR3 or from a cached upper-level entry,
 * sets accessed and dirty bits, and caches what it found, under the current PCID.
 * Translations stay cached until invlpg of the page under that PCID, a CR3 write that
 * drops it (global ones survive), a change of CR4.PGE, invpcid, or the tlbsync after an
 * invlpgb. Upper-level entries stay until any invlpg under their PCID or one of the
 * others. A fault caches nothing and drops the page's translation.
 */
struct machine_access machine_access(unsigned cpu, uint64_t virt, unsigned kind);

/* The same from the tables alone: no cache is used or filled, no bit is set. */
struct machine_access machine_probe(unsigned cpu, uint64_t virt, unsigned kind);

/* Is a translation of @p virt cached that would be used now? */
bool machine_tlb_holds(unsigned cpu, uint64_t virt);
/* Number of cached translations, under all PCIDs. */
unsigned machine_tlb_count(unsigned cpu);
/* Drop everything that a CPU has cached. */
void machine_tlb_clear(unsigned cpu);

/* ---- the TLB hook -------------------------------------------------------- */

/*
 * loam_port_tlb_flush() runs loam_tlb_flush_local() in turn on every CPU that the
 * flush names. It fails the test if interrupts are not as machine_set_interrupts() left them: a
 * lock of the library is held then. Threads may call it at the same time, but
 * not while another CPU is in loam_cpu_enter().
 */

/* Times the hook was called since machine_reset(). */
unsigned machine_flush_count(void);
/* Last argument of the hook. */
struct loam_tlb_flush machine_flush_last(void);
/* Let the hook do nothing but count: for tests that must notice. */
void machine_flush_drop(bool drop);
/* Let the hook ask every CPU, whoever is named. */
void machine_flush_everyone(bool everyone);
/* Called by the hook before it flushes; NULL: none. May call the library. */
void machine_flush_visit(void (*visit)(const struct loam_tlb_flush *flush));

/* ---- what the library did to the CPUs ------------------------------------ */

/* Forget the log and record from now on. machine_reset() stops recording. */
void machine_log_start(void);
/* Privileged operations since, of all CPUs, as words: "cli cr4=20 efer=d01
 * pat=7010600070106 cr0=80010013 cr3=1000 invlpg=ffff800000000000 wbinvd sti".
 * Stops recording. */
const char *machine_log(void);

#endif
