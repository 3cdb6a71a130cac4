/*
 * loam_sim.c - a doctor for memory maps: what would Loam make of this machine?
 *
 *     file -> raw entries -> repairs -> normalised map      memmap.c, as in a kernel
 *          -> simulated machine -> loam_init(), loam_enter() on every CPU
 *          -> what was taken, what is mapped, who owns what
 *          -> traffic on all CPUs, the bootloader's memory reclaimed, and traffic again
 *
 * Or a synthetic server instead of a file: then with NUMA nodes, and with all CPUs at
 * once.
 *
 * The library is the very code that boots; the machine is that of the tests. What
 * the file does not say (CPUs, page sizes, address width) is assumed: see --help.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <loam/boot/e820.h>
#include <loam/boot/limine.h>

#include "src/internal/check.h"
#include "src/internal/inject.h"
#include "src/internal/text.h"
#include "tests/machine.h"
#include "tests/mapfile.h"
#include "tools/sim_host.h"
#include "tools/sim_options.h"
#include "tools/sim_server.h"
#include "tools/sim_traffic.h"

/* Exit statuses; of several files the largest. */
enum { STATUS_OK, STATUS_REFUSED, STATUS_UNREADABLE };

/* Assumed of a machine whose file does not tell. */
#define ASSUMED_PHYS_BITS 46u
#define ASSUMED_CPUS      4u
#define ASSUMED_LEVELS    4u
#define ASSUMED_IMAGE     (UINT64_C(64) << 10)
#define ASSUMED_VIRT      UINT64_C(0xffffffff80000000)

/* One machine's examination. */
struct patient {
    const char *name;
    bool quiet;
    struct sim_server *server; /* NULL: it is a file */
    struct mapfile file;
    struct loam_boot boot;
    uint64_t repair_count;
    unsigned cpu_count; /* simulated */
};

static struct loam mm;

/* ---- hooks of the library ------------------------------------------------- */

/* Not a verdict about a map: no input may lead here. */
void loam_port_panic(const struct loam_panic *panic)
{
    fflush(stdout);
    fprintf(stderr,
            "loam-sim: %s:%d: panic: %s (subject %#" PRIx64 ", detail %#" PRIx64 ")\n"
            "loam-sim: this is a bug in Loam; please report it with the memory map\n",
            panic->file, panic->line, panic->rule, panic->subject, panic->detail);
    abort();
}

bool loam_test_inject(const char *point)
{
    (void)point;
    return false;
}

/* ---- printing ------------------------------------------------------------- */

static void write_stdout(void *context, const char *text, size_t size_bytes)
{
    (void)context;
    fwrite(text, 1, size_bytes, stdout);
}

static const struct loam_writer writer = { write_stdout, NULL };

static void print_range(struct loam_phys_range range)
{
    printf("  ");
    loam_text_hex(&writer, range.start.addr);
    printf("-");
    loam_text_hex(&writer, range.start.addr + (range.size - (range.size != 0)));
    printf("  ");
    loam_text_size(&writer, range.size, LOAM_TEXT_SIZE_MAX);
    printf("  ");
}

static void print_size(uint64_t bytes)
{
    loam_text_size(&writer, bytes, 0);
}

static const char *repair_reason(enum loam_repair repair)
{
    static const char *const reasons[LOAM_REPAIRS] = {
        [LOAM_REPAIR_EMPTY] = "has no length: dropped",
        [LOAM_REPAIR_WRAP] = "passes the end of the address space: clipped",
        [LOAM_REPAIR_LIMIT] = "above what the CPU can address: clipped or dropped",
        [LOAM_REPAIR_UNREACHABLE] = "usable, above what the direct map can show: not used",
        [LOAM_REPAIR_SHRUNK] = "usable, not on page boundaries: shrunk",
        [LOAM_REPAIR_GROWN] = "not usable, not on page boundaries: grown",
        [LOAM_REPAIR_UNKNOWN_TYPE] = "type unknown: taken as reserved",
        [LOAM_REPAIR_OVERLAP] = "several types: the most restrictive one won",
        [LOAM_REPAIR_PAGE_ZERO] = "frame 0 was usable: reserved",
    };
    return reasons[repair];
}

static void visit_repair(void *context, enum loam_repair repair, struct loam_phys_range where)
{
    struct patient *patient = context;
    patient->repair_count++;
    if (patient->quiet)
        return;
    print_range(where);
    printf("%s\n", repair_reason(repair));
}

/* Counts in decimal, addresses and large sizes in hexadecimal. */
static void print_number(const char *name, uint64_t number)
{
    if (number < 1000000)
        printf("%s %" PRIu64, name, number);
    else
        printf("%s %#" PRIx64, name, number);
}

static int report_refusal(const struct patient *patient, const struct loam_refusal *refusal)
{
    if (patient->quiet)
        printf("%s: ", patient->name);
    printf("refused: %s (", refusal->rule);
    print_number("have", refusal->have);
    if (refusal->need != 0)
        print_number(", need", refusal->need);
    printf(")\n");
    return STATUS_REFUSED;
}

/* ---- the machine ---------------------------------------------------------- */

static bool has(const struct patient *patient, enum mapfile_field field)
{
    return (patient->file.present & (unsigned)field) != 0;
}

static void power_on(struct patient *patient)
{
    const struct mapfile *file = &patient->file;
    const uint64_t cpus = has(patient, MAPFILE_CPU_COUNT) ? file->cpu_count : ASSUMED_CPUS;
    patient->boot.cpu_count = cpus < UINT32_MAX ? (unsigned)cpus : UINT32_MAX;
    patient->cpu_count = cpus < 1 ? 1 : cpus > MACHINE_CPUS_MAX ? MACHINE_CPUS_MAX : (unsigned)cpus;
    patient->boot.levels = has(patient, MAPFILE_PAGING_MODE) ? file->paging_levels : ASSUMED_LEVELS;

    machine_reset(patient->cpu_count);
    machine_set_levels(patient->boot.levels);
    for (unsigned i = 0; i < patient->cpu_count; i++) {
        struct machine_cpu *cpu = machine_cpu(i);
        cpu->phys_bits = has(patient, MAPFILE_BITS) ? (unsigned)file->phys_bits : ASSUMED_PHYS_BITS;
        if (has(patient, MAPFILE_CPUID)) {
            cpu->gib_pages = file->has_1g_pages;
            cpu->nx = file->has_nx;
        }
    }
}

/* What a bootloader would have mapped is RAM of the machine; the rest faults. */
static void add_ram(const struct loam_memmap *map, loam_mem_types types)
{
    for (size_t i = 0; i < map->entry_count; i++) {
        const struct loam_phys_range range = map->entry[i].range;
        const bool shown = range.start.addr < machine_window() &&
                           range.size <= machine_window() - range.start.addr;
        if (shown && (types & LOAM_MEM_BIT(map->entry[i].type)) != 0)
            machine_add_ram(range.start.addr, range.size);
    }
}

/* A kernel in its recorded place, else at the first usable one above 1 MiB. */
static void place_image(struct patient *patient, const struct loam_memmap *map)
{
    const struct mapfile *file = &patient->file;
    struct loam_image *image = &patient->boot.image;
    const bool recorded = has(patient, MAPFILE_KERNEL_PHYS) && has(patient, MAPFILE_KERNEL_VIRT) &&
                          has(patient, MAPFILE_KERNEL_IMAGE_SIZE);
    const uint64_t size = recorded ? file->kernel_image_size : ASSUMED_IMAGE;
    image->virt_base = loam_virt_at(recorded ? file->kernel_virt : ASSUMED_VIRT);
    image->phys_base = recorded ? loam_phys_at(file->kernel_phys) : loam_phys_none();
    for (size_t i = 0; i < map->entry_count && loam_phys_is_none(image->phys_base); i++) {
        const struct loam_memmap_entry *entry = &map->entry[i];
        if (entry->type == LOAM_MEM_USABLE && entry->range.start.addr >= 0x100000 &&
            entry->range.size >= size)
            image->phys_base = entry->range.start;
    }
    if (loam_phys_is_none(image->phys_base)) {
        image->phys_base = loam_phys_at(0); /* no memory for a kernel: loam_init() will say so */
        return;
    }

    /* Text and constants, a quarter each, and data: what a linker script makes. */
    static const loam_prot prots[] = { LOAM_PROT_EXEC, LOAM_PROT_READ, LOAM_PROT_WRITE };
    const uint64_t quarter = size / 4 > LOAM_PAGE_SIZE ? loam_page_floor(size / 4) : LOAM_PAGE_SIZE;
    const uint64_t starts[] = { 0, quarter, 2 * quarter, size };
    for (unsigned i = 0; i < 3 && starts[i] < size; i++) {
        const uint64_t end = starts[i + 1] < size ? starts[i + 1] : size;
        struct loam_image_section *section = &image->section[image->section_count++];
        section->virt =
            loam_virt_range_of(loam_virt_at(image->virt_base.addr + starts[i]), end - starts[i]);
        section->prot = prots[i];
    }
    patient->boot.code = image->virt_base;
    if (2 * quarter < size)
        patient->boot.stack = loam_virt_at(image->virt_base.addr + size - 64);
}

/* ---- the examination ------------------------------------------------------ */

/* Raw entries: the file's, and a framebuffer it names. As boot adapters do. */
static void collect(struct patient *patient)
{
    const struct mapfile *file = &patient->file;
    struct loam_boot *boot = &patient->boot;
    memcpy(boot->storage.raw, file->entry, file->entry_count * sizeof *file->entry);
    boot->raw_count = file->entry_count;
    if (!has(patient, MAPFILE_FRAMEBUFFER))
        return;
    struct loam_memmap_entry *entry = &boot->storage.raw[boot->raw_count++];
    entry->range.start = loam_phys_at(file->framebuffer.address - file->hhdm_offset);
    entry->range.size = file->framebuffer.pitch * file->framebuffer.height;
    entry->type = LOAM_MEM_FRAMEBUFFER;
}

static void print_map(const struct loam_memmap *map)
{
    printf("\nnormalised map, %zu entries\n", map->entry_count);
    for (size_t i = 0; i < map->entry_count; i++) {
        print_range(map->entry[i].range);
        printf("%s\n", loam_mem_type_name(map->entry[i].type));
    }
}

/* Normalise for the reader, before there is a kernel in the map. */
static enum loam_status normalise(struct patient *patient, struct loam_memmap *map,
                                  struct loam_refusal *refusal)
{
    const struct loam_repair_visitor visitor = { visit_repair, patient };
    const struct loam_memmap_request request = {
        .raw = patient->boot.storage.raw,
        .raw_count = patient->boot.raw_count,
        .storage = patient->boot.storage.map,
        .storage_count = patient->boot.storage.map_max,
        .phys_bits = machine_cpu(0)->phys_bits,
        .window_bytes = machine_window(),
        .visitor = &visitor,
    };
    if (!patient->quiet)
        printf("\nrepairs\n");
    const enum loam_status st = loam_memmap_init(map, &request, refusal);
    if (!patient->quiet && st == LOAM_OK && patient->repair_count == 0)
        printf("  none\n");
    return st;
}

struct coverage {
    uint64_t bytes;
    uint64_t pages_1g, pages_2m, pages_4k;
};

static struct coverage measure_direct_map(void)
{
    const uint64_t offset = machine_hhdm().offset;
    struct coverage coverage = { 0, 0, 0, 0 };
    struct loam_mapping run;
    loam_virt at = loam_virt_at(offset);
    while (loam_space_next(&mm.space, at, &run) == LOAM_OK &&
           run.virt.start.addr - offset < machine_window()) {
        const uint64_t count = run.virt.size / run.page_size;
        coverage.bytes += run.virt.size;
        if (run.page_size == UINT64_C(1) << 30)
            coverage.pages_1g += count;
        else if (run.page_size == UINT64_C(1) << 21)
            coverage.pages_2m += count;
        else
            coverage.pages_4k += count;
        at = loam_virt_at(run.virt.start.addr + run.virt.size);
    }
    return coverage;
}

/* Can this CPU use what it was promised? */
static bool lands(const struct patient *patient, unsigned cpu)
{
    const uint64_t heap = machine_hhdm().offset + mm.heap_range.start.addr;
    const uint64_t code = patient->boot.code.addr;
    return machine_access(cpu, heap, MACHINE_WRITE).fault == MACHINE_OK &&
           (code == 0 || machine_access(cpu, code, MACHINE_EXEC).fault == MACHINE_OK);
}

/* After loam_init() nothing about a map can go wrong any more: only a bug can. */
static void enter_all(const struct patient *patient)
{
    for (unsigned cpu = 0; cpu < patient->cpu_count; cpu++) {
        machine_set_cpu(cpu);
        LOAM_REQUIRE(loam_enter(&mm) == LOAM_OK, "loam-sim: a CPU cannot enter", cpu, 0);
        LOAM_REQUIRE(lands(patient, cpu), "loam-sim: a CPU faults on the new tables", cpu, 0);
    }
    machine_set_cpu(0);
    LOAM_REQUIRE(loam_audit(&mm) == NULL, "loam-sim: the layers disagree", 0, 0);
}

static void print_takeover(const struct patient *patient, const struct coverage *direct)
{
    const struct loam_phys_range image = loam_image_phys(&patient->boot.image);
    printf("\ntakeover\n");
    if (image.size != 0) {
        print_range(image);
        printf("kernel image\n");
    }
    print_range(mm.heap_range);
    printf("heap\n");
    printf("  page tables: %" PRIu64 " in use, %" PRIu64 " spare\n", mm.space.table_count,
           mm.tables.frame_count);
    printf("  direct map: %" PRIu64 " bytes (", direct->bytes);
    print_size(direct->bytes);
    printf("): %" PRIu64 " pages of 1 GiB, %" PRIu64 " of 2 MiB, %" PRIu64 " of 4 KiB\n",
           direct->pages_1g, direct->pages_2m, direct->pages_4k);
    printf("  CPUs entered: %u\n", patient->cpu_count);
    printf("\nusage\n");
    loam_usage_print_intervals(&mm.usage, &writer);
    printf("\n");
    loam_print_usage(&mm, &writer);
}

static void print_quiet(const struct patient *patient, const struct coverage *direct)
{
    printf("%s: ok, %zu entries, %" PRIu64 " repairs, ", patient->name, patient->boot.raw_count,
           patient->repair_count);
    print_size(loam_owner_bytes(&mm, LOAM_OWNER_USABLE));
    printf(" usable, direct map ");
    print_size(direct->bytes);
    printf(", CPUs %u\n", patient->cpu_count);
}

static void print_frames(void)
{
    static const char *const names[LOAM_ZONES] = { "the rest", "below 4 GiB", "below 16 MiB" };
    struct loam_frame_stats stats[LOAM_ZONES];
    uint64_t frames = 0;
    for (unsigned zone = 0; zone < LOAM_ZONES; zone++) {
        loam_frame_measure(&mm.frame, (enum loam_zone)zone, &stats[zone]);
        frames += stats[zone].frame_count;
    }
    const uint64_t metadata = mm.frame_memory.size;
    printf("\nframes\n");
    printf("  metadata: %" PRIu64 " bytes (", metadata);
    print_size(metadata);
    printf("), %.1f KiB per GiB\n",
           (double)metadata / 1024 / ((double)frames * LOAM_PAGE_SIZE / (1024. * 1024 * 1024)));
    for (unsigned zone = LOAM_ZONES; zone-- > 0;)
        printf("  %s: %" PRIu64 " of %" PRIu64 " free, %" PRIu64 " blocks of 2 MiB\n", names[zone],
               stats[zone].free_count, stats[zone].frame_count, stats[zone].block_count);
}

/* From the file to the verdict. */
static int examine(struct patient *patient)
{
    struct loam_memmap map;
    struct loam_refusal refusal = { "", 0, 0 };
    struct loam_boot *boot = &patient->boot;
    const bool is_limine = patient->file.format == MAPFILE_LIMINE;
    const uint64_t tag = patient->file.revision_loaded_tag;

    power_on(patient);
    boot->struct_bytes = sizeof *boot;
    boot->hhdm = machine_hhdm();
    boot->hhdm_bytes = machine_window();
    /* Older bootloaders' maps are maps too: they show at least what revision 3 does. */
    boot->hhdm_types =
        is_limine ? loam_limine_hhdm_types(tag >= 3 && tag <= 6 ? tag : 3) : LOAM_BOOT_MAPPED_TYPES;
    boot->rsdp = loam_phys_none();
    collect(patient);
    if (!patient->quiet)
        printf("%s: %s, %zu entries\n", patient->name,
               patient->server != NULL ? "server" : mapfile_format_name(patient->file.format),
               boot->raw_count);
    if (normalise(patient, &map, &refusal) != LOAM_OK)
        return report_refusal(patient, &refusal);
    if (!patient->quiet)
        print_map(&map);
    add_ram(&map, boot->hhdm_types);
    place_image(patient, &map);

    memset(&mm, 0, sizeof mm);
    boot->ram_is_zeroed = patient->server != NULL; /* the host's pages are, when new */
    sim_progress_step("bring-up", 0);
    const uint64_t start = sim_host_now();
    if (loam_init(&mm, boot, &refusal) != LOAM_OK)
        return report_refusal(patient, &refusal);
    const uint64_t nanoseconds = sim_host_now() - start;
    sim_progress_step("CPUs enter", 0);
    enter_all(patient);
    const struct coverage direct = measure_direct_map();
    if (patient->quiet)
        print_quiet(patient, &direct);
    else
        print_takeover(patient, &direct);
    if (!patient->quiet)
        print_frames();
    if (patient->server != NULL) {
        patient->server->start_nanoseconds = nanoseconds;
        sim_server_run(patient->server, &mm);
        if (!patient->quiet)
            sim_server_print(patient->server, &writer);
        return STATUS_OK;
    }
    const struct sim_traffic traffic = sim_traffic_run(&mm, patient->cpu_count);
    if (!patient->quiet)
        printf("  traffic: %" PRIu64 " requests, %" PRIu64 " refused, all given back\n"
               "  reclaimed: %" PRIu64 " bytes; the books add up\n",
               traffic.request_count, traffic.refusal_count, traffic.reclaimed_bytes);
    return STATUS_OK;
}

/* ---- files ---------------------------------------------------------------- */

static bool make_storage(struct patient *patient)
{
    struct loam_boot_storage *storage = &patient->boot.storage;
    const size_t count = patient->file.entry_count + 2; /* framebuffer and image */
    storage->raw_max = count;
    storage->map_max = LOAM_MEMMAP_STORAGE(count);
    storage->records_max = LOAM_EARLY_RECORDS(count, 64);
    storage->raw = calloc(storage->raw_max, sizeof *storage->raw);
    storage->map = calloc(storage->map_max, sizeof *storage->map);
    storage->records = calloc(storage->records_max, sizeof *storage->records);
    return storage->raw != NULL && storage->map != NULL && storage->records != NULL;
}

/* Consumes patient->file. */
static int examine_in_storage(struct patient *patient)
{
    int status = STATUS_UNREADABLE;
    if (make_storage(patient))
        status = examine(patient);
    else
        fprintf(stderr, "%s: out of memory\n", patient->name);
    free(patient->boot.storage.raw);
    free(patient->boot.storage.map);
    free(patient->boot.storage.records);
    mapfile_free(&patient->file);
    return status;
}

static int examine_file(const char *path, const struct sim_options *options)
{
    struct patient patient;
    struct mapfile_error error = { 0, "" };
    const bool is_stdin = strcmp(path, "-") == 0;

    memset(&patient, 0, sizeof patient);
    patient.name = is_stdin ? "standard input" : path;
    patient.quiet = options->quiet;
    const enum loam_status st = is_stdin ? mapfile_read(&patient.file, stdin, &error)
                                         : mapfile_load(&patient.file, path, &error);
    if (st == LOAM_OK)
        return examine_in_storage(&patient);
    fflush(stdout);
    if (error.line != 0)
        fprintf(stderr, "%s:%zu: %s; see loam-sim --help for the format\n", patient.name,
                error.line, error.message);
    else
        fprintf(stderr, "%s: %s\n", patient.name, error.message);
    return STATUS_UNREADABLE;
}

/* @param shape "NODES,GIB,CPUS" */
static int examine_server(const char *shape, const struct sim_options *options)
{
    struct patient patient;
    struct sim_server server;
    memset(&patient, 0, sizeof patient);
    memset(&server, 0, sizeof server);
    patient.name = shape;
    patient.quiet = options->quiet;
    patient.server = &server;
    server.steps = options->steps;
    const char *wrong = sim_numa_parse(&server.numa, shape);
    machine_reset(1); /* says how much address space there is */
    if (wrong == NULL && sim_numa_end(&server.numa) > machine_window())
        wrong = "needs more address space than this host has";
    if (wrong == NULL && !sim_numa_describe(&server.numa, &patient.file))
        wrong = "needs more memory than this host has";
    if (wrong != NULL) {
        fflush(stdout);
        fprintf(stderr, "loam-sim: server %s %s; see loam-sim --help\n", shape, wrong);
        return STATUS_UNREADABLE;
    }
    if (!patient.quiet)
        sim_progress_start();
    const int status = examine_in_storage(&patient);
    sim_progress_stop();
    return status;
}

/* ---- all machines ---------------------------------------------------------- */

int main(int argc, char **argv)
{
    struct sim_options options;
    unsigned left = 0;
    int worst = STATUS_OK;
    switch (sim_options_read(&options, argc, argv)) {
    case SIM_OPTIONS_HELP:
        return STATUS_OK;
    case SIM_OPTIONS_WRONG:
        return STATUS_UNREADABLE;
    case SIM_OPTIONS_GO:
        left = options.machine_count;
        break;
    }
    for (int i = 1; i < argc; i++) {
        const char *const server = sim_options_server(argv[i]);
        if (server == NULL && !sim_options_is_file(argv[i]))
            continue;
        const int status =
            server != NULL ? examine_server(server, &options) : examine_file(argv[i], &options);
        worst = status > worst ? status : worst;
        if (!options.quiet && --left > 0)
            printf("\n");
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "loam-sim: the output cannot be written\n");
        return STATUS_UNREADABLE;
    }
    return worst;
}
