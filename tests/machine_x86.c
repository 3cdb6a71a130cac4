/*
 * machine_x86.c - the instructions of the simulated machine, as x86.h declares them:
 * from the Intel SDM, and for INVLPGB and TLBSYNC from the AMD APM.
 */
#include <loam/x86.h>

#include <inttypes.h>
#include <sched.h>
#include <string.h>

#include "harness.h"
#include "machine_state.h"

#define CR0_PE_PG  UINT64_C(0x80000001)
#define CR4_PAE    UINT64_C(0x20)
#define CR4_KNOWN  UINT64_C(0x00ff7fff) /* every bit that some CPU defines */
#define EFER_KNOWN UINT64_C(0x0000fd01)

static void general_protection(bool ok, const char *what, uint64_t value)
{
    if (!ok)
        fail_msg("#GP on CPU %u: %s, value %#" PRIx64, sim_current_cpu, what, value);
}

struct loam_cpuid loam_x86_cpuid(uint32_t leaf, uint32_t subleaf)
{
    const struct machine_cpu *const cpu = machine_cpu(sim_current_cpu);
    struct loam_cpuid r = { 0, 0, 0, 0 };

    if (leaf == 0) {
        r.eax = cpu->basic_leaf_max;
        if (cpu->is_intel) { /* "GenuineIntel" */
            r.ebx = 0x756e6547;
            r.edx = 0x49656e69;
            r.ecx = 0x6c65746e;
        } else { /* "AuthenticAMD" */
            r.ebx = 0x68747541;
            r.edx = 0x69746e65;
            r.ecx = 0x444d4163;
        }
    } else if (leaf == 0x80000000) {
        r.eax = cpu->extended_leaf_max;
    } else if (leaf > cpu->extended_leaf_max || (leaf < 0x80000000 && leaf > cpu->basic_leaf_max)) {
        r.eax = r.ebx = r.ecx = r.edx = UINT32_MAX; /* some other leaf's data */
    } else if (leaf == 1) {
        r.eax = cpu->signature;
        r.ecx = (uint32_t)cpu->pcid << 17;
        r.edx = 0x60u | (uint32_t)cpu->global_pages << 13 | (uint32_t)cpu->pat << 16;
    } else if (leaf == 7 && subleaf == 0) {
        r.ebx = (uint32_t)cpu->smep << 7 | (uint32_t)cpu->invpcid << 10 | (uint32_t)cpu->smap << 20;
        r.ecx = (uint32_t)cpu->la57 << 16;
    } else if (leaf == 0x80000001) {
        r.edx = UINT32_C(1) << 29 | (uint32_t)cpu->nx << 20 | (uint32_t)cpu->gib_pages << 26;
    } else if (leaf == 0x80000008) {
        r.eax = cpu->phys_bits | (cpu->la57 ? 57u : 48u) << 8;
        r.ebx = (uint32_t)cpu->invlpgb << 3;
        r.edx = cpu->invlpgb_more; /* beside the first page */
    }
    return r;
}

uint64_t loam_x86_rdmsr(uint32_t msr)
{
    const struct machine_cpu *const cpu = machine_cpu(sim_current_cpu);
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
    sim_log_value("efer", value);
}

/* Section 12.11.8 says what has to surround the write. */
static void write_pat(struct sim_cpu *cpu, uint64_t value)
{
    for (unsigned i = 0; i < 64; i += 8) {
        const uint64_t type = value >> i & 0xff;
        general_protection(type <= 7 && type != 2 && type != 3, "reserved type in the PAT", value);
    }
    general_protection(cpu->arch.pat, "PAT on a CPU without it", value);
    if (sim_interrupts_on || (cpu->arch.cr0 & (LOAM_CR0_CD | LOAM_CR0_NW)) != LOAM_CR0_CD ||
        !cpu->wbinvd_done || !cpu->flush_done || bit(cpu->arch.cr4, 7))
        fail_msg("PAT written with interrupts on, caches on or not written back, or stale TLB");
    cpu->wbinvd_done = cpu->flush_done = false;
    cpu->arch.pat_msr = value;
    sim_log_value("pat", value);
}

void loam_x86_wrmsr(uint32_t msr, uint64_t value)
{
    struct sim_cpu *const cpu = sim_cpu_at(sim_current_cpu);
    general_protection(msr == LOAM_MSR_EFER || msr == LOAM_MSR_PAT, "wrmsr", msr);
    if (msr == LOAM_MSR_EFER)
        write_efer(cpu, value);
    else
        write_pat(cpu, value);
}

uint64_t loam_x86_read_cr0(void)
{
    return machine_cpu(sim_current_cpu)->cr0;
}

void loam_x86_write_cr0(uint64_t value)
{
    struct sim_cpu *const cpu = sim_cpu_at(sim_current_cpu);
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
    sim_log_value("cr0", value);
}

uint64_t loam_x86_read_cr3(void)
{
    return machine_cpu(sim_current_cpu)->cr3;
}

/* Bit 63 is not kept. What of PCIDs is dropped: section 4.10.4.1. */
void loam_x86_write_cr3(uint64_t value)
{
    struct sim_cpu *const cpu = sim_cpu_at(sim_current_cpu);
    const bool has_pcids = bit(cpu->arch.cr4, 17);
    const bool keeps = has_pcids && bit(value, 63);
    const uint64_t loaded = keeps ? value & ~LOAM_CR3_KEEP : value;
    general_protection((loaded & bits(63, cpu->arch.phys_bits)) == 0, "reserved bit of CR3", value);
    pthread_mutex_lock(&cpu->mutex);
    cpu->arch.cr3 = loaded;
    if (!keeps) {
        tlb_drop_pcid(cpu, current_pcid(&cpu->arch), false);
        upper_drop(cpu, current_pcid(&cpu->arch));
        cpu->flush_done = true;
    }
    pthread_mutex_unlock(&cpu->mutex);
    sim_log_value("cr3", value);
}

uint64_t loam_x86_read_cr4(void)
{
    return machine_cpu(sim_current_cpu)->cr4;
}

static uint64_t cr4_known(const struct machine_cpu *cpu)
{
    return CR4_KNOWN & ~((cpu->global_pages ? 0 : LOAM_CR4_PGE) | (cpu->pcid ? 0 : LOAM_CR4_PCIDE) |
                         (cpu->smep ? 0 : LOAM_CR4_SMEP) | (cpu->smap ? 0 : LOAM_CR4_SMAP));
}

void loam_x86_write_cr4(uint64_t value)
{
    struct sim_cpu *const cpu = sim_cpu_at(sim_current_cpu);
    const uint64_t old = cpu->arch.cr4;
    const uint64_t changed = old ^ value;
    const uint64_t set = value & ~old;

    general_protection((value & ~cr4_known(&cpu->arch)) == 0, "reserved bit of CR4", value);
    general_protection((value & CR4_PAE) != 0, "CR4.PAE cleared in long mode", value);
    general_protection((changed & LOAM_CR4_LA57) == 0, "CR4.LA57 changed in long mode", value);
    general_protection((set & LOAM_CR4_PCIDE) == 0 || (cpu->arch.cr3 & 0xfff) == 0,
                       "CR4.PCIDE set while CR3 names a PCID", value);
    pthread_mutex_lock(&cpu->mutex);
    if ((changed & LOAM_CR4_PGE) != 0 || (changed & ~set & LOAM_CR4_PCIDE) != 0) {
        tlb_clear(cpu);
        upper_drop(cpu, PCID_ANY);
        cpu->flush_done = true;
    } else if ((set & LOAM_CR4_SMEP) != 0) {
        tlb_drop_pcid(cpu, current_pcid(&cpu->arch), true);
        upper_drop(cpu, current_pcid(&cpu->arch));
    }
    cpu->arch.cr4 = value;
    pthread_mutex_unlock(&cpu->mutex);
    sim_log_value("cr4", value);
}

void loam_x86_invlpg(loam_virt page)
{
    struct sim_cpu *const cpu = sim_cpu_at(sim_current_cpu);
    pthread_mutex_lock(&cpu->mutex);
    tlb_drop_page(cpu, page.addr, current_pcid(&cpu->arch));
    upper_drop(cpu, current_pcid(&cpu->arch));
    pthread_mutex_unlock(&cpu->mutex);
    sim_log_value("invlpg", page.addr);
}

/* One page of a PCID, but not if it is global, and what leads to it. */
static void invpcid_page(struct sim_cpu *cpu, uint32_t pcid, uint64_t virt)
{
    for (uint32_t slot = 0; slot < cpu->tlb_size; slot++) {
        const struct tlb_entry *const e = &cpu->tlb[slot];
        if (e->size != 0 && !e->global && e->pcid == pcid && virt - e->page < e->size)
            tlb_remove(cpu, slot);
    }
    for (unsigned i = 0; i < UPPER_CACHED; i++) {
        struct upper_entry *const u = &cpu->upper[i];
        if (u->level != 0 && u->pcid == pcid && u->prefix == virt >> level_shift(u->level))
            u->level = 0;
    }
}

/* Intel SDM vol. 2, INVPCID. */
void loam_x86_invpcid(uint64_t type, uint64_t pcid, loam_virt page)
{
    struct sim_cpu *const cpu = sim_cpu_at(sim_current_cpu);
    if (!cpu->arch.invpcid)
        fail_msg("#UD on CPU %u: invpcid", sim_current_cpu);
    general_protection(type <= 3, "type of invpcid", type);
    general_protection(pcid >> 12 == 0, "reserved bit of invpcid", pcid);
    general_protection(type > 1 || pcid == 0 || bit(cpu->arch.cr4, 17), "invpcid without PCIDs",
                       pcid);
    general_protection(type != 0 || sim_is_canonical(&cpu->arch, page.addr),
                       "invpcid of an address", page.addr);
    pthread_mutex_lock(&cpu->mutex);
    if (type == 0) {
        invpcid_page(cpu, (uint32_t)pcid, page.addr);
    } else {
        const uint32_t which = type == 1 ? (uint32_t)pcid : PCID_ANY;
        tlb_drop_pcid(cpu, which, type == 2);
        upper_drop(cpu, which);
    }
    pthread_mutex_unlock(&cpu->mutex);
    sim_log_value("invpcid", type);
}

/* AMD APM vol. 3, INVLPGB; without PCIDs and ASIDs that are valid. */
static void broadcast_on(struct sim_cpu *cpu, const struct sim_broadcast *b)
{
    const bool with_global = bit(b->what, 3);
    const uint64_t stride = bit(b->count, 31) ? UINT64_C(1) << 21 : PAGE;
    pthread_mutex_lock(&cpu->mutex);
    if (!bit(b->what, 0)) {
        tlb_drop_pcid(cpu, PCID_ANY, with_global);
        upper_drop(cpu, PCID_ANY);
    }
    for (uint64_t i = 0; bit(b->what, 0) && i <= (b->count & 0xffff); i++) {
        const uint64_t virt = (b->what & ~(PAGE - 1)) + i * stride;
        for (uint32_t slot = 0; slot < cpu->tlb_size; slot++) {
            const struct tlb_entry *const e = &cpu->tlb[slot];
            if (e->size != 0 && virt - e->page < e->size && (with_global || !e->global))
                tlb_remove(cpu, slot);
        }
        for (unsigned k = 0; k < UPPER_CACHED; k++) {
            struct upper_entry *const u = &cpu->upper[k];
            if (u->level != 0 && u->prefix == virt >> level_shift(u->level))
                u->level = 0;
        }
    }
    pthread_mutex_unlock(&cpu->mutex);
}

/* As late as may be. */
void loam_x86_invlpgb(uint64_t what, uint32_t count, uint32_t tags)
{
    struct sim_cpu *const cpu = sim_cpu_at(sim_current_cpu);
    if (!cpu->arch.invlpgb)
        fail_msg("#UD on CPU %u: invlpgb", sim_current_cpu);
    general_protection((what & 0xfc0) == 0, "reserved bit of invlpgb", what);
    general_protection((count & 0x7fff0000) == 0 && (count & 0xffff) <= cpu->arch.invlpgb_more,
                       "more pages than an invlpgb takes", count);
    if (tags != 0 || (what & 0x32) != 0)
        fail_msg("an invlpgb by PCID or ASID is not simulated");
    if (cpu->broadcast_count == BROADCASTS_MAX)
        fail_msg("so many invlpgb without tlbsync are not simulated");
    cpu->broadcast[cpu->broadcast_count++] = (struct sim_broadcast){ what, count };
    sim_log_value("invlpgb", what);
}

/* Ends those that this CPU has begun. */
void loam_x86_tlbsync(void)
{
    struct sim_cpu *const cpu = sim_cpu_at(sim_current_cpu);
    if (!cpu->arch.invlpgb)
        fail_msg("#UD on CPU %u: tlbsync", sim_current_cpu);
    for (unsigned i = 0; i < cpu->broadcast_count; i++) {
        for (unsigned k = 0; k < sim.cpu_count; k++)
            broadcast_on(&sim.cpu[k], &cpu->broadcast[i]);
    }
    cpu->broadcast_count = 0;
    sim_log_word("tlbsync");
}

static void set_ac(bool on)
{
    struct machine_cpu *const cpu = machine_cpu(sim_current_cpu);
    if (!cpu->smap)
        fail_msg("#UD on CPU %u: %s", sim_current_cpu, on ? "stac" : "clac");
    cpu->ac = on;
    sim_log_word(on ? "stac" : "clac");
}

void loam_x86_stac(void)
{
    set_ac(true);
}

void loam_x86_clac(void)
{
    set_ac(false);
}

void loam_x86_wbinvd(void)
{
    sim_cpu_at(sim_current_cpu)->wbinvd_done = true;
    sim_log_word("wbinvd");
}

/* What leaves the cache for a broken page is lost. */
void loam_x86_clflush(const volatile void *line)
{
    const uint64_t at = loam_virt_of(line).addr & ~UINT64_C(63);
    if (sim.broken_page != 0 && loam_page_floor(at) == sim.broken_page)
        memset((void *)(uintptr_t)at, 0xff, 64);
}

void loam_x86_pause(void)
{
    sched_yield();
}

uint64_t loam_x86_irq_save(void)
{
    const uint64_t flags = sim_interrupts_on ? RFLAGS_IF : 0;
    sim_interrupts_on = false;
    sim_log_word("cli");
    return flags;
}

void loam_x86_irq_restore(uint64_t flags)
{
    if ((flags & RFLAGS_IF) == 0)
        return;
    sim_interrupts_on = true;
    sim_log_word("sti");
    sim_interrupt();
}
