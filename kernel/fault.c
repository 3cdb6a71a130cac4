/*
 * fault.c - see fault.h.
 */
#include "fault.h"

#include "address.h"
#include "layout.h"
#include "log.h"
#include "panic.h"
#include "stack.h"

#define NEAR_NULL UINT64_C(0x10000) /* members of the largest struct lie below this */

static const char *access_name(uint64_t error)
{
    if ((error & FAULT_FETCH) != 0)
        return "execution";
    return (error & FAULT_WRITE) != 0 ? "write" : "read";
}

static const char *reason_name(uint64_t error)
{
    if ((error & FAULT_RESERVED) != 0)
        return "a reserved bit is set in a page table";
    return (error & FAULT_PRESENT) != 0 ? "the mapping does not allow it" : "not mapped";
}

static void give_hints(uint64_t address, uint64_t error)
{
    struct stack_part part;
    unsigned cpu;
    if (address < NEAR_NULL)
        log_error("  hint: near null, perhaps member 0x%lx of a struct behind a null pointer",
                  address);
    if (stack_find_guard(address, &cpu, &part))
        log_error("  hint: guard page of the %s stack of CPU %u (0x%lx..0x%lx): it overflowed",
                  part.name, cpu, part.bottom, part.top);
    const uint64_t text = (uint64_t)(uintptr_t)kernel_text_start;
    const uint64_t data = (uint64_t)(uintptr_t)kernel_data_start;
    if ((error & FAULT_WRITE) != 0 && address >= text && address < data)
        log_error("  hint: code and constants of the kernel are read-only");
    if ((error & (FAULT_FETCH | FAULT_PRESENT)) == (FAULT_FETCH | FAULT_PRESENT))
        log_error("  hint: data is never executable: a wild function pointer?");
}

_Noreturn void fault_report(const struct trap_frame *frame, uint64_t address)
{
    panic_begin("page fault");
    log_error("panic: page fault: %s at 0x%016lx: %s", access_name(frame->error), address,
              reason_name(frame->error));
    address_describe(address);
    give_hints(address, frame->error);
    panic_end(frame);
}
