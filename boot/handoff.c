/*
 * handoff.c - every CPU's way into the kernel's world, through one page.
 *
 *   page    [ code of trampoline.S | GDT | struct handoff ]   below 1 MiB
 *   slots   [ boot CPU | CPU | CPU | ... ]
 *
 * A CPU finds its slot by its APIC id, takes the slot's stack and waits for the
 * slot's target to hold an address. For the boot CPU that is the kernel's entry,
 * already there; for the others it is goto_address of the MP response.
 *
 * A slot is WAITING until its CPU makes it PARKED or the boot CPU, tired of
 * waiting, makes it ABANDONED. Whoever changes it first wins.
 */
#include <stdatomic.h>

#include "cpu.h"
#include "shim.h"

#define CR4_PAE  0x20u
#define CR4_LA57 0x1000u
#define EFER_LME 0x100u
#define EFER_NXE 0x800u

enum slot_state { SLOT_WAITING, SLOT_PARKED, SLOT_ABANDONED }; /* trampoline.S knows two */

struct slot {
    uint32_t apic_id;
    _Atomic uint32_t state;
    uint64_t stack_top; /* HHDM addresses, all three */
    uint64_t target;
    uint64_t argument;
};

_Static_assert(sizeof(struct slot) == 32, "trampoline.S steps by this");

/* At trampoline_handoff; addresses start as offsets in the page. */
struct __attribute__((packed)) handoff {
    uint32_t cr3, cr4, efer;
    uint32_t has_pat, wants_x2apic;
    uint32_t slot_count;
    uint64_t slots; /* HHDM address */
    struct __attribute__((packed)) {
        uint32_t offset;
        uint16_t segment;
    } far_32, far_64;
    uint16_t gdt_low_limit;
    uint32_t gdt_low_base;
    uint16_t gdt_limit;
    uint64_t gdt_base; /* HHDM address */
};

extern const char trampoline_start[], trampoline_boot_cpu[], trampoline_handoff[], trampoline_end[];
_Noreturn void handoff_switch(uint64_t page, uint64_t target); /* entry.S */

static struct {
    uint64_t page;
    uint64_t hhdm;
    uint64_t stack_size;
    struct handoff *handoff;
    struct slot *slots;
    uint64_t *entry; /* the boot CPU's target */
} state;

/* Copy the page and point it at itself, at the tables and at the slots. */
static void fill_page(const struct space *space, bool x2apic)
{
    const size_t size = (size_t)(trampoline_end - trampoline_start);
    const uint32_t low = (uint32_t)state.page;

    if (size > PAGE_SIZE)
        fail("the trampoline does not fit a page");
    memcpy(at(state.page), trampoline_start, size);
    struct handoff *h = at(state.page + (uint64_t)(trampoline_handoff - trampoline_start));
    h->cr3 = (uint32_t)space->root;
    h->cr4 = CR4_PAE | (space->levels == 5 ? CR4_LA57 : 0);
    h->efer = EFER_LME | (space->has_nx ? EFER_NXE : 0);
    h->has_pat = space->has_pat;
    h->wants_x2apic = x2apic;
    h->slots = state.hhdm + (uintptr_t)state.slots;
    h->far_32.offset += low;
    h->far_64.offset += low;
    h->gdt_low_base += low;
    h->gdt_base += state.hhdm + state.page;
    state.handoff = h;
}

/* A slot whose CPU will wait at @p target and pass @p argument on. */
static struct slot *add_slot(uint32_t apic_id, const uint64_t *target, uint64_t argument)
{
    struct slot *slot = &state.slots[state.handoff->slot_count];
    const uint64_t stack =
        map_carve(state.stack_size, PAGE_SIZE, REACH, LOAM_LIMINE_MEMMAP_BOOTLOADER_RECLAIMABLE);

    slot->apic_id = apic_id;
    slot->stack_top = state.hhdm + stack + state.stack_size;
    slot->target = state.hhdm + (uintptr_t)target;
    slot->argument = argument;
    state.handoff->slot_count++;
    return slot;
}

/* Prepare the page and the boot CPU's slot; @p space gets the page's mapping. */
void handoff_init(struct space *space, uint64_t stack_size, bool x2apic)
{
    const uint64_t type = LOAM_LIMINE_MEMMAP_BOOTLOADER_RECLAIMABLE;

    state.page = map_carve(PAGE_SIZE, PAGE_SIZE, LOW_MEMORY_END, type);
    if (state.page == 0) /* good enough for the boot CPU alone */
        state.page = map_carve(PAGE_SIZE, PAGE_SIZE, REACH, type);
    space_map(space, state.page, state.page, PAGE_SIZE, SPACE_EXECUTE);
    state.hhdm = space->hhdm;
    state.stack_size = stack_size;
    state.slots = reclaimable((CPUS_MAX + 1) * sizeof *state.slots);
    fill_page(space, x2apic);
    state.entry = reclaimable(sizeof *state.entry);
    add_slot(cpu_apic_id(), state.entry, 0);
}

struct slot *handoff_add_cpu(struct loam_limine_mp_info *info)
{
    const void *target = &info->goto_address;
    return add_slot(info->lapic_id, target, state.hhdm + (uintptr_t)info);
}

/* The page's number as a startup IPI wants it; 0 if it lies too high for one. */
uint8_t handoff_vector(void)
{
    return state.page < LOW_MEMORY_END ? (uint8_t)(state.page / PAGE_SIZE) : 0;
}

/* Acquire: with trampoline.S's exchange, the CPU is done with all but waiting. */
bool handoff_is_parked(const struct slot *slot)
{
    return atomic_load_explicit(&slot->state, memory_order_acquire) == SLOT_PARKED;
}

/* Give up on the slot's CPU; false if it has arrived after all. */
bool handoff_abandon(struct slot *slot)
{
    uint32_t expected = SLOT_WAITING;
    return atomic_compare_exchange_strong_explicit(&slot->state, &expected, SLOT_ABANDONED,
                                                   memory_order_acq_rel, memory_order_acquire);
}

_Noreturn void handoff_enter(uint64_t entry)
{
    *state.entry = entry;
    handoff_switch(state.page, state.page + (uint64_t)(trampoline_boot_cpu - trampoline_start));
}
