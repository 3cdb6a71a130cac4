/*
 * probe.c - a kernel that boots by the Limine protocol, says what it was given and
 * checks what only a kernel can see. It uses the protocol header and nothing else.
 *
 * Output on COM1: `key value...` lines, then `problem TEXT` for each broken promise,
 * then `done N` with their number. Leaves through isa-debug-exit: 0x10 if there was
 * no problem (QEMU's status 33), 0x12 otherwise (37).
 *
 * The word "loose" on the command line skips what a falsified memory map breaks.
 * shim_test.py patches the requests in the file to vary what is asked.
 */
#include "probe_machine.h"

#define PAGE_SIZE    UINT64_C(0x1000)
#define KERNEL_SPACE UINT64_C(0xffffffff80000000)
#define STACK_SIZE   UINT64_C(0x20000)
#define CPUS_MAX     64u
#define PTE_PRESENT  UINT64_C(0x1)
#define PTE_WRITE    UINT64_C(0x2)
#define PTE_USER     UINT64_C(0x4)
#define PTE_PWT      UINT64_C(0x8)
#define PTE_PCD      UINT64_C(0x10)
#define PTE_LARGE    UINT64_C(0x80)
#define PTE_NX       (UINT64_C(1) << 63)
#define PTE_ADDRESS  UINT64_C(0x000ffffffffff000)

/* ---- what the probe asks ---------------------------------------------- */

static volatile struct {
    uint64_t start[4];
    uint64_t revision[3];
    struct loam_limine_bootloader_info_request info;
    struct loam_limine_stack_size_request stack;
    struct loam_limine_hhdm_request hhdm;
    struct loam_limine_framebuffer_request framebuffer;
    struct loam_limine_paging_mode_request paging;
    struct loam_limine_mp_request mp;
    struct loam_limine_memmap_request memmap;
    struct loam_limine_executable_file_request file;
    struct loam_limine_module_request module;
    struct loam_limine_rsdp_request rsdp;
    struct loam_limine_executable_address_request address;
    struct loam_limine_executable_cmdline_request cmdline;
    uint64_t end[2];
} ask __attribute__((section(".requests"), used, aligned(8))) = {
    LOAM_LIMINE_REQUESTS_START,
    LOAM_LIMINE_BASE_REVISION(LOAM_LIMINE_REVISION_WANTED),
    { LOAM_LIMINE_ID_BOOTLOADER_INFO, 0, NULL },
    { LOAM_LIMINE_ID_STACK_SIZE, 0, NULL, STACK_SIZE },
    { LOAM_LIMINE_ID_HHDM, 0, NULL },
    { LOAM_LIMINE_ID_FRAMEBUFFER, 0, NULL },
    { LOAM_LIMINE_ID_PAGING_MODE, 1, NULL, 0, 1, 0 },
    { LOAM_LIMINE_ID_MP, 0, NULL, LOAM_LIMINE_MP_X2APIC },
    { LOAM_LIMINE_ID_MEMMAP, 0, NULL },
    { LOAM_LIMINE_ID_EXECUTABLE_FILE, 0, NULL },
    { LOAM_LIMINE_ID_MODULE, 0, NULL, 0, NULL },
    { LOAM_LIMINE_ID_RSDP, 0, NULL },
    { LOAM_LIMINE_ID_EXECUTABLE_ADDRESS, 0, NULL },
    { LOAM_LIMINE_ID_EXECUTABLE_CMDLINE, 0, NULL },
    LOAM_LIMINE_REQUESTS_END,
};

/* A decoy behind the end marker: answering it would be wrong. */
static volatile struct loam_limine_hhdm_request decoy
    __attribute__((section(".requests"), used, aligned(8))) = { LOAM_LIMINE_ID_HHDM, 0, NULL };

/* An address in initialised data: right only if the image was relocated. */
static const char *volatile greeting = "entered";

/* ---- memory map ------------------------------------------------------- */

static uint64_t revision, hhdm, levels;
static bool has_nx, loose;
static struct loam_limine_memmap_response *map;

static bool is_mapped_type(uint64_t type)
{
    switch (type) {
    case LOAM_LIMINE_MEMMAP_USABLE:
    case LOAM_LIMINE_MEMMAP_BOOTLOADER_RECLAIMABLE:
    case LOAM_LIMINE_MEMMAP_EXECUTABLE_AND_MODULES:
    case LOAM_LIMINE_MEMMAP_FRAMEBUFFER:
        return true;
    case LOAM_LIMINE_MEMMAP_ACPI_RECLAIMABLE:
    case LOAM_LIMINE_MEMMAP_ACPI_NVS:
    case LOAM_LIMINE_MEMMAP_RESERVED_MAPPED:
        return revision >= 4;
    default:
        return false;
    }
}

static uint64_t first_page(const struct loam_limine_memmap_entry *e)
{
    return e->base & ~(PAGE_SIZE - 1);
}

static uint64_t page_end(const struct loam_limine_memmap_entry *e)
{
    return (e->base + e->length + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
}

/* Whether [base, base + size) lies in entries of @p type that touch each other. */
static bool is_of_type(uint64_t base, uint64_t size, uint64_t type)
{
    uint64_t at = base;

    for (uint64_t i = 0; i < map->entry_count && at < base + size; i++) {
        const struct loam_limine_memmap_entry *e = map->entries[i];
        if (e->type == type && e->base <= at && at - e->base < e->length)
            at = e->base + e->length;
    }
    return at >= base + size;
}

static void report_memmap(void)
{
    for (uint64_t i = 0; i < map->entry_count; i++) {
        say("map");
        say_number(map->entries[i]->base);
        say_number(map->entries[i]->length);
        say_number(map->entries[i]->type);
        put('\n');
    }
    line("map.count", map->entry_count);
}

/* ---- page tables ------------------------------------------------------ */

struct leaf {
    uint64_t entry; /* 0 if nothing is mapped */
    uint64_t size;  /* of the page, or of the hole */
    bool write, no_execute, user;
};

static struct leaf walk(uint64_t root, uint64_t virt)
{
    uint64_t table = root & PTE_ADDRESS;
    struct leaf leaf = { 0, 0, true, false, true };

    for (unsigned level = (unsigned)levels;; level--) {
        const unsigned shift = 12 + 9 * (level - 1);
        const uint64_t *entries = (const uint64_t *)(hhdm + table);
        const uint64_t entry = entries[virt >> shift & 511];
        leaf.size = UINT64_C(1) << shift;
        if ((entry & PTE_PRESENT) == 0)
            return leaf;
        leaf.write &= (entry & PTE_WRITE) != 0;
        leaf.no_execute |= (entry & PTE_NX) != 0;
        leaf.user &= (entry & PTE_USER) != 0;
        if (level == 1 || (level <= 3 && (entry & PTE_LARGE) != 0)) {
            leaf.entry = entry;
            return leaf;
        }
        table = entry & PTE_ADDRESS;
    }
}

static uint64_t phys_of(const struct leaf *leaf)
{
    return leaf->entry & PTE_ADDRESS & ~(leaf->size - 1);
}

static bool is_write_combining(const struct leaf *leaf)
{
    const uint64_t pat = leaf->size == PAGE_SIZE ? leaf->entry >> 7 & 1 : leaf->entry >> 12 & 1;
    return pat == 1 && (leaf->entry & (PTE_PWT | PTE_PCD)) == PTE_PWT;
}

static bool is_write_back(const struct leaf *leaf)
{
    const uint64_t pat = leaf->size == PAGE_SIZE ? leaf->entry >> 7 & 1 : leaf->entry >> 12 & 1;
    return pat == 0 && (leaf->entry & (PTE_PWT | PTE_PCD)) == 0;
}

/* Every page of the leaf belongs to an entry that is to be mapped. */
static bool leaf_is_covered(uint64_t phys, uint64_t size, bool *framebuffer)
{
    uint64_t at = phys;
    bool moved = true;

    while (at < phys + size && moved) {
        moved = false;
        for (uint64_t i = 0; i < map->entry_count; i++) {
            const struct loam_limine_memmap_entry *e = map->entries[i];
            if (!is_mapped_type(e->type) || first_page(e) > at || page_end(e) <= at)
                continue;
            *framebuffer = e->type == LOAM_LIMINE_MEMMAP_FRAMEBUFFER;
            at = page_end(e);
            moved = true;
        }
    }
    return at >= phys + size;
}

static void check_hhdm_leaf(uint64_t virt, const struct leaf *leaf)
{
    const uint64_t phys = phys_of(leaf);
    bool framebuffer = false;

    check(virt - hhdm == phys, "hhdm maps elsewhere:", virt);
    check(leaf->write && !leaf->user, "hhdm not supervisor-writable at", virt);
    check(leaf->no_execute == has_nx, "hhdm executable at", virt);
    check(leaf_is_covered(phys, leaf->size, &framebuffer), "hhdm maps too much at", virt);
    if (framebuffer)
        check(is_write_combining(leaf), "framebuffer not write-combining:", leaf->entry);
    else
        check(is_write_back(leaf), "memory not write-back:", leaf->entry);
}

extern const char image_start[], rodata_start[], data_start[], image_end[];

static void check_kernel_leaf(uint64_t virt, const struct leaf *leaf)
{
    const bool in_text = virt < (uint64_t)rodata_start;
    const bool in_data = virt >= (uint64_t)data_start;

    check(virt >= (uint64_t)image_start && virt < (uint64_t)image_end, "not the image:", virt);
    check(phys_of(leaf) == ask.address.response->physical_base + (virt - (uint64_t)image_start),
          "image not contiguous at", virt);
    check(leaf->write == in_data, "wrong write permission at", virt);
    check(leaf->no_execute == (has_nx && !in_text), "wrong execute permission at", virt);
    check(!leaf->user && is_write_back(leaf), "wrong attributes at", virt);
}

/* Visit every leaf of the boot tables; holes are skipped a table at a time. */
static void check_tables(uint64_t root)
{
    const uint64_t bits = levels == 5 ? 57 : 48;
    uint64_t mapped = 0, kernel = 0, low = 0, largest = 0;

    for (uint64_t linear = 0; linear < UINT64_C(1) << bits;) {
        const bool high = (linear >> (bits - 1) & 1) != 0;
        const uint64_t virt = high ? linear | ~((UINT64_C(1) << bits) - 1) : linear;
        const struct leaf leaf = walk(root, virt);
        linear = (linear & ~(leaf.size - 1)) + leaf.size;
        if (leaf.entry == 0)
            continue;
        largest = leaf.size > largest ? leaf.size : largest;
        if (!high) {
            low += leaf.size;
            check(phys_of(&leaf) == virt && !leaf.write, "lower half mapped at", virt);
        } else if (virt >= KERNEL_SPACE) {
            kernel += leaf.size;
            check_kernel_leaf(virt, &leaf);
        } else {
            mapped += leaf.size;
            check_hhdm_leaf(virt, &leaf);
        }
    }
    line("pages.hhdm", mapped);
    line("pages.kernel", kernel);
    line("pages.low", low);
    line("pages.largest", largest);
    check(kernel == (uint64_t)(image_end - image_start), "image mapped short:", kernel);
}

/* What must be mapped is: with check_tables(), coverage is exact. */
static void check_coverage(uint64_t root)
{
    for (uint64_t i = 0; i < map->entry_count; i++) {
        const struct loam_limine_memmap_entry *e = map->entries[i];
        if (!is_mapped_type(e->type))
            continue;
        for (uint64_t phys = first_page(e); phys < page_end(e);) {
            const struct leaf leaf = walk(root, hhdm + phys);
            check(leaf.entry != 0, "hhdm lacks", phys);
            if (leaf.entry == 0)
                break;
            phys = ((hhdm + phys) & ~(leaf.size - 1)) - hhdm + leaf.size;
        }
    }
}

/* ---- CPU state -------------------------------------------------------- */

static void check_gdt(const struct cpu_state *s)
{
    /* Access and flag bytes; the accessed bit may differ. */
    static const uint16_t wanted[7] = { 0, 0x009a, 0x0092, 0xc09a, 0xc092, 0xa09a, 0xa092 };
    const uint64_t *gdt = (const uint64_t *)s->gdt_base;

    check(
        is_of_type(s->gdt_base - hhdm, s->gdt_limit + 1, LOAM_LIMINE_MEMMAP_BOOTLOADER_RECLAIMABLE),
        "gdt not in reclaimable memory:", s->gdt_base);
    check(s->gdt_limit >= 7 * 8 - 1, "gdt too short:", s->gdt_limit);
    for (unsigned i = 0; i < 7; i++) {
        const uint64_t kind = (gdt[i] >> 40 & 0xfe) | (gdt[i] >> 40 & 0xe000);
        check(kind == wanted[i], "gdt entry has the wrong type:", gdt[i]);
    }
}

static void check_state(const struct cpu_state *s, uint64_t argument)
{
    for (unsigned i = R_RAX; i <= R_R15; i++)
        check(s->reg[i] == (i == R_RDI ? argument : 0), "register not zero:", i);
    check((s->reg[R_FLAGS] & 0x600) == 0, "interrupts on or direction down:", s->reg[R_FLAGS]);
    check(s->cs == 0x28 && s->ss == 0x30 && s->ds == 0x30 && s->es == 0x30, "segments:", s->cs);
    check(s->fs == 0x30 && s->gs == 0x30, "segments:", s->fs);
    check((s->cr0 & UINT64_C(0xe001000d)) == UINT64_C(0x80010001), "cr0:", s->cr0);
    check((s->cr4 & 0x20) != 0 && (s->cr4 >> 12 & 1) == (levels == 5), "cr4:", s->cr4);
    check((s->efer & 0xd00) == (has_nx ? 0xd00u : 0x500u), "efer:", s->efer);
    check((s->pat & UINT64_C(0xffffffffffff)) == UINT64_C(0x010500070406), "pat:", s->pat);
    check(s->return_address == 0, "return address:", s->return_address);
    check(s->reg[R_RSP] % 16 == 8, "stack not aligned as after a call:", s->reg[R_RSP]);
    if (hhdm == 0 || map == NULL || loose)
        return;
    const uint64_t top = s->reg[R_RSP] + 8;
    check(
        is_of_type(top - STACK_SIZE - hhdm, STACK_SIZE, LOAM_LIMINE_MEMMAP_BOOTLOADER_RECLAIMABLE),
        "stack not in reclaimable memory:", top);
    check_gdt(s);
}

/* ---- other CPUs ------------------------------------------------------- */

static struct cpu_state ap_state[CPUS_MAX];
static uint64_t ap_done[CPUS_MAX];

_Noreturn void probe_ap_main(struct loam_limine_mp_info *info, const uint64_t *regs)
{
    const uint64_t i = info->extra_argument;

    ap_state[i] = state_now(regs);
    __atomic_store_n(&ap_done[i], 1, __ATOMIC_RELEASE);
    for (;;)
        __asm__ volatile("hlt");
}

static bool start_ap(struct loam_limine_mp_info *info, uint64_t i)
{
    info->extra_argument = i;
    __atomic_store_n(&info->goto_address, probe_ap_entry, __ATOMIC_RELEASE);
    for (uint64_t spins = 0; spins < UINT64_C(2000000000); spins++) {
        if (__atomic_load_n(&ap_done[i], __ATOMIC_ACQUIRE) != 0)
            return true;
        __asm__ volatile("pause");
    }
    return false;
}

static void check_cpus(uint64_t boot_cr3)
{
    struct loam_limine_mp_response *mp = ask.mp.response;
    uint64_t boot_cpus = 0;

    line("mp.flags", mp->flags);
    line("mp.bsp", mp->bsp_lapic_id);
    line("mp.count", mp->cpu_count);
    for (uint64_t i = 0; i < mp->cpu_count && i < CPUS_MAX; i++) {
        struct loam_limine_mp_info *info = mp->cpus[i];
        check(info->goto_address == NULL, "goto_address not NULL, cpu", i);
        say("cpu");
        say_number(info->lapic_id);
        say_number(info->processor_id);
        put('\n');
        if (info->lapic_id == mp->bsp_lapic_id) {
            boot_cpus++;
            continue;
        }
        if (!start_ap(info, i)) {
            check(false, "no sign of cpu", info->lapic_id);
            continue;
        }
        const struct cpu_state *s = &ap_state[i];
        check_state(s, (uint64_t)info);
        check(s->cr3 == boot_cr3, "cr3 differs:", s->cr3);
        for (uint64_t j = 0; j < i; j++)
            check(s->reg[R_RSP] != ap_state[j].reg[R_RSP], "two cpus on one stack:", i);
        line("ap.rsp", s->reg[R_RSP]);
        check((s->apic_base >> 10 & 1) == mp->flags, "x2apic mode:", s->apic_base);
    }
    check(boot_cpus == 1, "boot cpus listed:", boot_cpus);
}

/* ---- responses -------------------------------------------------------- */

static void report_file(const char *key, const struct loam_limine_file *file)
{
    say(key);
    say_number((uint64_t)file->address - hhdm);
    say_number(file->size);
    say_number(checksum(file->address, file->size));
    put(' ');
    say(file->path);
    put('|');
    say(file->string);
    put('\n');
    check((uint64_t)file->address % PAGE_SIZE == 0, "file not page-aligned:", file->size);
    if (map != NULL && !loose)
        check(is_of_type((uint64_t)file->address - hhdm, file->size,
                         LOAM_LIMINE_MEMMAP_EXECUTABLE_AND_MODULES),
              "file not in its own memory:", file->size);
}

static void report_executable(void)
{
    if (ask.address.response != NULL) {
        line("executable.phys", ask.address.response->physical_base);
        line("executable.virt", ask.address.response->virtual_base);
        check(ask.address.response->virtual_base == (uint64_t)image_start, "virtual base:", 0);
    }
    if (ask.cmdline.response != NULL)
        line_text("cmdline", ask.cmdline.response->cmdline);
    if (ask.file.response != NULL)
        report_file("file", ask.file.response->file);
    for (uint64_t i = 0; ask.module.response != NULL && i < ask.module.response->module_count; i++)
        report_file("module", ask.module.response->modules[i]);
}

static void report_framebuffer(void)
{
    if (ask.framebuffer.response == NULL) {
        line_text("framebuffer", "none");
        return;
    }
    const struct loam_limine_framebuffer *fb = ask.framebuffer.response->framebuffers[0];
    volatile uint32_t *pixels = fb->address;

    say("framebuffer");
    say_number((uint64_t)fb->address - hhdm);
    say_number(fb->width);
    say_number(fb->height);
    say_number(fb->pitch);
    say_number(fb->bpp);
    put('\n');
    const uint64_t last = fb->pitch / 4 * fb->height - 1;
    pixels[0] = 0x00336699;
    pixels[last] = 0x00996633;
    check(pixels[0] == 0x00336699 && pixels[last] == 0x00996633, "pixels forgotten:", last);
}

static void check_is_reclaimable(const void *object, uint64_t size)
{
    check(is_of_type((uint64_t)object - hhdm, size, LOAM_LIMINE_MEMMAP_BOOTLOADER_RECLAIMABLE),
          "an answer outside reclaimable memory:", (uint64_t)object);
}

static void check_answers(void)
{
    check_is_reclaimable(map, sizeof *map);
    check_is_reclaimable(map->entries, map->entry_count * sizeof(void *));
    for (uint64_t i = 0; i < map->entry_count; i++)
        check_is_reclaimable(map->entries[i], sizeof *map->entries[i]);
    for (uint64_t i = 0; ask.mp.response != NULL && i < ask.mp.response->cpu_count; i++)
        check_is_reclaimable(ask.mp.response->cpus[i], sizeof *ask.mp.response->cpus[i]);
    if (ask.info.response != NULL)
        check_is_reclaimable(ask.info.response->name, 1);
    if (ask.cmdline.response != NULL)
        check_is_reclaimable(ask.cmdline.response->cmdline, 1);
}

/* Base revision 4 and newer promise that tables can be read. */
static void report_acpi(void)
{
    const uint64_t address = ask.rsdp.response->address;

    line("rsdp", address);
    if (revision < 4 || loose)
        return;
    const char *rsdp = (const char *)address;
    check(has_word((const char[9]){ rsdp[0], rsdp[1], rsdp[2], rsdp[3], rsdp[4], rsdp[5], rsdp[6],
                                    rsdp[7] },
                   "RSD PTR "),
          "rsdp signature at", address);
    const uint32_t *rsdt = (const uint32_t *)(hhdm + *(const uint32_t *)(rsdp + 16));
    if ((uint64_t)rsdt == hhdm)
        return; /* XSDT only */
    for (uint32_t i = 9; i < rsdt[1] / 4; i++) {
        const char *table = (const char *)(hhdm + rsdt[i]);
        const uint32_t length = *(const uint32_t *)(table + 4);
        uint8_t sum = 0;
        for (uint32_t k = 0; k < length; k++)
            sum = (uint8_t)(sum + (uint8_t)table[k]);
        line_text("acpi", (const char[5]){ table[0], table[1], table[2], table[3] });
        check(sum == 0, "acpi table checksum", rsdt[i]);
    }
}

static void report_environment(void)
{
    line("revision.word1", ask.revision[1]);
    line("revision.word2", ask.revision[2]);
    revision = ask.revision[1];
    if (ask.info.response != NULL) {
        line_text("loader", ask.info.response->name);
        line_text("version", ask.info.response->version);
    }
    line("stack", ask.stack.response != NULL);
    if (ask.paging.response != NULL)
        line("paging", ask.paging.response->mode);
    if (ask.hhdm.response != NULL) {
        hhdm = ask.hhdm.response->offset;
        line("hhdm", hhdm);
    }
    check(decoy.response == NULL, "answered behind the end marker", 0);
    map = ask.memmap.response;
    loose = ask.cmdline.response != NULL && has_word(ask.cmdline.response->cmdline, "loose");
}

_Noreturn void probe_main(void)
{
    const struct cpu_state s = state_now(probe_regs);

    line_text("probe", greeting);
    levels = (s.cr4 >> 12 & 1) != 0 ? 5 : 4;
    has_nx = (cpuid(0x80000001).d >> 20 & 1) != 0;
    report_environment();
    line("cr0", s.cr0);
    line("cr3", s.cr3);
    line("cr4", s.cr4);
    line("efer", s.efer);
    line("pat", s.pat);
    line("rsp", s.reg[R_RSP]);
    check_state(&s, 0);
    if (map != NULL)
        report_memmap();
    if (hhdm != 0) {
        report_executable();
        report_framebuffer();
    }
    if (hhdm != 0 && ask.rsdp.response != NULL)
        report_acpi();
    if (hhdm != 0 && map != NULL && !loose && ask.address.response != NULL) {
        check_tables(s.cr3);
        check_coverage(s.cr3);
        check_answers();
        check(is_of_type(s.cr3 & PTE_ADDRESS, PAGE_SIZE, LOAM_LIMINE_MEMMAP_BOOTLOADER_RECLAIMABLE),
              "root table not in reclaimable memory:", s.cr3);
    }
    if (ask.mp.response != NULL)
        check_cpus(s.cr3);
    line("done", problem_count);
    out8(0xf4, problem_count == 0 ? 0x10 : 0x12);
    for (;;)
        __asm__ volatile("hlt");
}
