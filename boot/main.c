/*
 * main.c - the loader shim: PVH and Multiboot2 in, Limine protocol out. Read this
 * file first; it is the table of contents.
 */
#include "cpu.h"
#include "shim.h"

_Noreturn void main(uint32_t magic, uint32_t info);

/* The protocol's choice: as preferred, within the kernel's bounds, if possible. */
static unsigned choose_levels(const struct loam_limine_paging_mode_request *request)
{
    uint64_t mode = LOAM_LIMINE_PAGING_4_LEVEL;
    uint64_t least = LOAM_LIMINE_PAGING_4_LEVEL;

    if (request != NULL) {
        mode = request->mode;
        if (request->revision >= 1) {
            mode = mode < request->max_mode ? mode : request->max_mode;
            mode = mode > request->min_mode ? mode : request->min_mode;
            least = request->min_mode;
        }
    }
    if (mode >= LOAM_LIMINE_PAGING_5_LEVEL && cpu_has_la57())
        return 5;
    if (least > LOAM_LIMINE_PAGING_4_LEVEL)
        fail("kernel: demands 5-level paging, which this CPU does not have");
    return 4;
}

static void choose_hhdm(struct space *space, uint64_t wanted)
{
    if (wanted == 0)
        return;
    if (wanted < space->hhdm || wanted >= KERNEL_LOWEST || page_floor(wanted) != wanted)
        fail_number("shim.hhdm: not a page in the higher half:", wanted);
    space->hhdm = wanted;
}

static uint64_t choose_stack_size(const struct loam_limine_stack_size_request *request)
{
    if (request == NULL || request->stack_size < STACK_SIZE_MIN)
        return STACK_SIZE_MIN;
    if (request->stack_size > REACH)
        fail_number("kernel: asks for too large a stack:", request->stack_size);
    return page_ceil(request->stack_size);
}

static void report(const struct answers *a)
{
    say("shim: revision ");
    say_number(a->requests->revision);
    say(" kernel ");
    say_number(a->kernel->virt);
    say(" at ");
    say_number(a->kernel->phys);
    say(" rsdp ");
    say_number(a->rsdp);
    say("\n");
    for (size_t i = 0; i < map_count(); i++) {
        say("shim: map ");
        say_number(map_entry(i)->base);
        say(" ");
        say_number(map_entry(i)->length);
        say(" type ");
        say_number(map_entry(i)->type);
        say("\n");
    }
}

/* The two legacy interrupt controllers. */
static void mask_pics(void)
{
    port_out8(0x21, 0xff);
    port_out8(0xa1, 0xff);
}

_Noreturn void main(uint32_t magic, uint32_t info)
{
    static struct input input;
    static struct options options;
    static struct kernel kernel;
    static struct requests requests;
    static struct space space;
    struct answers answers = { &input, &options, &kernel, &space, &requests, 0 };

    serial_init();
    traps_install();
    input_read(&input, magic, info);
    options_parse(&options, input.cmdline);
    map_build(&input, &options);
    if (input.file_count == 0)
        fail("no kernel: it comes as -initrd, or as the first module2 in GRUB");
    fwcfg_read_modules(&input);
    elf_load(&kernel, &input.file[0]);
    requests_find(&requests, &kernel, &options);

    /* What the HHDM maps is settled first; carving does not change it any more. */
    answers.rsdp = acpi_find_rsdp(&input);
    if (requests.revision < 5) /* the firmware's runtime services */
        map_change(0, PHYS_LIMIT, LOAM_LIMINE_MEMMAP_RESERVED_MAPPED, LOAM_LIMINE_MEMMAP_RESERVED);
    if (requests.revision >= 4)
        acpi_mark_tables(answers.rsdp);
    if (requests.found[REQUEST_FRAMEBUFFER] != NULL)
        framebuffer_find(&input);
    space_init(&space, choose_levels(requests.found[REQUEST_PAGING_MODE]));
    choose_hhdm(&space, options.hhdm);
    space_map_hhdm(&space, requests.revision);
    space_map_kernel(&space, &kernel);

    mask_pics();
    acpi_mask_interrupts(answers.rsdp);
    handoff_init(&space, choose_stack_size(requests.found[REQUEST_STACK_SIZE]),
                 x2apic_is_due(requests.found[REQUEST_MP]));
    respond(&answers);
    respond_memmap(&answers);
    if (options.verbose)
        report(&answers);
    handoff_enter(kernel.entry);
}
