/*
 * tlb_schedule_world.h - src/tlb.c step by step, and processors that cache what they walk: what
 * tlb_schedule_test.c explores.
 */
#ifndef LOAM_TESTS_TLB_SCHEDULE_WORLD_H
#define LOAM_TESTS_TLB_SCHEDULE_WORLD_H

#include "schedule.h"

#include <string.h>

/* ---- the library, with steps --------------------------------------------- */

/* What also makes all that the CPU has stored before seen by the others: locked instructions, and
 * sequentially consistent stores. */
static void locked_step(void);

#undef atomic_fetch_add
#undef atomic_fetch_or
#undef atomic_fetch_and
#undef atomic_exchange
#undef atomic_store
#ifdef __clang__
#define atomic_fetch_add(p, v) (locked_step(), __c11_atomic_fetch_add((p), (v), STEP_ORDER))
#else
#define atomic_fetch_add(p, v) (locked_step(), __atomic_fetch_add((p), (v), STEP_ORDER))
#endif
#define atomic_fetch_or(p, v)  (locked_step(), STEP_OR(p, v, STEP_ORDER))
#define atomic_fetch_and(p, v) (locked_step(), STEP_AND(p, v, STEP_ORDER))
#define atomic_exchange(p, v)  (locked_step(), STEP_EXCHANGE(p, v, STEP_ORDER))
#define atomic_store(p, v)     (locked_step(), STEP_STORE(p, v, STEP_ORDER))

/* Names of its own beside the library and the machine that all tests are linked with. */
#define loam_cpu_set_has          scheduled_cpu_set_has
#define loam_tlb_init             scheduled_tlb_init
#define loam_tlb_connect          scheduled_tlb_connect
#define loam_tlb_disconnect       scheduled_tlb_disconnect
#define loam_tlb_is_loaded        scheduled_tlb_is_loaded
#define loam_tlb_online           scheduled_tlb_online
#define loam_tlb_offline          scheduled_tlb_offline
#define loam_tlb_switch           scheduled_tlb_switch
#define loam_tlb_flush_local      scheduled_tlb_flush_local
#define loam_tlb_batch_begin      scheduled_tlb_batch_begin
#define loam_tlb_batch_add        scheduled_tlb_batch_add
#define loam_tlb_batch_add_global scheduled_tlb_batch_add_global
#define loam_tlb_batch_tables     scheduled_tlb_batch_tables
#define loam_tlb_batch_full       scheduled_tlb_batch_full
#define loam_tlb_batch_flush      scheduled_tlb_batch_flush
#define loam_tlb_audit            scheduled_tlb_audit
#define loam_tlb_digest           scheduled_tlb_digest
#define loam_port_cpu             scheduled_port_cpu
#define loam_port_tlb_flush       scheduled_port_tlb_flush
#define loam_x86_irq_save         scheduled_irq_save
#define loam_x86_irq_restore      scheduled_irq_restore
#define loam_x86_write_cr3        scheduled_write_cr3
#define loam_x86_read_cr3         scheduled_read_cr3
#define loam_x86_write_cr4        scheduled_write_cr4
#define loam_x86_read_cr4         scheduled_read_cr4
#define loam_x86_invlpg           scheduled_invlpg
#define loam_x86_invpcid          scheduled_invpcid
#define loam_x86_invlpgb          scheduled_invlpgb
#define loam_x86_tlbsync          scheduled_tlbsync

bool scheduled_cpu_set_has(const struct loam_cpu_set *set, unsigned cpu);
static unsigned scheduled_port_cpu(void);
static void scheduled_port_tlb_flush(const struct loam_tlb_flush *flush);

#include "../src/tlb.c"

/* ---- memory --------------------------------------------------------------- */

#define PAGES  2u
#define SPACES 3u /* the kernel's, A and B */
#define PCIDS  (1 + LOAM_TLB_SLOTS)
#define TABLES (SPACES + 1) /* a lower one each, and the higher one of all */

enum { LOWER_HALF, HIGHER_HALF, HALVES };

#define HIGHER_BASE UINT64_C(0xffff800000000000)

/* A frame is the page that it backs: table * PAGES + page + 1; 0: none. */
struct sim_table {
    bool is_freed, is_linked;
    unsigned frame[PAGES];
    bool is_frame_freed[PAGES];
};

#define LINK PAGES /* beside the entries of a table: the one that points to it */

struct sim_processor {
    uint64_t cr3, cr4;
    bool clears[TABLES][PAGES + 1]; /* stores of 0 that no other CPU sees yet */
    bool is_off;                    /* interrupts */
    bool is_offline;
    unsigned page[PCIDS][HALVES][PAGES]; /* cached frames */
    unsigned global[PAGES];
    unsigned upper[PCIDS][HALVES]; /* cached table + 1 */
    uint64_t broadcast[4];
    unsigned broadcast_count;
};

static struct {
    struct loam_tlb tlb;
    struct loam_tlb_space space[SPACES];
    struct sim_table table[TABLES];
    bool is_root_freed[SPACES];
    struct sim_processor cpu[CPUS_MAX];
    const struct loam_tlb_flush *pending[CPUS_MAX][CPUS_MAX]; /* asked of, by */
    unsigned asked_count;
} now, at_start;

static bool is_global;          /* are the pages of the higher half? */
static bool broadcasts_at_once; /* INVLPGB, which may be as late as TLBSYNC */

/* Whose interrupt handler another CPU runs for it. */
static int acting = -1;

static unsigned self_cpu(void)
{
    return acting >= 0 ? (unsigned)acting : scheduled_cpu();
}

static unsigned scheduled_port_cpu(void)
{
    return self_cpu();
}

static unsigned space_of(uint64_t cr3)
{
    return (unsigned)(cr3 >> 12 & 0xff) - 1;
}

static unsigned table_of(unsigned space, unsigned half)
{
    return half == LOWER_HALF ? space : SPACES;
}

/* A CPU clears an entry, or the link, of a table. Others see it when it has to be. */
static void clear_entry(unsigned table, unsigned entry)
{
    now.cpu[self_cpu()].clears[table][entry] = true;
}

static void see_stores(void)
{
    struct sim_processor *const cpu = &now.cpu[self_cpu()];

    for (unsigned i = 0; i < TABLES; i++) {
        for (unsigned page = 0; page < PAGES; page++) {
            if (cpu->clears[i][page])
                now.table[i].frame[page] = 0;
        }
        if (cpu->clears[i][LINK])
            now.table[i].is_linked = false;
    }
    memset(cpu->clears, 0, sizeof cpu->clears);
}

static void locked_step(void)
{
    schedule_step();
    see_stores();
}

/* One access, and a walk that some neighbour may need: all of it must be there. */
static void use_page(struct sim_processor *cpu, unsigned half, unsigned page)
{
    const unsigned pcid = (unsigned)(cpu->cr3 & 0xfff);
    const unsigned space = space_of(cpu->cr3);
    const bool *const clears = cpu->clears[table_of(space, half)];
    unsigned *const cached =
        half == HIGHER_HALF && is_global ? &cpu->global[page] : &cpu->page[pcid][half][page];
    unsigned *const upper = &cpu->upper[pcid][half];

    SCHEDULE_REQUIRE(!now.is_root_freed[space]);
    if (*upper == 0 && !clears[LINK] && now.table[table_of(space, half)].is_linked)
        *upper = table_of(space, half) + 1;
    SCHEDULE_REQUIRE(*upper == 0 || !now.table[*upper - 1].is_freed);
    if (*cached == 0 && *upper != 0 && !clears[page])
        *cached = now.table[*upper - 1].frame[page];
    SCHEDULE_REQUIRE(*cached == 0 ||
                     !now.table[(*cached - 1) / PAGES].is_frame_freed[(*cached - 1) % PAGES]);
}

/* Everything that it can reach. */
static void use_all(unsigned self)
{
    for (unsigned half = 0; half < HALVES && !now.cpu[self].is_offline; half++) {
        for (unsigned page = 0; page < PAGES; page++)
            use_page(&now.cpu[self], half, page);
    }
}

/* ---- the processor --------------------------------------------------------- */

static void drop_pcid(struct sim_processor *cpu, unsigned pcid)
{
    memset(cpu->page[pcid], 0, sizeof cpu->page[pcid]);
    memset(cpu->upper[pcid], 0, sizeof cpu->upper[pcid]);
}

static void drop_all(struct sim_processor *cpu)
{
    for (unsigned pcid = 0; pcid < PCIDS; pcid++)
        drop_pcid(cpu, pcid);
    memset(cpu->global, 0, sizeof cpu->global);
}

/* Its own doing: a CPU that comes online uses what it likes from here on. */
static void drop_all_here(void)
{
    drop_all(&now.cpu[self_cpu()]);
    now.cpu[self_cpu()].is_offline = false;
    use_all(self_cpu());
}

/* Interrupts that wait, each with a request. */
static void serve(unsigned self)
{
    struct sim_processor *const cpu = &now.cpu[self];

    if (cpu->is_off)
        return;
    for (unsigned by = 0; by < CPUS_MAX; by++) {
        const struct loam_tlb_flush *const request = now.pending[self][by];
        if (request == NULL)
            continue;
        cpu->is_off = true;
        loam_tlb_flush_local(request);
        cpu->is_off = false;
        now.pending[self][by] = NULL;
    }
}

uint64_t scheduled_irq_save(void)
{
    struct sim_processor *const cpu = &now.cpu[self_cpu()];
    const uint64_t flags = cpu->is_off ? 0 : 0x200;

    cpu->is_off = true;
    return flags;
}

void scheduled_irq_restore(uint64_t flags)
{
    if (flags == 0)
        return;
    now.cpu[self_cpu()].is_off = false;
    if (acting < 0)
        serve(self_cpu());
}

uint64_t scheduled_read_cr3(void)
{
    return now.cpu[self_cpu()].cr3;
}

/* The last chance to use what is loaded. */
void scheduled_write_cr3(uint64_t value)
{
    locked_step();
    struct sim_processor *const cpu = &now.cpu[self_cpu()];
    use_all(self_cpu());
    cpu->cr3 = value & ~LOAM_CR3_KEEP;
    if ((value & LOAM_CR3_KEEP) == 0)
        drop_pcid(cpu, (unsigned)(value & 0xfff));
    use_all(self_cpu());
}

uint64_t scheduled_read_cr4(void)
{
    return now.cpu[self_cpu()].cr4;
}

void scheduled_write_cr4(uint64_t value)
{
    locked_step();
    now.cpu[self_cpu()].cr4 = value;
    drop_all_here();
}

static void drop_page(struct sim_processor *cpu, uint64_t virt, unsigned pcid)
{
    const unsigned half = virt >= HIGHER_BASE ? HIGHER_HALF : LOWER_HALF;
    const unsigned page = (unsigned)(virt >> 12 & 0xff);

    cpu->page[pcid][half][page] = 0;
    if (half == HIGHER_HALF)
        cpu->global[page] = 0;
    memset(cpu->upper[pcid], 0, sizeof cpu->upper[pcid]);
}

void scheduled_invlpg(loam_virt page)
{
    locked_step();
    struct sim_processor *const cpu = &now.cpu[self_cpu()];
    drop_page(cpu, page.addr, (unsigned)(cpu->cr3 & 0xfff));
}

void scheduled_invpcid(uint64_t type, uint64_t pcid, loam_virt page)
{
    (void)pcid;
    (void)page;
    locked_step();
    SCHEDULE_REQUIRE(type == LOAM_INVPCID_ALL);
    drop_all_here();
}

static void drop_everywhere(uint64_t what)
{
    for (unsigned cpu = 0; cpu < CPUS_MAX; cpu++) {
        if ((what & LOAM_INVLPGB_VA) == 0)
            drop_all(&now.cpu[cpu]);
        for (unsigned pcid = 0; pcid < PCIDS; pcid++)
            drop_page(&now.cpu[cpu], what, pcid);
    }
}

/* Waits for no store. */
void scheduled_invlpgb(uint64_t what, uint32_t count, uint32_t tags)
{
    struct sim_processor *const cpu = &now.cpu[self_cpu()];
    (void)tags;
    schedule_step();
    SCHEDULE_REQUIRE(count == 0 && cpu->broadcast_count < 4);
    if (broadcasts_at_once)
        drop_everywhere(what);
    else
        cpu->broadcast[cpu->broadcast_count++] = what;
}

void scheduled_tlbsync(void)
{
    struct sim_processor *const self = &now.cpu[self_cpu()];
    locked_step();
    for (unsigned i = 0; i < self->broadcast_count; i++)
        drop_everywhere(self->broadcast[i]);
    self->broadcast_count = 0;
}

/* ---- the hook -------------------------------------------------------------- */

/* On @p cpu, which does nothing else, or nothing more. */
static void interrupt_idle(unsigned cpu, unsigned by)
{
    acting = (int)cpu;
    machine.is_on = false;
    loam_tlb_flush_local(now.pending[cpu][by]);
    machine.is_on = true;
    acting = -1;
    now.pending[cpu][by] = NULL;
}

static void scheduled_port_tlb_flush(const struct loam_tlb_flush *flush)
{
    const unsigned self = scheduled_cpu();

    SCHEDULE_REQUIRE(!now.cpu[self].is_off);
    for (unsigned cpu = 0; cpu < CPUS_MAX; cpu++) {
        schedule_step();
        if (!loam_cpu_set_has(&flush->cpus, cpu))
            continue;
        now.asked_count++;
        now.pending[cpu][self] = flush;
    }
    for (unsigned cpu = 0; cpu < CPUS_MAX; cpu++) {
        while (now.pending[cpu][self] != NULL) {
            schedule_step();
            serve(self);
            if (now.pending[cpu][self] == NULL)
                break;
            if (cpu >= machine.world->cpus || machine.is_done[cpu])
                interrupt_idle(cpu, self);
            else
                switch_to(cpu);
        }
    }
}

#endif
