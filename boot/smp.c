/*
 * smp.c - start the other CPUs, all at once, and answer the MP request.
 *
 * INIT to each, 10 ms, a startup IPI to each, and a second one to those that have
 * not arrived 1 ms later; whoever is missing after 3 s is left out. The MTRRs of the
 * other CPUs are as the firmware left them. Source: Intel SDM volume 3, 9.4.4.
 */
#include "cpu.h"
#include "shim.h"

#define MSR_APIC_BASE  0x1bu
#define APIC_ENABLED   UINT64_C(0x800)
#define APIC_X2        UINT64_C(0x400)
#define APIC_ADDRESS   UINT64_C(0x000ffffffffff000)
#define APIC_ICR_LOW   0x300u
#define APIC_ICR_HIGH  0x310u
#define APIC_ICR_BUSY  (1u << 12)
#define MSR_X2APIC_ICR 0x830u
#define IPI_INIT       0x4500u
#define IPI_STARTUP    0x4600u
#define XAPIC_ID_MAX   0xfeu
#define ICR_SPINS_MAX  1000000u

#define PIT_CHANNEL_0   0x40u
#define PIT_COMMAND     0x43u
#define PIT_ONE_SHOT_0  0x30u
#define PIT_STATUS_0    0xe2u /* read back the status of channel 0 */
#define PIT_OUTPUT_HIGH 0x80u
#define PIT_NONE        0xffu
#define PIT_HZ          1193182u
#define PIT_SPINS_MAX   200000u
#define PORT_SLOW       0x80u /* about a microsecond to read on real hardware */

#define INIT_MICROSECONDS    10000u
#define STARTUP_MICROSECONDS 1000u
#define WAIT_STEPS           3000u /* of STARTUP_MICROSECONDS */

/* At most 54 ms. Channel 0, because microvm has no port 61h to gate channel 2; its
 * interrupt is masked. */
static void delay(uint32_t microseconds)
{
    const uint32_t count = (uint32_t)((uint64_t)microseconds * PIT_HZ / 1000000u);

    port_out8(PIT_COMMAND, PIT_ONE_SHOT_0);
    port_out8(PIT_CHANNEL_0, (uint8_t)count);
    port_out8(PIT_CHANNEL_0, (uint8_t)(count >> 8));
    for (unsigned i = 0; i < PIT_SPINS_MAX; i++) {
        port_out8(PIT_COMMAND, PIT_STATUS_0);
        const uint8_t status = port_in8(PIT_CHANNEL_0);
        if (status == PIT_NONE)
            break;
        if ((status & PIT_OUTPUT_HIGH) != 0)
            return;
    }
    for (uint32_t i = 0; i < microseconds; i++) /* no timer */
        (void)port_in8(PORT_SLOW);
}

uint32_t cpu_apic_id(void)
{
    if (cpu_id(0, 0).eax >= 0xb) {
        const struct cpuid topology = cpu_id(0xb, 0);
        if (topology.ebx != 0)
            return topology.edx;
    }
    return cpu_id(1, 0).ebx >> 24;
}

/* x2APIC mode if the kernel wants it and the CPU has it, or firmware chose it. */
bool x2apic_is_due(const struct loam_limine_mp_request *request)
{
    if (request == NULL)
        return false;
    const bool wanted = (request->flags & LOAM_LIMINE_MP_X2APIC) != 0;
    const bool present = (cpu_id(1, 0).ecx >> 21 & 1) != 0;
    return (wanted && present) || (cpu_read_msr(MSR_APIC_BASE) & APIC_X2) != 0;
}

static void send_ipi(bool x2apic, uint32_t apic_id, uint32_t command)
{
    if (x2apic) {
        cpu_write_msr(MSR_X2APIC_ICR, (uint64_t)apic_id << 32 | command);
        return;
    }
    const uint64_t apic = cpu_read_msr(MSR_APIC_BASE) & APIC_ADDRESS;
    volatile uint32_t *high = at(apic + APIC_ICR_HIGH);
    volatile uint32_t *low = at(apic + APIC_ICR_LOW);
    *high = apic_id << 24;
    *low = command;
    for (unsigned i = 0; i < ICR_SPINS_MAX && (*low & APIC_ICR_BUSY) != 0; i++)
        cpu_pause();
}

/* The CPUs to start, with their slots; the boot CPU has none. */
struct candidate {
    struct loam_limine_mp_info *info;
    struct slot *slot;
};

static void start_missing(const struct candidate *cpu, unsigned count, bool x2apic,
                          uint32_t command)
{
    for (unsigned i = 0; i < count; i++) {
        if (cpu[i].slot != NULL && !handoff_is_parked(cpu[i].slot))
            send_ipi(x2apic, cpu[i].info->lapic_id, command);
    }
}

static bool all_parked(const struct candidate *cpu, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (cpu[i].slot != NULL && !handoff_is_parked(cpu[i].slot))
            return false;
    }
    return true;
}

static void start_all(const struct candidate *cpu, unsigned count, bool x2apic)
{
    const uint32_t startup = IPI_STARTUP | handoff_vector();

    if (all_parked(cpu, count))
        return;
    if (x2apic)
        cpu_write_msr(MSR_APIC_BASE, cpu_read_msr(MSR_APIC_BASE) | APIC_ENABLED | APIC_X2);
    start_missing(cpu, count, x2apic, IPI_INIT);
    delay(INIT_MICROSECONDS);
    start_missing(cpu, count, x2apic, startup);
    delay(STARTUP_MICROSECONDS);
    start_missing(cpu, count, x2apic, startup);
    for (unsigned i = 0; i < WAIT_STEPS && !all_parked(cpu, count); i++)
        delay(STARTUP_MICROSECONDS);
}

static bool can_start(uint32_t apic_id, bool x2apic)
{
    return handoff_vector() != 0 && (x2apic || apic_id <= XAPIC_ID_MAX);
}

/* One candidate per CPU that can be started, the boot CPU included. */
static unsigned make_candidates(struct candidate *cpu, uint64_t rsdp, bool x2apic)
{
    static struct cpu_list list;
    unsigned count = 0;
    bool boot_cpu_listed = false;
    const uint32_t boot_id = cpu_apic_id();

    acpi_list_cpus(rsdp, &list);
    for (unsigned i = 0; i < list.count; i++)
        boot_cpu_listed |= list.cpu[i].apic_id == boot_id;
    if (!boot_cpu_listed) { /* no ACPI, or it is wrong: this CPU exists for certain */
        list.count = 1;
        list.cpu[0].uid = 0;
        list.cpu[0].apic_id = boot_id;
    }
    for (unsigned i = 0; i < list.count; i++) {
        const uint32_t id = list.cpu[i].apic_id;
        if (id != boot_id && !can_start(id, x2apic)) {
            say("shim: warning: a CPU cannot be started\n");
            continue;
        }
        cpu[count].info = reclaimable(sizeof *cpu[count].info);
        cpu[count].info->processor_id = list.cpu[i].uid;
        cpu[count].info->lapic_id = id;
        cpu[count].slot = id == boot_id ? NULL : handoff_add_cpu(cpu[count].info);
        count++;
    }
    return count;
}

/* Fill in the response, with HHDM addresses, for every CPU that came. */
void smp_start(struct loam_limine_mp_response *response, uint64_t rsdp, uint64_t hhdm, bool x2apic)
{
    static struct candidate cpu[CPUS_MAX];
    const unsigned count = make_candidates(cpu, rsdp, x2apic);
    void **cpus = reclaimable(count * sizeof(void *));

    start_all(cpu, count, x2apic);
    response->flags = x2apic ? (uint32_t)LOAM_LIMINE_MP_X2APIC : 0;
    response->bsp_lapic_id = cpu_apic_id();
    response->cpus = at(hhdm + (uintptr_t)cpus);
    for (unsigned i = 0; i < count; i++) {
        if (cpu[i].slot != NULL && handoff_abandon(cpu[i].slot)) {
            say("shim: warning: no answer from CPU ");
            say_number(cpu[i].info->lapic_id);
            say("\n");
            continue;
        }
        cpus[response->cpu_count++] = at(hhdm + (uintptr_t)cpu[i].info);
    }
}
