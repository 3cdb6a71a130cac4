/*
 * fault.c - see fault.h.
 */
#include "fault.h"

#include <loam/explain.h>
#include <loam/x86.h>

#include "address.h"
#include "log.h"
#include "memory.h"
#include "panic.h"
#include "stack.h"
#include "symbols.h"

#define CR3_FLAGS UINT64_C(0xfff)

LOAM_STATIC_ASSERT(FAULT_PRESENT == LOAM_FAULT_PRESENT && FAULT_WRITE == LOAM_FAULT_WRITE &&
                       FAULT_USER == LOAM_FAULT_USER && FAULT_RESERVED == LOAM_FAULT_RESERVED &&
                       FAULT_FETCH == LOAM_FAULT_FETCH,
                   "the library's names of the error code's bits are ours");

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

/* ---- lines that are written in pieces -------------------------------------- */

/* Room for the longest line that is explained; what is longer becomes two. */
struct line {
    char text[200];
    size_t length;
};

static void line_end(struct line *line)
{
    line->text[line->length] = '\0';
    log_error("%s", line->text);
    line->length = 0;
}

static void line_write(void *context, const char *text, size_t size_bytes)
{
    struct line *line = context;
    for (size_t i = 0; i < size_bytes; i++) {
        if (text[i] == '\n' || line->length + 1 == sizeof line->text)
            line_end(line);
        if (text[i] != '\n')
            line->text[line->length++] = text[i];
    }
}

static void explain(const struct trap_frame *frame, uint64_t address)
{
    struct line line = { .length = 0 };
    struct address_book book;
    const struct loam_writer writer = { line_write, &line };
    const struct loam_fault fault = {
        .address = { address },
        .error = frame->error,
        .ip = { frame->rip },
        .root = { loam_x86_read_cr3() & ~CR3_FLAGS },
    };
    if (!loam_once_is_ready(&memory.once)) {
        log_error("  mapped: not known before loam_init()");
        return;
    }
    address_open(&book);
    loam_explain_fault(&book.names, &fault, &writer);
}

/* What the kernel alone knows. */
static void give_hints(uint64_t address)
{
    struct loam_vmap_place place;
    struct stack_part part;
    struct symbol symbol;
    unsigned cpu;
    if (symbols_find(address, &symbol))
        log_error("  symbol: %s+0x%lx", symbol.name, address - symbol.address);
    if (stack_find_guard(address, &cpu, &part))
        log_error("  stack overflow of the %s stack of CPU %u (0x%lx..0x%lx)", part.name, cpu,
                  part.bottom, part.top);
    loam_vmap_find(&memory, loam_virt_at(address), &place);
    if (place.kind == LOAM_VMAP_STACK && place.place == LOAM_VRANGE_IN_GUARD_BEFORE)
        log_error("  stack overflow of %s (0x%lx..0x%lx)", place.info.name,
                  place.info.range.start.addr, place.info.range.start.addr + place.info.range.size);
}

_Noreturn void fault_report(const struct trap_frame *frame, uint64_t address)
{
    panic_begin("page fault");
    log_error("panic: page fault: %s at 0x%016lx: %s", access_name(frame->error), address,
              reason_name(frame->error));
    explain(frame, address);
    give_hints(address);
    panic_end(frame);
}
