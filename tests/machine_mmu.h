/*
 * machine_mmu.h - the MMU of the simulated machine: its caches and its walk, from
 * the Intel SDM, volume 3, sections 4.5 to 4.10. Only machine_state.h includes it.
 */
#ifndef LOAM_TESTS_MACHINE_MMU_H
#define LOAM_TESTS_MACHINE_MMU_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "machine.h"

#define TLB_BUCKETS  1024u
#define TLB_NONE     UINT32_MAX
#define UPPER_CACHED 64u
#define PCID_ANY     UINT32_MAX

#define BROADCASTS_MAX 64u

/* A cached translation, with the rights of all levels combined. */
struct tlb_entry {
    uint64_t page, size, phys; /* size 0: free slot */
    enum machine_type type;
    uint16_t pcid; /* under which it was cached; of no meaning if it is global */
    bool write, user, nx, global, dirty;
    uint32_t next; /* in the bucket, or in the free list */
};

/* A cached upper-level entry: where the walk for a prefix may go on. */
struct upper_entry {
    uint64_t prefix; /* virt >> shift of the entry's level */
    uint64_t table;
    unsigned level; /* 2..5, of the entry; 0: unused */
    uint16_t pcid;
    bool write, user, nx;
};

/* An INVLPGB that has not been waited for. */
struct sim_broadcast {
    uint64_t what;
    uint32_t count;
};

struct sim_cpu {
    struct machine_cpu arch;
    pthread_mutex_t mutex; /* registers and caches: the TLB hook reaches into other CPUs */
    struct tlb_entry *tlb;
    uint32_t tlb_size, tlb_free, tlb_used;
    uint32_t bucket[TLB_BUCKETS];
    struct upper_entry upper[UPPER_CACHED];
    unsigned upper_next;
    /* What has happened since caches were disabled, and since the PAT changed. */
    bool wbinvd_done, flush_done;
    struct sim_broadcast broadcast[BROADCASTS_MAX]; /* before the next TLBSYNC */
    unsigned broadcast_count;
};

/* ---- TLB ----------------------------------------------------------------- */

static inline uint32_t tlb_bucket(uint64_t page, uint64_t size)
{
    return (uint32_t)(((page ^ size) * UINT64_C(0x9e3779b97f4a7c15)) >> 54) % TLB_BUCKETS;
}

static inline void tlb_clear(struct sim_cpu *cpu)
{
    cpu->tlb_size = 0;
    cpu->tlb_used = 0;
    cpu->tlb_free = TLB_NONE;
    memset(cpu->bucket, 0xff, sizeof(cpu->bucket));
}

/* PCIDs in CR3 count with CR4.PCIDE only: section 4.10.1. */
static inline uint32_t current_pcid(const struct machine_cpu *cpu)
{
    return (cpu->cr4 >> 17 & 1) != 0 ? (uint32_t)(cpu->cr3 & 0xfff) : 0;
}

/* All upper-level entries of a PCID. */
static inline void upper_drop(struct sim_cpu *cpu, uint32_t pcid)
{
    for (unsigned i = 0; i < UPPER_CACHED; i++) {
        if (pcid == PCID_ANY || cpu->upper[i].pcid == pcid)
            cpu->upper[i].level = 0;
    }
}

/* The slot number of a translation of @p virt that may be used under @p pcid, or
 * TLB_NONE. */
static inline uint32_t tlb_find(const struct sim_cpu *cpu, uint64_t virt, uint32_t pcid)
{
    for (unsigned shift = 12; shift <= 30; shift += 9) {
        const uint64_t size = UINT64_C(1) << shift;
        const uint64_t page = virt & ~(size - 1);
        uint32_t at = cpu->bucket[tlb_bucket(page, size)];
        for (; at != TLB_NONE; at = cpu->tlb[at].next) {
            const struct tlb_entry *const e = &cpu->tlb[at];
            if (e->page == page && e->size == size &&
                (e->global || pcid == PCID_ANY || e->pcid == pcid))
                return at;
        }
    }
    return TLB_NONE;
}

static inline void tlb_remove(struct sim_cpu *cpu, uint32_t slot)
{
    uint32_t *link = &cpu->bucket[tlb_bucket(cpu->tlb[slot].page, cpu->tlb[slot].size)];
    while (*link != slot)
        link = &cpu->tlb[*link].next;
    *link = cpu->tlb[slot].next;
    cpu->tlb[slot].size = 0;
    cpu->tlb[slot].next = cpu->tlb_free;
    cpu->tlb_free = slot;
    cpu->tlb_used--;
}

/* Every size of page that covers @p virt: more than one may be cached. Global ones,
 * too. */
static inline void tlb_drop_page(struct sim_cpu *cpu, uint64_t virt, uint32_t pcid)
{
    for (uint32_t slot; (slot = tlb_find(cpu, virt, pcid)) != TLB_NONE;)
        tlb_remove(cpu, slot);
}

/* All of a PCID, and perhaps what is global. */
static inline void tlb_drop_pcid(struct sim_cpu *cpu, uint32_t pcid, bool with_global)
{
    for (uint32_t slot = 0; slot < cpu->tlb_size; slot++) {
        const struct tlb_entry *const e = &cpu->tlb[slot];
        const bool is_meant = e->global ? with_global : pcid == PCID_ANY || e->pcid == pcid;
        if (e->size != 0 && is_meant)
            tlb_remove(cpu, slot);
    }
}

/* A copy of @p entry, whose page is not cached in this size. */
static inline void tlb_insert(struct sim_cpu *cpu, const struct tlb_entry *entry)
{
    uint32_t slot = cpu->tlb_free;
    if (slot != TLB_NONE) {
        cpu->tlb_free = cpu->tlb[slot].next;
    } else {
        slot = cpu->tlb_size++;
        if ((slot & (slot - 1)) == 0) /* grow at powers of two */
            cpu->tlb = realloc(cpu->tlb, ((size_t)slot * 2 + 1) * sizeof(*cpu->tlb));
    }
    uint32_t *const head = &cpu->bucket[tlb_bucket(entry->page, entry->size)];
    cpu->tlb[slot] = *entry;
    cpu->tlb[slot].next = *head;
    *head = slot;
    cpu->tlb_used++;
}

/* ---- MMU ----------------------------------------------------------------- */

static inline unsigned level_shift(unsigned level)
{
    return 12 + 9 * (level - 1);
}

static inline uint64_t bits(unsigned high, unsigned low)
{
    return (UINT64_MAX >> (63 - high)) & (UINT64_MAX << low);
}

static inline bool bit(uint64_t value, unsigned n)
{
    return (value >> n & 1) != 0;
}

/* Tables 4-14 to 4-20: bits that must be 0 in a present entry. */
static inline uint64_t reserved_bits(const struct machine_cpu *cpu, unsigned level, bool leaf)
{
    uint64_t reserved = cpu->phys_bits < 52 ? bits(51, cpu->phys_bits) : 0;
    if (!bit(cpu->efer, 11))
        reserved |= bits(63, 63);
    if (level >= 4 || (level == 3 && !cpu->gib_pages))
        reserved |= bits(7, 7);
    if (leaf && level > 1)
        reserved |= bits(level_shift(level) - 1, 13);
    if (leaf && !cpu->pat)
        reserved |= level == 1 ? bits(7, 7) : bits(12, 12);
    return reserved;
}

/* Section 12.12.3: PAT, PCD and PWT select an entry of the PAT. */
static inline enum machine_type memory_type(const struct machine_cpu *cpu, unsigned level,
                                            uint64_t entry)
{
    static const enum machine_type without_pat[4] = { MACHINE_WB, MACHINE_WT, MACHINE_UC_MINUS,
                                                      MACHINE_UC };
    const unsigned index = (unsigned)(entry >> 3 & 3);
    if (!cpu->pat)
        return without_pat[index];
    const unsigned high = bit(entry, level == 1 ? 7 : 12) ? 4 : 0;
    return (enum machine_type)(cpu->pat_msr >> 8 * (high + index) & 7);
}

/* Section 4.6.1, without protection keys. */
static inline bool is_allowed(const struct machine_cpu *cpu, const struct tlb_entry *e,
                              unsigned kind)
{
    const bool as_user = (kind & MACHINE_USER) != 0;
    const bool is_code = (kind & MACHINE_EXEC) != 0;
    if (as_user && !e->user)
        return false;
    if (!as_user && e->user && is_code && bit(cpu->cr4, 20)) /* SMEP */
        return false;
    if (!as_user && e->user && !is_code && bit(cpu->cr4, 21) && !cpu->ac) /* SMAP */
        return false;
    if ((kind & MACHINE_WRITE) != 0 && !e->write && (as_user || bit(cpu->cr0, 16)))
        return false;
    return !is_code || !e->nx || !bit(cpu->efer, 11);
}

static inline struct machine_access failed(enum machine_fault fault)
{
    const struct machine_access access = { .fault = fault };
    return access;
}

static inline struct machine_access translated(const struct tlb_entry *e, uint64_t virt)
{
    const struct machine_access access = { MACHINE_OK, e->phys + (virt - e->page), e->size,
                                           e->type };
    return access;
}

/* The state of a walk: the next table and the rights so far. */
struct walk {
    uint64_t virt;
    uint64_t table;
    unsigned level; /* of the table */
    bool write, user, nx;
    bool bare; /* leave caches and accessed bits alone */
};

/* Start at CR3, or below the lowest cached upper-level entry. */
static inline struct walk walk_start(const struct sim_cpu *cpu, uint64_t virt, bool bare)
{
    struct walk walk = {
        virt, cpu->arch.cr3 & bits(51, 12), bit(cpu->arch.cr4, 12) ? 5 : 4, true, true, false, bare
    };
    for (unsigned i = 0; i < UPPER_CACHED && !bare; i++) {
        const struct upper_entry *const u = &cpu->upper[i];
        if (u->level == 0 || u->level > walk.level || u->prefix != virt >> level_shift(u->level) ||
            u->pcid != current_pcid(&cpu->arch))
            continue;
        walk.table = u->table;
        walk.level = u->level - 1;
        walk.write = u->write;
        walk.user = u->user;
        walk.nx = u->nx;
    }
    return walk;
}

static inline void walk_down(struct sim_cpu *cpu, struct walk *walk, uint64_t entry)
{
    walk->table = entry & bits(51, 12);
    if (!walk->bare) {
        const struct upper_entry upper = { walk->virt >> level_shift(walk->level),
                                           walk->table,
                                           walk->level,
                                           (uint16_t)current_pcid(&cpu->arch),
                                           walk->write,
                                           walk->user,
                                           walk->nx };
        cpu->upper[cpu->upper_next++ % UPPER_CACHED] = upper;
    }
    walk->level--;
}

/* Atomically, as section 4.8 demands. false: the entry has changed meanwhile. */
static inline bool set_accessed(_Atomic(uint64_t) *slot, uint64_t seen, bool dirty)
{
    const uint64_t want = seen | bits(5, 5) | (dirty ? bits(6, 6) : 0);
    return want == seen || atomic_compare_exchange_strong(slot, &seen, want);
}

static inline struct machine_access walk_tables(struct sim_cpu *cpu, uint64_t virt, unsigned kind,
                                                bool bare)
{
    struct walk walk = walk_start(cpu, virt, bare);
    for (;;) { /* ends: the level falls, but for retries after a racing change */
        const uint64_t at = walk.table + (virt >> level_shift(walk.level) & 511) * 8;
        if (!machine_is_ram(at))
            return failed(MACHINE_BUS);
        _Atomic(uint64_t) *const slot = machine_ram(at);
        const uint64_t entry = atomic_load(slot);
        const bool leaf = walk.level == 1 || bit(entry, 7);
        if (!bit(entry, 0))
            return failed(MACHINE_NOT_PRESENT);
        if ((entry & reserved_bits(&cpu->arch, walk.level, leaf)) != 0)
            return failed(MACHINE_RESERVED_BIT);
        const struct tlb_entry found = {
            .page = virt & ~(bits(level_shift(walk.level), 0) >> 1),
            .size = UINT64_C(1) << level_shift(walk.level),
            .phys = entry & bits(51, level_shift(walk.level)),
            .type = memory_type(&cpu->arch, walk.level, entry),
            .pcid = (uint16_t)current_pcid(&cpu->arch),
            .write = walk.write && bit(entry, 1),
            .user = walk.user && bit(entry, 2),
            .nx = walk.nx || bit(entry, 63),
            .global = bit(entry, 8) && bit(cpu->arch.cr4, 7),
            .dirty = bit(entry, 6) || (kind & MACHINE_WRITE) != 0,
        };
        if (leaf && !is_allowed(&cpu->arch, &found, kind))
            return failed(MACHINE_PROTECTION);
        if (!bare && !set_accessed(slot, entry, leaf && (kind & MACHINE_WRITE) != 0))
            continue;
        if (leaf) {
            if (!bare)
                tlb_insert(cpu, &found);
            return translated(&found, virt);
        }
        walk.write = found.write;
        walk.user = found.user;
        walk.nx = found.nx;
        walk_down(cpu, &walk, entry);
    }
}

#endif
