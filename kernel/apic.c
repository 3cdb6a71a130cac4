/*
 * apic.c - see apic.h. Registers: Intel SDM vol. 3, table 11-1; in x2APIC mode
 * register R is MSR 0x800 + R / 16. The timer's pace is the machine's secret: it is
 * measured with the PIT (Intel 8254), whose pace is not.
 */
#include "apic.h"

#include "instructions.h"
#include "layout.h"
#include "log.h"
#include "memory.h"
#include "trap.h"

#define APIC_ID           0x020u
#define APIC_END          0x0b0u
#define APIC_SPURIOUS     0x0f0u
#define APIC_COMMAND      0x300u
#define APIC_COMMAND_HIGH 0x310u
#define APIC_TIMER        0x320u
#define APIC_TIMER_START  0x380u
#define APIC_TIMER_NOW    0x390u
#define APIC_TIMER_DIVIDE 0x3e0u

#define APIC_BASE_X2      (UINT64_C(1) << 10)
#define APIC_BASE_ENABLED (UINT64_C(1) << 11)
#define X2_MSR            0x800u

#define SPURIOUS_ENABLE 0x100u
#define COMMAND_ASSERT  0x4000u
#define COMMAND_NMI     0x400u
#define COMMAND_PENDING 0x1000u
#define TIMER_MASKED    0x10000u
#define TIMER_PERIODIC  0x20000u
#define TIMER_DIVIDE_16 0x3u
#define TIMER_GUESS     625000u /* a hundredth of a second, at 1 GHz: QEMU's */
#define TIMER_LEAST     64u     /* in a measurement: less is no timer */
#define SEND_SPINS_MAX  1000000u

#define CPUID_APIC (1u << 9) /* leaf 1, EDX */

#define PIC_1         0x20u
#define PIC_2         0xa0u
#define PIC_DATA      1u    /* beside the command port */
#define PIC_INIT      0x11u /* edge-triggered, cascaded, four words */
#define PIC_8086      0x01u
#define PIC_CASCADE_1 0x04u
#define PIC_CASCADE_2 0x02u
#define PIC_MASK_ALL  0xffu

#define PIT_CHANNEL_2  0x42u
#define PIT_COMMAND    0x43u
#define PIT_ONE_SHOT_2 0xb0u /* channel 2, both bytes, mode 0: its output rises at the end */
#define PIT_COUNT      1193u /* a thousandth of a second, at 1193182 Hz */
#define PIT_COUNTS     10u   /* that make a hundredth */
#define PIT_PORT_B     0x61u
#define PIT_GATE       0x01u
#define PIT_SPEAKER    0x02u
#define PIT_OUTPUT     0x20u
#define PIT_TRIES      16u                  /* the shortest counts: others were held up */
#define PIT_CYCLES_MAX UINT64_C(2000000000) /* then there is no PIT */

enum apic_mode { APIC_NONE, APIC_MAPPED, APIC_X2 };

static enum apic_mode mode;
static uint32_t timer_count = TIMER_GUESS; /* of a hundredth of a second */

static volatile uint32_t *register_at(unsigned offset)
{
    return (volatile uint32_t *)(uintptr_t)(LAYOUT_APIC + offset);
}

static uint32_t read_register(unsigned offset)
{
    return mode == APIC_X2 ? (uint32_t)loam_x86_rdmsr(X2_MSR + offset / 16) : *register_at(offset);
}

static void write_register(unsigned offset, uint32_t value)
{
    if (mode == APIC_X2)
        loam_x86_wrmsr(X2_MSR + offset / 16, value);
    else
        *register_at(offset) = value;
}

/* Its vectors would be those of exceptions: move them away, then mask them. */
static void silence_pic(void)
{
    x86_out8(PIC_1, PIC_INIT);
    x86_out8(PIC_2, PIC_INIT);
    x86_out8(PIC_1 + PIC_DATA, VECTOR_LEGACY);
    x86_out8(PIC_2 + PIC_DATA, VECTOR_LEGACY + 8);
    x86_out8(PIC_1 + PIC_DATA, PIC_CASCADE_1);
    x86_out8(PIC_2 + PIC_DATA, PIC_CASCADE_2);
    x86_out8(PIC_1 + PIC_DATA, PIC_8086);
    x86_out8(PIC_2 + PIC_DATA, PIC_8086);
    x86_out8(PIC_1 + PIC_DATA, PIC_MASK_ALL);
    x86_out8(PIC_2 + PIC_DATA, PIC_MASK_ALL);
}

/* Ticks of the timer while the PIT counts down once. @return 0: it does not */
static uint32_t count_ticks(void)
{
    const uint8_t port = x86_in8(PIT_PORT_B) & (uint8_t) ~(PIT_GATE | PIT_SPEAKER);
    x86_out8(PIT_PORT_B, port);
    x86_out8(PIT_COMMAND, PIT_ONE_SHOT_2);
    x86_out8(PIT_CHANNEL_2, PIT_COUNT & 0xff);
    /* Before the count is complete: QEMU's PIT counts from then on, gate or no gate. What
     * holds us up in between makes a measurement longer, never shorter. */
    write_register(APIC_TIMER_START, UINT32_MAX);
    x86_out8(PIT_CHANNEL_2, PIT_COUNT >> 8);
    x86_out8(PIT_PORT_B, port | PIT_GATE);
    const uint64_t start = x86_read_tsc();
    bool is_over = false;
    while (!is_over && x86_read_tsc() - start < PIT_CYCLES_MAX)
        is_over = (x86_in8(PIT_PORT_B) & PIT_OUTPUT) != 0;
    const uint32_t ticks = UINT32_MAX - read_register(APIC_TIMER_NOW);
    write_register(APIC_TIMER_START, 0);
    x86_out8(PIT_PORT_B, port);
    return is_over ? ticks : 0;
}

static void calibrate_timer(void)
{
    uint32_t least = UINT32_MAX;
    write_register(APIC_TIMER_DIVIDE, TIMER_DIVIDE_16);
    for (unsigned i = 0; i < PIT_TRIES; i++) {
        const uint32_t ticks = count_ticks();
        if (ticks < TIMER_LEAST) {
            log_warn("timer: it cannot be measured, there is no PIT: its pace is guessed");
            return;
        }
        least = ticks < least ? ticks : least;
    }
    timer_count = least * PIT_COUNTS;
    log_info("timer: %u ticks in a hundredth of a second", timer_count);
}

static bool map_registers(uint64_t phys)
{
    const struct loam_attr uncached = { LOAM_PROT_WRITE | LOAM_PROT_GLOBAL, LOAM_CACHE_UC };
    const struct loam_virt_range page =
        loam_virt_range_of(loam_virt_at(LAYOUT_APIC), LOAM_PAGE_SIZE);
    const enum loam_status st = loam_map(&memory, page, loam_phys_at(phys), uncached);
    if (st != LOAM_OK)
        log_warn("local APIC at %p cannot be mapped: %s", (void *)(uintptr_t)phys,
                 loam_status_name(st));
    return st == LOAM_OK;
}

bool apic_init(void)
{
    silence_pic();
    if ((loam_x86_cpuid(1, 0).edx & CPUID_APIC) == 0)
        return false;
    const uint64_t base = loam_x86_rdmsr(MSR_APIC_BASE);
    if ((base & APIC_BASE_ENABLED) == 0)
        return false;
    if ((base & APIC_BASE_X2) != 0)
        mode = APIC_X2; /* the boot CPU's own word counts more than a flag in a response */
    else if (map_registers(loam_page_floor(base) & ((UINT64_C(1) << LOAM_PHYS_BITS_MAX) - 1)))
        mode = APIC_MAPPED;
    if (mode == APIC_NONE)
        return false;
    apic_enable();
    calibrate_timer();
    return true;
}

void apic_enable(void)
{
    if (mode == APIC_NONE)
        return;
    write_register(APIC_TIMER, TIMER_MASKED | VECTOR_TIMER);
    write_register(APIC_SPURIOUS, SPURIOUS_ENABLE | VECTOR_SPURIOUS);
}

uint32_t apic_id(void)
{
    if (mode == APIC_NONE)
        return 0;
    const uint32_t id = read_register(APIC_ID);
    return mode == APIC_X2 ? id : id >> 24;
}

void apic_end_of_interrupt(void)
{
    if (mode != APIC_NONE)
        write_register(APIC_END, 0);
}

static bool command(uint32_t to, uint32_t what)
{
    bool is_free = false;
    if (mode == APIC_NONE)
        return false;
    if (mode == APIC_X2) {
        loam_x86_wrmsr(X2_MSR + APIC_COMMAND / 16, (uint64_t)to << 32 | what);
        return true;
    }
    /* Two registers are one command: no handler may come between them. */
    const uint64_t irq = loam_x86_irq_save();
    for (unsigned i = 0; i < SEND_SPINS_MAX && !is_free; i++) {
        is_free = (read_register(APIC_COMMAND) & COMMAND_PENDING) == 0;
        if (!is_free)
            loam_x86_pause();
    }
    if (is_free) {
        write_register(APIC_COMMAND_HIGH, to << 24);
        write_register(APIC_COMMAND, what);
    }
    loam_x86_irq_restore(irq);
    return is_free;
}

bool apic_send(uint32_t to, unsigned vector)
{
    return command(to, COMMAND_ASSERT | vector);
}

bool apic_send_nmi(uint32_t to)
{
    return command(to, COMMAND_ASSERT | COMMAND_NMI);
}

bool apic_timer_start(void)
{
    if (mode == APIC_NONE)
        return false;
    write_register(APIC_TIMER_DIVIDE, TIMER_DIVIDE_16);
    write_register(APIC_TIMER, TIMER_PERIODIC | VECTOR_TIMER);
    write_register(APIC_TIMER_START, timer_count);
    return true;
}

void apic_timer_stop(void)
{
    if (mode == APIC_NONE)
        return;
    write_register(APIC_TIMER, TIMER_MASKED | VECTOR_TIMER);
    write_register(APIC_TIMER_START, 0);
}
