/*
 * machine.c - see machine.h. RAM, registers, instructions and hooks; the MMU is
 * in machine_mmu.h.
 */
#include "machine.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <loam/boot/adapter.h>
#include <loam/x86.h>

#include "harness.h"
#include "machine_mmu.h"

#define PAGE       UINT64_C(4096)
#define RFLAGS_IF  UINT64_C(0x200)
#define CR0_PE_PG  UINT64_C(0x80000001)
#define CR4_PAE    UINT64_C(0x20)
#define CR4_KNOWN  UINT64_C(0x00ff7fff) /* every bit that some CPU defines */
#define EFER_KNOWN UINT64_C(0x0000fd01)
#define EFER_LME   UINT64_C(0x100)
#define EFER_LMA   UINT64_C(0x400)
#define PAT_RESET  UINT64_C(0x0007040600070406)

static struct {
    uint64_t window, window_bytes; /* host address and size */
    uint64_t base;                 /* physical address at the window's start */
    struct loam_phys_range *ram;
    size_t ram_count;
    uint64_t broken_page; /* host address; 0: all hold */
    unsigned cpu_count;
    struct sim_cpu cpu[MACHINE_CPUS_MAX];
    pthread_mutex_t hook_mutex, log_mutex;
    _Atomic(unsigned) flush_count;
    struct loam_tlb_flush flush_last;
    bool flush_dropped;
    void (*flush_visit)(const struct loam_tlb_flush *flush);
    bool log_on;
    char log[1 << 14];
    size_t log_used;
} machine;

static _Thread_local unsigned current_cpu;
static _Thread_local bool interrupts_on = true;
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
            machine.window = WINDOW_HINT;
            machine.window_bytes = bytes;
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
    return (void *)(uintptr_t)(machine.window + (phys - machine.base));
}

static void drop_ram(void)
{
    for (size_t i = 0; i < machine.ram_count; i++) {
        void *const at = host_address(machine.ram[i].start.addr);
        if (mmap(at, machine.ram[i].size, PROT_NONE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != at)
            abort();
    }
    free(machine.ram);
    machine.ram = NULL;
    machine.ram_count = 0;
}

struct loam_hhdm machine_hhdm(void)
{
    return loam_boot_hhdm(machine.window - machine.base);
}

void machine_set_base(uint64_t base)
{
    machine.base = base;
}

uint64_t machine_window(void)
{
    return machine.window_bytes;
}

void machine_add_ram(uint64_t start, uint64_t size)
{
    const uint64_t first = start & ~(PAGE - 1);
    const uint64_t bytes = (size + (start - first) + (PAGE - 1)) & ~(PAGE - 1);
    const uint64_t offset = first - machine.base; /* wraps below the base: refused, too */
    if (offset >= machine.window_bytes || bytes > machine.window_bytes - offset)
        fail_msg("RAM at %#" PRIx64 " does not fit the simulated direct map", start);
    if (mprotect(host_address(first), bytes, PROT_READ | PROT_WRITE) != 0)
        fail_msg("RAM at %#" PRIx64 " cannot be had", start);
    machine.ram = realloc(machine.ram, (machine.ram_count + 1) * sizeof(*machine.ram));
    machine.ram[machine.ram_count++] = loam_phys_range_of(loam_phys_at(first), bytes);
}

bool machine_is_ram(uint64_t phys)
{
    for (size_t i = 0; i < machine.ram_count; i++) {
        if (loam_phys_range_contains(machine.ram[i], loam_phys_at(phys)))
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
    machine.broken_page = loam_virt_of(machine_ram(loam_page_floor(phys))).addr;
}

/* ---- memory accesses ------------------------------------------------------ */

static struct sim_cpu *cpu_at(unsigned cpu)
{
    if (cpu >= machine.cpu_count)
        fail_msg("the machine has no CPU %u", cpu);
    return &machine.cpu[cpu];
}

static bool is_canonical(const struct machine_cpu *cpu, uint64_t virt)
{
    const unsigned top = bit(cpu->cr4, 12) ? 56 : 47;
    return virt >> top == 0 || virt >> top == UINT64_MAX >> top;
}

static struct machine_access access_locked(struct sim_cpu *cpu, uint64_t virt, unsigned kind)
{
    const uint32_t slot = tlb_find(cpu, virt);
    const bool hit = slot != TLB_NONE;

    if (!is_canonical(&cpu->arch, virt))
        return failed(MACHINE_NOT_CANONICAL);
    if (hit && !is_allowed(&cpu->arch, &cpu->tlb[slot], kind))
        return failed(MACHINE_PROTECTION);
    if (hit && (cpu->tlb[slot].dirty || (kind & MACHINE_WRITE) == 0))
        return translated(&cpu->tlb[slot], virt);
    /* A miss, or a first write, which sets the dirty bit in memory. */
    tlb_drop_page(cpu, virt);
    return walk_tables(cpu, virt, kind, false);
}

struct machine_access machine_access(unsigned cpu_index, uint64_t virt, unsigned kind)
{
    struct sim_cpu *const cpu = cpu_at(cpu_index);

    pthread_mutex_lock(&cpu->mutex);
    const struct machine_access access = access_locked(cpu, virt, kind);
    if (access.fault != MACHINE_OK)
        tlb_drop_page(cpu, virt);
    pthread_mutex_unlock(&cpu->mutex);
    return access;
}

struct machine_access machine_probe(unsigned cpu_index, uint64_t virt, unsigned kind)
{
    struct sim_cpu *const cpu = cpu_at(cpu_index);

    pthread_mutex_lock(&cpu->mutex);
    const struct machine_access access = is_canonical(&cpu->arch, virt)
                                             ? walk_tables(cpu, virt, kind, true)
                                             : failed(MACHINE_NOT_CANONICAL);
    pthread_mutex_unlock(&cpu->mutex);
    return access;
}

bool machine_tlb_holds(unsigned cpu, uint64_t virt)
{
    return tlb_find(cpu_at(cpu), virt) != TLB_NONE;
}

unsigned machine_tlb_count(unsigned cpu)
{
    return cpu_at(cpu)->tlb_used;
}

void machine_tlb_clear(unsigned cpu_index)
{
    struct sim_cpu *const cpu = cpu_at(cpu_index);

    pthread_mutex_lock(&cpu->mutex);
    tlb_clear(cpu);
    upper_clear(cpu);
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
    tlb_clear(cpu);
    upper_clear(cpu);
}

void machine_reset(unsigned cpus)
{
    if (cpus == 0 || cpus > MACHINE_CPUS_MAX)
        fail_msg("a machine with %u CPUs", cpus);
    if (machine.window == 0)
        reserve_window();
    drop_ram();
    machine.base = 0;
    machine.cpu_count = cpus;
    for (unsigned i = 0; i < cpus; i++)
        power_on(&machine.cpu[i]);
    pthread_mutex_init(&machine.hook_mutex, NULL);
    pthread_mutex_init(&machine.log_mutex, NULL);
    machine.broken_page = 0;
    machine.flush_count = 0;
    machine.flush_last = (struct loam_tlb_flush){ 0 };
    machine.flush_dropped = false;
    machine.flush_visit = NULL;
    machine.log_on = false;
    current_cpu = 0;
    interrupts_on = interrupts_wanted = true;
    visiting = false;
}

struct machine_cpu *machine_cpu(unsigned cpu)
{
    return &cpu_at(cpu)->arch;
}

unsigned machine_cpu_count(void)
{
    return machine.cpu_count;
}

void machine_set_levels(unsigned levels)
{
    for (unsigned i = 0; i < machine.cpu_count; i++) {
        uint64_t *const cr4 = &machine.cpu[i].arch.cr4;
        *cr4 = levels == 5 ? *cr4 | LOAM_CR4_LA57 : *cr4 & ~LOAM_CR4_LA57;
    }
}

void machine_set_cpu(unsigned cpu)
{
    (void)cpu_at(cpu);
    current_cpu = cpu;
}

void machine_set_interrupts(bool on)
{
    interrupts_on = interrupts_wanted = on;
}

bool machine_interrupts(void)
{
    return interrupts_on;
}

/* ---- the log ------------------------------------------------------------- */

void machine_log_start(void)
{
    machine.log_used = 0;
    machine.log[0] = '\0';
    machine.log_on = true;
}

const char *machine_log(void)
{
    machine.log_on = false;
    return machine.log;
}

static void log_word(const char *word)
{
    if (!machine.log_on)
        return;
    pthread_mutex_lock(&machine.log_mutex);
    const size_t room = sizeof(machine.log) - machine.log_used;
    if (strlen(word) + 2 <= room) {
        const int n = snprintf(machine.log + machine.log_used, room, "%s%s",
                               machine.log_used == 0 ? "" : " ", word);
        machine.log_used += (size_t)n;
    }
    pthread_mutex_unlock(&machine.log_mutex);
}

static void log_value(const char *name, uint64_t value)
{
    char word[40];
    if (!machine.log_on)
        return;
    snprintf(word, sizeof(word), "%s=%" PRIx64, name, value);
    log_word(word);
}

/* ---- x86.h --------------------------------------------------------------- */

static void general_protection(bool ok, const char *what, uint64_t value)
{
    if (!ok)
        fail_msg("#GP on CPU %u: %s, value %#" PRIx64, current_cpu, what, value);
}

struct loam_cpuid loam_x86_cpuid(uint32_t leaf, uint32_t subleaf)
{
    const struct machine_cpu *const cpu = machine_cpu(current_cpu);
    struct loam_cpuid r = { 0, 0, 0, 0 };

    if (leaf == 0) {
        r.eax = cpu->basic_leaf_max;
    } else if (leaf == 0x80000000) {
        r.eax = cpu->extended_leaf_max;
    } else if (leaf > cpu->extended_leaf_max || (leaf < 0x80000000 && leaf > cpu->basic_leaf_max)) {
        r.eax = r.ebx = r.ecx = r.edx = UINT32_MAX; /* some other leaf's data */
    } else if (leaf == 1) {
        r.edx = 0x60u | (uint32_t)cpu->global_pages << 13 | (uint32_t)cpu->pat << 16;
    } else if (leaf == 7 && subleaf == 0) {
        r.ecx = (uint32_t)cpu->la57 << 16;
    } else if (leaf == 0x80000001) {
        r.edx = UINT32_C(1) << 29 | (uint32_t)cpu->nx << 20 | (uint32_t)cpu->gib_pages << 26;
    } else if (leaf == 0x80000008) {
        r.eax = cpu->phys_bits | (cpu->la57 ? 57u : 48u) << 8;
    }
    return r;
}

uint64_t loam_x86_rdmsr(uint32_t msr)
{
    const struct machine_cpu *const cpu = machine_cpu(current_cpu);
    general_protection(msr == LOAM_MSR_EFER || (msr == LOAM_MSR_PAT && cpu->pat), "rdmsr", msr);
    return msr == LOAM_MSR_EFER ? cpu->efer : cpu->pat_msr;
}

static void write_efer(struct sim_cpu *cpu, uint64_t value)
{
    const uint64_t known = cpu->arch.nx ? EFER_KNOWN : EFER_KNOWN & ~LOAM_EFER_NXE;
    general_protection((value & ~known) == 0, "reserved bit of EFER", value);
    general_protection(((value ^ cpu->arch.efer) & (EFER_LME | EFER_LMA)) == 0,
                       "EFER.LME with paging on", value);
    cpu->arch.efer = value;
    log_value("efer", value);
}

/* Section 12.11.8 says what has to surround the write. */
static void write_pat(struct sim_cpu *cpu, uint64_t value)
{
    for (unsigned i = 0; i < 64; i += 8) {
        const uint64_t type = value >> i & 0xff;
        general_protection(type <= 7 && type != 2 && type != 3, "reserved type in the PAT", value);
    }
    general_protection(cpu->arch.pat, "PAT on a CPU without it", value);
    if (interrupts_on || (cpu->arch.cr0 & (LOAM_CR0_CD | LOAM_CR0_NW)) != LOAM_CR0_CD ||
        !cpu->wbinvd_done || !cpu->flush_done || bit(cpu->arch.cr4, 7))
        fail_msg("PAT written with interrupts on, caches on or not written back, or stale TLB");
    cpu->wbinvd_done = cpu->flush_done = false;
    cpu->arch.pat_msr = value;
    log_value("pat", value);
}

void loam_x86_wrmsr(uint32_t msr, uint64_t value)
{
    struct sim_cpu *const cpu = cpu_at(current_cpu);
    general_protection(msr == LOAM_MSR_EFER || msr == LOAM_MSR_PAT, "wrmsr", msr);
    if (msr == LOAM_MSR_EFER)
        write_efer(cpu, value);
    else
        write_pat(cpu, value);
}

uint64_t loam_x86_read_cr0(void)
{
    return machine_cpu(current_cpu)->cr0;
}

void loam_x86_write_cr0(uint64_t value)
{
    struct sim_cpu *const cpu = cpu_at(current_cpu);
    const bool was_off = (cpu->arch.cr0 & LOAM_CR0_CD) != 0;
    const bool off = (value & LOAM_CR0_CD) != 0;

    general_protection(value >> 32 == 0, "reserved bit of CR0", value);
    general_protection((value & CR0_PE_PG) == CR0_PE_PG, "paging switched off", value);
    general_protection(off || (value & LOAM_CR0_NW) == 0, "CR0.NW without CR0.CD", value);
    if (was_off && !off && (!cpu->wbinvd_done || !cpu->flush_done))
        fail_msg("caches switched on with stale lines or translations");
    if (!was_off && off)
        cpu->wbinvd_done = cpu->flush_done = false;
    cpu->arch.cr0 = value;
    log_value("cr0", value);
}

uint64_t loam_x86_read_cr3(void)
{
    return machine_cpu(current_cpu)->cr3;
}

void loam_x86_write_cr3(uint64_t value)
{
    struct sim_cpu *const cpu = cpu_at(current_cpu);
    general_protection((value & bits(63, cpu->arch.phys_bits)) == 0, "reserved bit of CR3", value);
    pthread_mutex_lock(&cpu->mutex);
    cpu->arch.cr3 = value;
    tlb_drop_local(cpu);
    upper_clear(cpu);
    cpu->flush_done = true;
    pthread_mutex_unlock(&cpu->mutex);
    log_value("cr3", value);
}

uint64_t loam_x86_read_cr4(void)
{
    return machine_cpu(current_cpu)->cr4;
}

void loam_x86_write_cr4(uint64_t value)
{
    struct sim_cpu *const cpu = cpu_at(current_cpu);
    const uint64_t known = cpu->arch.global_pages ? CR4_KNOWN : CR4_KNOWN & ~LOAM_CR4_PGE;
    const uint64_t changed = cpu->arch.cr4 ^ value;

    general_protection((value & ~known) == 0, "reserved bit of CR4", value);
    general_protection((value & CR4_PAE) != 0, "CR4.PAE cleared in long mode", value);
    general_protection((changed & LOAM_CR4_LA57) == 0, "CR4.LA57 changed in long mode", value);
    pthread_mutex_lock(&cpu->mutex);
    cpu->arch.cr4 = value;
    if ((changed & LOAM_CR4_PGE) != 0) {
        tlb_clear(cpu);
        upper_clear(cpu);
        cpu->flush_done = true;
    }
    pthread_mutex_unlock(&cpu->mutex);
    log_value("cr4", value);
}

void loam_x86_invlpg(loam_virt page)
{
    struct sim_cpu *const cpu = cpu_at(current_cpu);
    pthread_mutex_lock(&cpu->mutex);
    tlb_drop_page(cpu, page.addr);
    upper_clear(cpu);
    pthread_mutex_unlock(&cpu->mutex);
    log_value("invlpg", page.addr);
}

void loam_x86_wbinvd(void)
{
    cpu_at(current_cpu)->wbinvd_done = true;
    log_word("wbinvd");
}

/* What leaves the cache for a broken page is lost. */
void loam_x86_clflush(const volatile void *line)
{
    const uint64_t at = loam_virt_of(line).addr & ~UINT64_C(63);
    if (machine.broken_page != 0 && loam_page_floor(at) == machine.broken_page)
        memset((void *)(uintptr_t)at, 0xff, 64);
}

void loam_x86_pause(void)
{
    sched_yield();
}

uint64_t loam_x86_irq_save(void)
{
    const uint64_t flags = interrupts_on ? RFLAGS_IF : 0;
    interrupts_on = false;
    log_word("cli");
    return flags;
}

void loam_x86_irq_restore(uint64_t flags)
{
    if ((flags & RFLAGS_IF) == 0)
        return;
    interrupts_on = true;
    log_word("sti");
}

/* ---- hooks --------------------------------------------------------------- */

unsigned loam_port_cpu(void)
{
    return current_cpu;
}

void loam_port_tlb_flush(const struct loam_tlb_flush *flush)
{
    if (interrupts_on != interrupts_wanted)
        fail_msg("TLB hook called with interrupts %s: a lock is held",
                 interrupts_on ? "on" : "off");
    machine.flush_count++;
    if (machine.flush_visit != NULL && !visiting) {
        visiting = true;
        machine.flush_visit(flush);
        visiting = false;
    }
    const unsigned self = current_cpu;
    pthread_mutex_lock(&machine.hook_mutex);
    machine.flush_last = *flush;
    interrupts_on = false; /* the others are in an interrupt handler */
    for (unsigned i = 0; i < machine.cpu_count && !machine.flush_dropped; i++) {
        current_cpu = i;
        loam_tlb_flush_local(flush);
    }
    current_cpu = self;
    interrupts_on = interrupts_wanted;
    pthread_mutex_unlock(&machine.hook_mutex);
}

unsigned machine_flush_count(void)
{
    return machine.flush_count;
}

struct loam_tlb_flush machine_flush_last(void)
{
    return machine.flush_last;
}

void machine_flush_drop(bool drop)
{
    machine.flush_dropped = drop;
}

void machine_flush_visit(void (*visit)(const struct loam_tlb_flush *flush))
{
    machine.flush_visit = visit;
}
