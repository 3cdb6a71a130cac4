/*
 * tlb_thread_test.c - CPUs as threads: they load spaces, use pages, change them and reuse
 * the frames at once, through the library and the reference kernel's hook.
 *
 * A frame's words are plain memory: who still reads one through a stale translation races
 * with its next owner, and reads what is not its page's.
 */
#include "harness.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

/* Names of its own beside the library and the machine that all tests are linked with. */
#define loam_x86_irq_save    threaded_irq_save
#define loam_x86_irq_restore threaded_irq_restore
#define loam_x86_write_cr3   threaded_write_cr3
#define loam_x86_read_cr3    threaded_read_cr3
#define loam_x86_write_cr4   threaded_write_cr4
#define loam_x86_read_cr4    threaded_read_cr4
#define loam_x86_invlpg      threaded_invlpg
#define loam_x86_invpcid     threaded_invpcid
#define loam_x86_pause       threaded_pause

#include "kernel/apic.h"
#include "kernel/cpu.h"
#include "kernel/instructions.h"
#include "kernel/panic.h"
#include "kernel/tlb.h"
#include "kernel/trap.h"

#define loam_cpu_set_has          threaded_cpu_set_has
#define loam_tlb_init             threaded_tlb_init
#define loam_tlb_connect          threaded_tlb_connect
#define loam_tlb_disconnect       threaded_tlb_disconnect
#define loam_tlb_is_loaded        threaded_tlb_is_loaded
#define loam_tlb_online           threaded_tlb_online
#define loam_tlb_offline          threaded_tlb_offline
#define loam_tlb_switch           threaded_tlb_switch
#define loam_tlb_flush_local      threaded_tlb_flush_local
#define loam_tlb_batch_begin      threaded_tlb_batch_begin
#define loam_tlb_batch_add        threaded_tlb_batch_add
#define loam_tlb_batch_add_global threaded_tlb_batch_add_global
#define loam_tlb_batch_tables     threaded_tlb_batch_tables
#define loam_tlb_batch_full       threaded_tlb_batch_full
#define loam_tlb_batch_flush      threaded_tlb_batch_flush
#define loam_tlb_audit            threaded_tlb_audit
#define loam_tlb_digest           threaded_tlb_digest
#define loam_port_cpu             threaded_port_cpu
#define loam_port_tlb_flush       threaded_port_tlb_flush
#define cpu_self()                (&cpu_table[thread_cpu])
#define cpu_count()               CPUS
#define x86_read_tsc()            UINT64_C(0)
#define apic_send(to, vector)     ((void)(to), (vector) == VECTOR_TLB)

#define CPUS   3u
#define SPACES 3u /* the kernel's, and two more */
#define PAGES  3u /* of each half; page i is changed by CPU i */
#define HALVES 2u
#define PCIDS  (1 + LOAM_TLB_SLOTS)
#define FRAMES ((SPACES + 1) * PAGES) /* a lower half each, and the higher one */
#define ROUNDS 1500u
#define HIGHER UINT64_C(0xffff800000000000)
#define POISON 999u

static _Thread_local unsigned thread_cpu;

bool threaded_cpu_set_has(const struct loam_cpu_set *set, unsigned cpu);
static unsigned threaded_port_cpu(void);
static void threaded_port_tlb_flush(const struct loam_tlb_flush *flush);

#include "../src/tlb.c"

#include "kernel/tlb.c"

struct cpu cpu_table[LOAM_CPUS_MAX];

/* ---- memory and processors -------------------------------------------------- */

static struct loam_tlb tlb;
static struct loam_tlb_space space[SPACES];
static _Atomic(unsigned) table[FRAMES]; /* frame + 1; 0: not mapped */
static unsigned words[FRAMES];          /* what the frames hold: their own number */
static _Atomic(unsigned) done_count, wrong_count;
static bool pages_are_global;

/* One thread's: nobody else looks. */
static _Thread_local struct {
    uint64_t cr3;
    unsigned page[PCIDS][HALVES][PAGES];
    unsigned global[PAGES];
} processor;

static unsigned threaded_port_cpu(void)
{
    return thread_cpu;
}

uint64_t threaded_irq_save(void)
{
    return 0; /* requests are served in a thread's own time */
}

void threaded_irq_restore(uint64_t flags)
{
    (void)flags;
}

void threaded_pause(void)
{
    sched_yield();
}

uint64_t threaded_read_cr3(void)
{
    return processor.cr3;
}

void threaded_write_cr3(uint64_t value)
{
    processor.cr3 = value & ~LOAM_CR3_KEEP;
    if ((value & LOAM_CR3_KEEP) == 0)
        memset(processor.page[value & 0xfff], 0, sizeof(processor.page[0]));
}

uint64_t threaded_read_cr4(void)
{
    return LOAM_CR4_PGE;
}

void threaded_write_cr4(uint64_t value)
{
    (void)value;
    memset(processor.page, 0, sizeof(processor.page));
    memset(processor.global, 0, sizeof(processor.global));
}

void threaded_invlpg(loam_virt page)
{
    const unsigned index = (unsigned)(page.addr >> 12 & 0xff);
    const bool is_higher = page.addr >= HIGHER;
    processor.page[processor.cr3 & 0xfff][is_higher][index] = 0;
    if (is_higher)
        processor.global[index] = 0;
}

void threaded_invpcid(uint64_t type, uint64_t pcid, loam_virt page)
{
    (void)type;
    (void)pcid;
    (void)page;
    threaded_write_cr4(0);
}

/* ---- what they do ------------------------------------------------------------ */

static unsigned entry_index(unsigned of, bool is_higher, unsigned page)
{
    return (is_higher ? SPACES : of) * PAGES + page;
}

static void use_page(unsigned of, bool is_higher, unsigned page)
{
    unsigned *const cached = is_higher && pages_are_global
                                 ? &processor.global[page]
                                 : &processor.page[processor.cr3 & 0xfff][is_higher][page];
    if (*cached == 0)
        *cached =
            atomic_load_explicit(&table[entry_index(of, is_higher, page)], memory_order_acquire);
    if (*cached != 0 && words[*cached - 1] != entry_index(of, is_higher, page))
        atomic_fetch_add(&wrong_count, 1);
}

/* Unmap the page that is this CPU's to change, reuse its frame, and map it again. */
static void change_page(unsigned of, bool is_higher)
{
    const unsigned index = entry_index(of, is_higher, thread_cpu);
    const uint64_t at = (is_higher ? HIGHER : 0) + thread_cpu * LOAM_PAGE_SIZE;
    const struct loam_virt_range range = loam_virt_range_of(loam_virt_at(at), LOAM_PAGE_SIZE);
    struct loam_tlb_batch batch;

    atomic_store_explicit(&table[index], 0, memory_order_release);
    loam_tlb_batch_begin(&batch, &space[is_higher ? 0 : of]);
    if (is_higher && pages_are_global)
        loam_tlb_batch_add_global(&batch, range, LOAM_PAGE_SIZE);
    else
        loam_tlb_batch_add(&batch, range, LOAM_PAGE_SIZE);
    loam_tlb_batch_flush(&batch);
    words[index] = POISON;
    words[index] = index;
    atomic_store_explicit(&table[index], index + 1, memory_order_release);
}

static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static void *run_cpu(void *number)
{
    unsigned loaded = 0;
    uint32_t random = 0x9e3779b9;
    thread_cpu = (unsigned)(uintptr_t)number;
    random += thread_cpu * 77;
    loam_tlb_online(&tlb);
    threaded_write_cr3(space[0].root.addr);
    for (unsigned round = 0; round < ROUNDS; round++) {
        const uint32_t what = next_random(&random);
        tlb_serve();
        for (unsigned page = 0; page < PAGES; page++) {
            use_page(loaded, false, page);
            use_page(loaded, true, page);
        }
        if (what % 16 == 0)
            change_page(what >> 8 & 1, (what >> 9 & 1) != 0);
        if (what % 4 == 1) {
            loaded = (what >> 8) % SPACES;
            loam_tlb_switch(&tlb, &space[loaded]);
        }
    }
    atomic_fetch_add(&done_count, 1);
    while (atomic_load(&done_count) < CPUS) {
        tlb_serve();
        sched_yield();
    }
    return NULL;
}

static void run_all(bool has_pcid, bool is_global)
{
    const struct loam_cpu_features features = { .global_pages = true,
                                                .pcid = has_pcid,
                                                .invpcid = has_pcid };
    pthread_t thread[CPUS];
    pages_are_global = is_global;
    memset(cpu_table, 0, sizeof(cpu_table));
    memset(space, 0, sizeof(space));
    loam_tlb_init(&tlb, &features, CPUS);
    for (unsigned i = 0; i < SPACES; i++)
        loam_tlb_connect(&tlb, &space[i], loam_phys_at((i + 1) * LOAM_PAGE_SIZE), i == 0);
    for (unsigned i = 0; i < FRAMES; i++) {
        words[i] = i;
        atomic_store(&table[i], i + 1);
    }
    atomic_store(&done_count, 0);
    atomic_store(&wrong_count, 0);
    for (unsigned i = 0; i < CPUS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, run_cpu, (void *)(uintptr_t)i), 0);
    for (unsigned i = 0; i < CPUS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    assert_int_equal(atomic_load(&wrong_count), 0);
    assert_null(loam_tlb_audit(&tlb));
}

static void flush_T11_frames_are_nobody_elses_when_they_are_reused(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 4; kind++)
        run_all((kind & 1) != 0, (kind & 2) != 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flush_T11_frames_are_nobody_elses_when_they_are_reused),
    };
    return RUN_TESTS(tests);
}
