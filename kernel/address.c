/*
 * address.c - see address.h.
 */
#include "address.h"

#include "layout.h"
#include "log.h"
#include "memory.h"
#include "symbols.h"

#include <stdatomic.h>

/* Nobody else runs: what is free now can be taken without waiting. */
static bool lock_is_free(struct loam_ticketlock *lock)
{
    return atomic_load_explicit(&lock->next, memory_order_relaxed) ==
           atomic_load_explicit(&lock->owner, memory_order_relaxed);
}

bool address_is_known(uint64_t address)
{
    struct loam_translation unused;
    return loam_once_is_ready(&memory.once) &&
           loam_space_query(&memory.space, loam_virt_at(address), &unused) == LOAM_OK;
}

/* What lies above the direct map, beside the image: layout.h. */
static const struct loam_landmark landmarks[] = {
    { { { LAYOUT_APIC }, LOAM_PAGE_SIZE }, "local APIC" },
    { { { LAYOUT_FIRMWARE }, LAYOUT_STACKS - LAYOUT_FIRMWARE }, "firmware tables" },
    { { { LAYOUT_STACKS }, LAYOUT_SCRATCH - LAYOUT_STACKS }, "stacks" },
    { { { LAYOUT_SCRATCH }, UINT64_C(0) - LAYOUT_SCRATCH }, "scratch" },
};

void address_open(struct address_book *book)
{
    book->image = (struct loam_image){ .section_count = 0 };
    (void)!loam_image_add(&book->image, kernel_text_start, kernel_text_end, LOAM_PROT_EXEC);
    (void)!loam_image_add(&book->image, kernel_rodata_start, kernel_rodata_end, LOAM_PROT_READ);
    (void)!loam_image_add(&book->image, kernel_data_start, kernel_data_end, LOAM_PROT_WRITE);
    book->names = loam_names_of(&memory);
    book->names.image = &book->image;
    book->names.landmark = landmarks;
    book->names.landmark_count = sizeof landmarks / sizeof landmarks[0];
}

void address_open_all(struct address_book *book)
{
    struct loam_translation at;
    address_open(book);
    book->image.virt_base = loam_virt_of(kernel_text_start);
    if (loam_space_query(&memory.space, book->image.virt_base, &at) == LOAM_OK)
        book->image.phys_base = at.phys;
}

static void describe_owner(loam_phys phys)
{
    struct loam_interval interval;
    if (!lock_is_free(&memory.usage.lock))
        log_error("  owner: not asked, the usage map is being changed");
    else if (loam_usage_lookup(&memory.usage, phys, &interval))
        log_error("  owner: %s, 0x%016lx..0x%016lx", loam_owner_name(interval.owner),
                  interval.range.start.addr, interval.range.start.addr + interval.range.size);
    else
        log_error("  owner: nobody, no entry of the memory map has it");
}

void address_describe(uint64_t address)
{
    struct loam_translation at;
    struct symbol symbol;
    if (!loam_once_is_ready(&memory.once)) {
        log_error("  mapped: not known before loam_init()");
        return;
    }
    const enum loam_status st = loam_space_query(&memory.space, loam_virt_at(address), &at);
    const struct loam_hhdm hhdm = memory.tables.hhdm;
    if (st == LOAM_OK) {
        if (symbols_find(address, &symbol))
            log_error("  symbol: %s+0x%lx", symbol.name, address - symbol.address);
        log_error("  mapped: physical 0x%016lx, %lu KiB page, %s, %s", at.phys.addr,
                  at.page_size >> 10, loam_rights_of(at.attr.prot).text,
                  loam_cache_name(at.attr.cache));
        describe_owner(at.phys);
    } else if (st == LOAM_INVALID) {
        log_error("  mapped: nothing, the address is not canonical");
    } else {
        log_error("  mapped: nothing");
        const uint64_t behind = address - hhdm.offset;
        if (address >= hhdm.offset && behind >> memory.features.phys_bits == 0) {
            log_error("  hint: the direct map would have physical 0x%016lx here", behind);
            describe_owner(loam_phys_at(behind));
        }
    }
}
