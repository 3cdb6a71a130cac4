/*
 * machine.c - see machine.h. RAM, accesses, the log and hooks; instructions are in
 * machine_x86.c, the MMU in machine_mmu.h.
 */
#include "machine.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <loam/boot/adapter.h>
#include <loam/x86.h>

#include "harness.h"
#include "machine_state.h"

#define PAT_RESET UINT64_C(0x0007040600070406)

struct sim_machine sim;
_Thread_local unsigned sim_current_cpu;
_Thread_local bool sim_interrupts_on = true;
static _Thread_local bool interrupts_wanted = true;
static _Thread_local bool visiting;

/* ---- RAM ----------------------------------------------------------------- */

/* Address space that neither the program nor a sanitizer uses: above ASan's
 * shadow and below position-independent executables; TSan leaves less. 65 TiB: the
 * addresses of 64 TiB of RAM, with holes. */
#ifdef __has_feature
#define HAS_TSAN __has_feature(thread_sanitizer)
#elif defined(__SANITIZE_THREAD__)
#define HAS_TSAN 1
#else
#define HAS_TSAN 0
#endif
#define WINDOW_HINT  (HAS_TSAN ? UINT64_C(0x7e8000000000) : UINT64_C(0x110000000000))
#define WINDOW_BYTES ((UINT64_C(1) << 40) * (HAS_TSAN ? 1 : 65))

static void reserve_window(void)
{
    void *const hint = (void *)(uintptr_t)WINDOW_HINT;
    for (uint64_t bytes = WINDOW_BYTES; bytes >= UINT64_C(1) << 38; bytes >>= 1) {
        void *const at =
            mmap(hint, bytes, PROT_NONE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
        if (at == hint) {
            sim.window = WINDOW_HINT;
            sim.window_bytes = bytes;
            return;
        }
        if (at != MAP_FAILED)
            munmap(at, bytes);
    }
    fprintf(stderr, "machine: no address space for the direct map\n");
    abort();
}

static void *host_address(uint64_t phys)
{
    return (void *)(uintptr_t)(sim.window + (phys - sim.base));
}

static void drop_ram(void)
{
    for (size_t i = 0; i < sim.ram_count; i++) {
        void *const at = host_address(sim.ram[i].start.addr);
        if (mmap(at, sim.ram[i].size, PROT_NONE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != at)
            abort();
    }
    free(sim.ram);
    sim.ram = NULL;
    sim.ram_count = 0;
}

struct loam_hhdm machine_hhdm(void)
{
    return loam_boot_hhdm(sim.window - sim.base);
}

void machine_set_base(uint64_t base)
{
    sim.base = base;
}

uint64_t machine_window(void)
{
    return sim.window_bytes;
}

void machine_add_ram(uint64_t start, uint64_t size)
{
    const uint64_t first = start & ~(PAGE - 1);
    const uint64_t bytes = (size + (start - first) + (PAGE - 1)) & ~(PAGE - 1);
    const uint64_t offset = first - sim.base; /* wraps below the base: refused, too */
    if (offset >= sim.window_bytes || bytes > sim.window_bytes - offset)
        fail_msg("RAM at %#" PRIx64 " does not fit the simulated direct map", start);
    if (mprotect(host_address(first), bytes, PROT_READ | PROT_WRITE) != 0)
        fail_msg("RAM at %#" PRIx64 " cannot be had", start);
    sim.ram = realloc(sim.ram, (sim.ram_count + 1) * sizeof(*sim.ram));
    sim.ram[sim.ram_count++] = loam_phys_range_of(loam_phys_at(first), bytes);
}

bool machine_is_ram(uint64_t phys)
{
    for (size_t i = 0; i < sim.ram_count; i++) {
        if (loam_phys_range_contains(sim.ram[i], loam_phys_at(phys)))
            return true;
    }
    return false;
}

void *machine_ram(uint64_t phys)
{
    if (!machine_is_ram(phys))
        fail_msg("no RAM at %#" PRIx64, phys);
    return host_address(phys);
}

void machine_break_ram(uint64_t phys)
{
    sim.broken_page = loam_virt_of(machine_ram(loam_page_floor(phys))).addr;
}

/* ---- memory accesses ------------------------------------------------------ */

struct sim_cpu *sim_cpu_at(unsigned cpu)
{
    if (cpu >= sim.cpu_count)
        fail_msg("the machine has no CPU %u", cpu);
    return &sim.cpu[cpu];
}

bool sim_is_canonical(const struct machine_cpu *cpu, uint64_t virt)
{
    const unsigned top = bit(cpu->cr4, 12) ? 56 : 47;
    return virt >> top == 0 || virt >> top == UINT64_MAX >> top;
}

static struct machine_access access_locked(struct sim_cpu *cpu, uint64_t virt, unsigned kind)
{
    const uint32_t pcid = current_pcid(&cpu->arch);
    const uint32_t slot = tlb_find(cpu, virt, pcid);
    const bool hit = slot != TLB_NONE;

    if (!sim_is_canonical(&cpu->arch, virt))
        return failed(MACHINE_NOT_CANONICAL);
    if (hit && !is_allowed(&cpu->arch, &cpu->tlb[slot], kind))
        return failed(MACHINE_PROTECTION);
    if (hit && (cpu->tlb[slot].dirty || (kind & MACHINE_WRITE) == 0))
        return translated(&cpu->tlb[slot], virt);
    /* A miss, or a first write, which sets the dirty bit in memory. */
    tlb_drop_page(cpu, virt, pcid);
    return walk_tables(cpu, virt, kind, false);
}

struct machine_access machine_access(unsigned cpu_index, uint64_t virt, unsigned kind)
{
    struct sim_cpu *const cpu = sim_cpu_at(cpu_index);

    pthread_mutex_lock(&cpu->mutex);
    const struct machine_access access = access_locked(cpu, virt, kind);
    if (access.fault != MACHINE_OK)
        tlb_drop_page(cpu, virt, current_pcid(&cpu->arch));
    pthread_mutex_unlock(&cpu->mutex);
    return access;
}

struct machine_access machine_probe(unsigned cpu_index, uint64_t virt, unsigned kind)
{
    struct sim_cpu *const cpu = sim_cpu_at(cpu_index);

    pthread_mutex_lock(&cpu->mutex);
    const struct machine_access access = sim_is_canonical(&cpu->arch, virt)
                                             ? walk_tables(cpu, virt, kind, true)
                                             : failed(MACHINE_NOT_CANONICAL);
    pthread_mutex_unlock(&cpu->mutex);
    return access;
}

bool machine_tlb_holds(unsigned cpu, uint64_t virt)
{
    return tlb_find(sim_cpu_at(cpu), virt, current_pcid(&sim_cpu_at(cpu)->arch)) != TLB_NONE;
}

unsigned machine_tlb_count(unsigned cpu)
{
    return sim_cpu_at(cpu)->tlb_used;
}

void machine_tlb_clear(unsigned cpu_index)
{
    struct sim_cpu *const cpu = sim_cpu_at(cpu_index);

    pthread_mutex_lock(&cpu->mutex);
    tlb_clear(cpu);
    upper_drop(cpu, PCID_ANY);
    pthread_mutex_unlock(&cpu->mutex);
}

/* ---- machine and CPUs ---------------------------------------------------- */

static void power_on(struct sim_cpu *cpu)
{
    static const struct machine_cpu reset = {
        .nx = true,
        .gib_pages = true,
        .global_pages = true,
        .pat = true,
        .la57 = true,
        .smep = true,
        .smap = true,
        .pcid = true,
        .invpcid = true,
        .is_intel = true,
        .signature = 0x806f8, /* Sapphire Rapids */
        .phys_bits = 46,
        .basic_leaf_max = 7,
        .extended_leaf_max = 0x80000008,
        .cr0 = 0x80000033,                 /* PE MP ET NE PG */
        .cr4 = 0x6a0,                      /* PAE PGE OSFXSR OSXMMEXCPT */
        .efer = EFER_LME | EFER_LMA | 0x1, /* and SCE */
        .pat_msr = PAT_RESET,
    };
    cpu->arch = reset;
    cpu->wbinvd_done = cpu->flush_done = false;
    pthread_mutex_init(&cpu->mutex, NULL); /* a failed test may have left it locked */
    cpu->broadcast_count = 0;
    tlb_clear(cpu);
    upper_drop(cpu, PCID_ANY);
}

void machine_reset(unsigned cpus)
{
    if (cpus == 0 || cpus > MACHINE_CPUS_MAX)
        fail_msg("a machine with %u CPUs", cpus);
    if (sim.window == 0)
        reserve_window();
    drop_ram();
    sim.base = 0;
    sim.cpu_count = cpus;
    for (unsigned i = 0; i < cpus; i++)
        power_on(&sim.cpu[i]);
    pthread_mutex_init(&sim.hook_mutex, NULL);
    pthread_mutex_init(&sim.log_mutex, NULL);
    sim.broken_page = 0;
    sim.flush_count = 0;
    sim.flush_last = (struct loam_tlb_flush){ 0 };
    sim.flush_dropped = sim.flush_everyone = false;
    sim.flush_visit = NULL;
    sim.interrupt_visit = NULL;
    sim.log_on = false;
    sim_current_cpu = 0;
    sim_interrupts_on = interrupts_wanted = true;
    visiting = false;
}

struct machine_cpu *machine_cpu(unsigned cpu)
{
    return &sim_cpu_at(cpu)->arch;
}

unsigned machine_cpu_count(void)
{
    return sim.cpu_count;
}

void machine_set_levels(unsigned levels)
{
    for (unsigned i = 0; i < sim.cpu_count; i++) {
        uint64_t *const cr4 = &sim.cpu[i].arch.cr4;
        *cr4 = levels == 5 ? *cr4 | LOAM_CR4_LA57 : *cr4 & ~LOAM_CR4_LA57;
    }
}

void machine_set_cpu(unsigned cpu)
{
    (void)sim_cpu_at(cpu);
    sim_current_cpu = cpu;
}

void machine_set_interrupts(bool on)
{
    sim_interrupts_on = interrupts_wanted = on;
}

bool machine_interrupts(void)
{
    return sim_interrupts_on;
}

void machine_interrupt_visit(void (*visit)(void))
{
    sim.interrupt_visit = visit;
}

void sim_interrupt(void)
{
    const unsigned self = sim_current_cpu;

    if (sim.interrupt_visit == NULL || visiting)
        return;
    visiting = true;
    sim.interrupt_visit();
    visiting = false;
    sim_current_cpu = self;
}

/* ---- the log ------------------------------------------------------------- */

void machine_log_start(void)
{
    sim.log_used = 0;
    sim.log[0] = '\0';
    sim.log_on = true;
}

const char *machine_log(void)
{
    sim.log_on = false;
    return sim.log;
}

void sim_log_word(const char *word)
{
    if (!sim.log_on)
        return;
    pthread_mutex_lock(&sim.log_mutex);
    const size_t room = sizeof(sim.log) - sim.log_used;
    if (strlen(word) + 2 <= room) {
        const int n =
            snprintf(sim.log + sim.log_used, room, "%s%s", sim.log_used == 0 ? "" : " ", word);
        sim.log_used += (size_t)n;
    }
    pthread_mutex_unlock(&sim.log_mutex);
}

void sim_log_value(const char *name, uint64_t value)
{
    char word[40];
    if (!sim.log_on)
        return;
    snprintf(word, sizeof(word), "%s=%" PRIx64, name, value);
    sim_log_word(word);
}

/* ---- hooks --------------------------------------------------------------- */

unsigned loam_port_cpu(void)
{
    return sim_current_cpu;
}

void loam_port_tlb_flush(const struct loam_tlb_flush *flush)
{
    if (sim_interrupts_on != interrupts_wanted)
        fail_msg("TLB hook called with interrupts %s: a lock is held",
                 sim_interrupts_on ? "on" : "off");
    sim.flush_count++;
    if (sim.flush_visit != NULL && !visiting) {
        visiting = true;
        sim.flush_visit(flush);
        visiting = false;
    }
    const unsigned self = sim_current_cpu;
    pthread_mutex_lock(&sim.hook_mutex);
    sim.flush_last = *flush;
    sim_interrupts_on = false; /* the others are in an interrupt handler */
    for (unsigned i = 0; i < sim.cpu_count && !sim.flush_dropped; i++) {
        sim_current_cpu = i;
        if (sim.flush_everyone || loam_cpu_set_has(&flush->cpus, i))
            loam_tlb_flush_local(flush);
    }
    sim_current_cpu = self;
    sim_interrupts_on = interrupts_wanted;
    pthread_mutex_unlock(&sim.hook_mutex);
}

unsigned machine_flush_count(void)
{
    return sim.flush_count;
}

struct loam_tlb_flush machine_flush_last(void)
{
    return sim.flush_last;
}

void machine_flush_drop(bool drop)
{
    sim.flush_dropped = drop;
}

void machine_flush_everyone(bool everyone)
{
    sim.flush_everyone = everyone;
}

void machine_flush_visit(void (*visit)(const struct loam_tlb_flush *flush))
{
    sim.flush_visit = visit;
}
