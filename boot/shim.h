/*
 * shim.h - what the pieces of the loader shim share.
 *
 *   PVH, Multiboot2      map           elf        paging, respond, smp     trampoline
 *  ┌──────────────┐  ┌─────────┐  ┌───────────┐  ┌────────────────────┐  ┌──────────┐
 *  │ struct input ├─▶│ who owns├─▶│ the image ├─▶│ tables and answers ├─▶│ kernel   │
 *  └──────────────┘  │ what    │  │ in memory │  │ the kernel asked   │  │ entry    │
 *                    └─────────┘  └───────────┘  └────────────────────┘  └──────────┘
 *
 * The shim runs once, on one CPU, with interrupts off and an identity map of the
 * first 4 GiB. In that span a physical address is a pointer (at()), and all
 * memory that the shim takes comes from it. Whatever cannot go on ends in fail(),
 * which reports on COM1 and never returns, so nothing here returns an error.
 */
#ifndef SHIM_SHIM_H
#define SHIM_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <loam/boot/limine_protocol.h>

#define PAGE_SIZE      UINT64_C(0x1000)
#define REACH          (UINT64_C(1) << 32) /* end of the shim's identity map */
#define PHYS_LIMIT     (UINT64_C(1) << 52) /* architectural end of physical addresses */
#define LOW_MEMORY_END (UINT64_C(1) << 20) /* a CPU starts in real mode below this */
#define KERNEL_LOWEST  UINT64_C(0xffffffff80000000)
#define FILES_MAX      32u
#define CMDLINE_MAX    2048u
#define EXTRA_MAX      16u
#define FIRMWARE_MAX   1024u
#define SEGMENTS_MAX   16u
#define CPUS_MAX       256u
#define STACK_SIZE_MIN UINT64_C(0x10000)

static inline uint64_t page_floor(uint64_t value)
{
    return value & ~(PAGE_SIZE - 1);
}

static inline uint64_t page_ceil(uint64_t value)
{
    return page_floor(value + PAGE_SIZE - 1);
}

/* The object at a physical address below REACH. */
static inline void *at(uint64_t physical)
{
    return (void *)(uintptr_t)physical;
}

/* ---- serial.c: words out, and the way out --------------------------------- */

void serial_init(void);
void say(const char *text);
void say_number(uint64_t value); /* hexadecimal */
_Noreturn void fail(const char *why);
_Noreturn void fail_number(const char *why, uint64_t value);
void traps_install(void); /* from here on an exception is reported, not a reset */

/* ---- string.c -------------------------------------------------------------- */

void *memcpy(void *to, const void *from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);
int memcmp(const void *a, const void *b, size_t size);
size_t text_length(const char *text);
bool text_starts(const char *text, const char *prefix);
void text_copy(char *to, const char *from, size_t room); /* truncates, terminates */

/* ---- input.c: what the previous loader told us, copied out of its memory --- */

struct boot_file {
    uint64_t base; /* physical */
    uint64_t size;
    char label[64];
};

struct input {
    unsigned file_count;
    struct boot_file file[FILES_MAX]; /* [0] is the kernel */
    unsigned firmware_count;
    struct loam_limine_memmap_entry firmware[FIRMWARE_MAX]; /* as given: no order, overlaps */
    bool firmware_is_efi;
    uint64_t rsdp;         /* physical, or 0 */
    uint8_t rsdp_copy[36]; /* Multiboot2 hands over a copy, not the address */
    size_t rsdp_copy_size;
    char cmdline[CMDLINE_MAX];
    struct loam_limine_framebuffer framebuffer; /* physical address; 0 if none */
};

void input_read(struct input *input, uint32_t magic, uint32_t info);
void fwcfg_read_modules(struct input *input);

/* ---- options.c: shim.* words of the command line --------------------------- */

/* One bit each in options.unanswered; the order of request.c's table. */
enum request {
    REQUEST_BOOTLOADER_INFO,
    REQUEST_STACK_SIZE,
    REQUEST_HHDM,
    REQUEST_FRAMEBUFFER,
    REQUEST_PAGING_MODE,
    REQUEST_MP,
    REQUEST_MEMMAP,
    REQUEST_EXECUTABLE_FILE,
    REQUEST_MODULE,
    REQUEST_RSDP,
    REQUEST_EXECUTABLE_ADDRESS,
    REQUEST_EXECUTABLE_CMDLINE,
    REQUEST_COUNT
};

enum map_answer { MAP_HONEST, MAP_NO_USABLE, MAP_NO_ENTRIES };

struct options {
    unsigned revision_max;
    unsigned unanswered; /* bit per enum request */
    enum map_answer map_answer;
    uint64_t hhdm;  /* 0: the default of the paging mode */
    uint64_t limit; /* usable memory ends here */
    uint64_t phantom_base, phantom_size;
    uint64_t split_count;
    unsigned extra_count;
    struct loam_limine_memmap_entry extra[EXTRA_MAX];
    bool verbose;
};

/* Take the shim's words out of @p cmdline; the rest is the kernel's. */
void options_parse(struct options *options, char *cmdline);

/* ---- map.c: who owns which physical range ----------------------------------- */

void map_build(const struct input *input, const struct options *options);
void map_set(uint64_t base, uint64_t end, uint64_t type);
void map_change(uint64_t base, uint64_t end, uint64_t from, uint64_t to);
uint64_t map_carve(uint64_t size, uint64_t align, uint64_t limit, uint64_t type);
size_t map_count(void);
const struct loam_limine_memmap_entry *map_entry(size_t index);

/* A maximal run of whole pages that the HHDM maps with one memory type. */
enum map_kind { MAP_UNMAPPED, MAP_WRITE_BACK, MAP_WRITE_COMBINING };
struct map_run {
    uint64_t base, end;
    enum map_kind kind;
};
bool map_next_run(uint64_t from, unsigned revision, struct map_run *run);

/* Zeroed memory for what the kernel reads: bootloader-reclaimable, 16-byte aligned. */
void *reclaimable(uint64_t size);

/* ---- elf.c ------------------------------------------------------------------- */

struct segment {
    uint64_t virt, size; /* whole pages */
    bool write, execute;
};

struct kernel {
    uint64_t phys, virt, size; /* the image: one contiguous run of pages */
    uint64_t entry;
    unsigned segment_count;
    struct segment segment[SEGMENTS_MAX];
};

void elf_load(struct kernel *kernel, const struct boot_file *file);

/* ---- paging.c ---------------------------------------------------------------- */

struct space {
    uint64_t root;
    unsigned levels; /* 4 or 5 */
    uint64_t hhdm;
    bool has_nx, has_gigabyte, has_pat;
};

#define SPACE_WRITE   1u
#define SPACE_EXECUTE 2u
#define SPACE_WC      4u

void space_init(struct space *space, unsigned levels);
void space_map(struct space *space, uint64_t virt, uint64_t phys, uint64_t size, unsigned how);
void space_map_kernel(struct space *space, const struct kernel *kernel);
void space_map_hhdm(struct space *space, unsigned revision);
bool cpu_has_la57(void);

/* ---- request.c: what the kernel asks ------------------------------------------ */

struct requests {
    unsigned revision; /* base revision in force */
    void *found[REQUEST_COUNT];
};

void requests_find(struct requests *requests, const struct kernel *kernel,
                   const struct options *options);

/* ---- acpi.c ------------------------------------------------------------------- */

struct cpu_list {
    unsigned count;
    struct {
        uint32_t uid, apic_id;
    } cpu[CPUS_MAX];
};

uint64_t acpi_find_rsdp(const struct input *input);
void acpi_mark_tables(uint64_t rsdp);
void acpi_list_cpus(uint64_t rsdp, struct cpu_list *list);
void acpi_mask_interrupts(uint64_t rsdp);

/* ---- framebuffer.c ------------------------------------------------------------- */

void framebuffer_find(struct input *input);

/* ---- handoff.c: every CPU's way into the kernel's world ------------------------- */

struct slot;
void handoff_init(struct space *space, uint64_t stack_size, bool x2apic);
struct slot *handoff_add_cpu(struct loam_limine_mp_info *info);
uint8_t handoff_vector(void);
bool handoff_is_parked(const struct slot *slot);
bool handoff_abandon(struct slot *slot);
_Noreturn void handoff_enter(uint64_t entry);

/* ---- smp.c ---------------------------------------------------------------------- */

bool x2apic_is_due(const struct loam_limine_mp_request *request);
uint32_t cpu_apic_id(void);
void smp_start(struct loam_limine_mp_response *response, uint64_t rsdp, uint64_t hhdm, bool x2apic);

/* ---- respond.c ------------------------------------------------------------------- */

struct answers {
    const struct input *input;
    const struct options *options;
    const struct kernel *kernel;
    const struct space *space;
    const struct requests *requests;
    uint64_t rsdp; /* physical, or 0 */
};

void respond(const struct answers *answers);        /* all but the memory map */
void respond_memmap(const struct answers *answers); /* nothing may be carved after it */

#endif
