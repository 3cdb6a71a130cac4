/*
 * selftest_rights.c - who may write and execute what: asked of the page tables,
 * then of the processor.
 */
#include "layout.h"
#include "loader.h"
#include "malloc.h"
#include "memory.h"
#include "probe.h"
#include "selftest.h"
#include "stack.h"

#define RET_INSTRUCTION 0xc3u

static uint64_t address_of(const volatile void *pointer)
{
    return (uint64_t)(uintptr_t)pointer;
}

/* The address in the direct map that shows the same memory; 0: it shows it not. */
static uint64_t alias_of(uint64_t address)
{
    struct loam_translation at;
    if (loam_space_query(&memory.space, loam_virt_at(address), &at) != LOAM_OK)
        return 0;
    return loam_hhdm_virt(memory.tables.hhdm, at.phys).addr;
}

/* Are the rights of a page these? Without NX everything may be executed. */
static bool has_rights(uint64_t address, loam_prot want)
{
    struct loam_translation at;
    const loam_prot rights = LOAM_PROT_WRITE | LOAM_PROT_EXEC;
    if (!memory.features.nx)
        want |= LOAM_PROT_EXEC;
    return loam_space_query(&memory.space, loam_virt_at(address), &at) == LOAM_OK &&
           (at.attr.prot & rights) == want;
}

static const char *check_section(const char *start, const char *end, loam_prot want,
                                 loam_prot alias)
{
    for (uint64_t at = address_of(start); at < address_of(end); at += LOAM_PAGE_SIZE) {
        if (!has_rights(at, want))
            return "a page of the image has other rights than its section";
        if (!has_rights(alias_of(at), alias))
            return "the direct map shows a page of the image with other rights";
    }
    return NULL;
}

const char *selftest_write_xor_execute(void)
{
    const uint64_t text = address_of(kernel_text_start);
    struct loam_mapping run;
    uint64_t at = 0, executable_bytes = 0;
    const char *wrong = loam_space_audit(&memory.space);
    while (wrong == NULL && loam_space_next(&memory.space, loam_virt_at(at), &run) == LOAM_OK) {
        const uint64_t last = run.virt.start.addr + (run.virt.size - 1);
        if (run.virt.start.addr >> 63 == 0)
            return "something is mapped in the lower half";
        if (memory.features.nx && (run.attr.prot & LOAM_PROT_EXEC) != 0) {
            if (run.virt.start.addr < text || last >= address_of(kernel_text_end) + LOAM_PAGE_SIZE)
                return "something else than text is executable";
            executable_bytes += run.virt.size;
        }
        if (last == UINT64_MAX)
            break;
        at = last + 1;
    }
    const uint64_t text_bytes = address_of(kernel_text_end) - text;
    if (wrong == NULL && memory.features.nx &&
        executable_bytes != loam_page_floor(text_bytes + LOAM_PAGE_SIZE - 1))
        return "text is not executable as a whole";
    if (wrong == NULL)
        wrong = check_section(kernel_text_start, kernel_text_end, LOAM_PROT_EXEC, LOAM_PROT_READ);
    if (wrong == NULL)
        wrong =
            check_section(kernel_rodata_start, kernel_rodata_end, LOAM_PROT_READ, LOAM_PROT_READ);
    if (wrong == NULL)
        wrong = check_section(kernel_data_start, kernel_data_end, LOAM_PROT_WRITE, LOAM_PROT_WRITE);
    return wrong;
}

const char *selftest_text_aliases(void)
{
    static volatile uint8_t byte = 1;
    for (uint64_t at = address_of(kernel_text_start); at < address_of(kernel_rodata_end);
         at += LOAM_PAGE_SIZE) {
        if (probe_write(at, 0))
            return "text or constants can be written";
        if (probe_write(alias_of(at), 0))
            return "text or constants can be written through the direct map";
    }
    if (!probe_write(alias_of(address_of(&byte)), 2) || byte != 2)
        return "the direct map does not show the kernel's data";
    return NULL;
}

const char *selftest_no_execute(void)
{
    static uint8_t in_data[16] = { RET_INSTRUCTION };
    uint8_t on_stack[16] = { RET_INSTRUCTION };
    uint8_t *in_heap = malloc(sizeof in_data);
    if (in_heap == NULL)
        return "no memory";
    *in_heap = RET_INSTRUCTION;
    const uint64_t places[] = { address_of(in_heap), address_of(in_data), address_of(on_stack),
                                address_of(on_stack) };
    unsigned executed = 0;
    for (unsigned i = 0; i < sizeof places / sizeof places[0]; i++)
        executed += probe_execute(places[i]);
    free(in_heap);
    if (memory.features.nx)
        return executed == 0 ? NULL : "data was executed";
    return executed == sizeof places / sizeof places[0] ? NULL : "no NX, and yet it faults";
}

const char *selftest_guards(void)
{
    uint64_t word;
    for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
        for (unsigned i = 0; i < STACK_PARTS; i++) {
            const struct stack_part part = stack_part_of(cpu, i);
            if (probe_read(part.guard, &word) || probe_read(part.bottom - sizeof word, &word))
                return "a stack has no guard page";
            if (cpu_table[cpu].stacks.main == 0)
                continue; /* never made */
            if (!probe_read(part.bottom, &word) || !probe_read(part.top - sizeof word, &word))
                return "a stack is not mapped as a whole";
            const char *bottom = (const char *)(uintptr_t)part.bottom;
            const uint64_t size = part.top - part.bottom;
            if (!memory_is_mapped(bottom, size) || memory_is_mapped(bottom, size + 1) ||
                memory_is_mapped(bottom - 1, 2) || memory_is_mapped(bottom, UINT64_MAX))
                return "memory_is_mapped() is wrong about a stack";
        }
    }
    return probe_read(0, &word) ? "address 0 can be read" : NULL;
}

/* Is every page of the range write-combining, and data? */
static const char *check_framebuffer(struct loam_virt_range range)
{
    const enum loam_cache wanted = memory.features.pat ? LOAM_CACHE_WC : LOAM_CACHE_UC_MINUS;
    struct loam_translation at;
    for (uint64_t offset = 0; offset < range.size; offset += LOAM_PAGE_SIZE) {
        const uint64_t address = range.start.addr + offset;
        if (loam_space_query(&memory.space, loam_virt_at(address), &at) != LOAM_OK)
            return "a framebuffer is not mapped as a whole";
        if (at.attr.cache != wanted)
            return "a framebuffer is not write-combining";
        if (!has_rights(address, LOAM_PROT_WRITE))
            return "a framebuffer cannot be written, or can be executed";
    }
    if (!probe_write(range.start.addr, 0) || !probe_write(range.start.addr + (range.size - 1), 0))
        return "a framebuffer faults";
    return NULL;
}

const char *selftest_framebuffer(void)
{
    const char *wrong = NULL;
    for (unsigned i = 0; i < loader.framebuffer_count && wrong == NULL; i++)
        wrong = check_framebuffer(loader.framebuffer[i]);
    return wrong;
}
