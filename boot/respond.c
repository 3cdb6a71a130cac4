/*
 * respond.c - the answers. Each is reclaimable memory that the kernel sees through
 * the HHDM: the shim writes at the physical address and stores HHDM addresses.
 */
#include "shim.h"

#define RESPONSE_WORD 5u /* of every request: id, id, id, id, revision, response */

static void *seen(const struct answers *a, const void *object)
{
    return at(a->space->hhdm + (uintptr_t)object);
}

/* Zeroed memory for the response of @p kind, hooked into the request; or NULL if
 * the kernel did not ask. */
static void *answer(const struct answers *a, enum request kind, size_t size)
{
    uint64_t *request = a->requests->found[kind];

    if (request == NULL)
        return NULL;
    void *response = reclaimable(size);
    request[RESPONSE_WORD] = (uintptr_t)seen(a, response);
    return response;
}

static void respond_bootloader_info(const struct answers *a)
{
    struct loam_limine_bootloader_info_response *r = answer(a, REQUEST_BOOTLOADER_INFO, sizeof *r);
    if (r == NULL)
        return;
    r->name = seen(a, "Loam shim");
    r->version = seen(a, SHIM_VERSION);
}

static void respond_environment(const struct answers *a)
{
    answer(a, REQUEST_STACK_SIZE, sizeof(struct loam_limine_stack_size_response));
    struct loam_limine_hhdm_response *hhdm = answer(a, REQUEST_HHDM, sizeof *hhdm);
    if (hhdm != NULL)
        hhdm->offset = a->space->hhdm;
    struct loam_limine_paging_mode_response *mode = answer(a, REQUEST_PAGING_MODE, sizeof *mode);
    if (mode != NULL)
        mode->mode =
            a->space->levels == 5 ? LOAM_LIMINE_PAGING_5_LEVEL : LOAM_LIMINE_PAGING_4_LEVEL;
}

static struct loam_limine_file *describe(const struct answers *a, const struct boot_file *file,
                                         const char *string)
{
    struct loam_limine_file *f = reclaimable(sizeof *f);
    f->address = seen(a, at(file->base));
    f->size = file->size;
    f->path = seen(a, file->label);
    f->string = seen(a, string);
    return f;
}

static void respond_executable(const struct answers *a)
{
    struct loam_limine_executable_address_response *address =
        answer(a, REQUEST_EXECUTABLE_ADDRESS, sizeof *address);
    if (address != NULL) {
        address->physical_base = a->kernel->phys;
        address->virtual_base = a->kernel->virt;
    }
    struct loam_limine_executable_file_response *file =
        answer(a, REQUEST_EXECUTABLE_FILE, sizeof *file);
    if (file != NULL)
        file->file = seen(a, describe(a, &a->input->file[0], a->input->cmdline));
    struct loam_limine_cmdline_response *cmdline =
        answer(a, REQUEST_EXECUTABLE_CMDLINE, sizeof *cmdline);
    if (cmdline != NULL)
        cmdline->cmdline = seen(a, a->input->cmdline);
}

/* Without modules there is no response, as in Limine. */
static void respond_modules(const struct answers *a)
{
    const unsigned count = a->input->file_count - 1;
    struct loam_limine_module_response *r = count > 0 ? answer(a, REQUEST_MODULE, sizeof *r) : NULL;
    if (r == NULL)
        return;
    void **modules = reclaimable(count * sizeof(void *));
    for (unsigned i = 0; i < count; i++) {
        const struct boot_file *file = &a->input->file[i + 1];
        modules[i] = seen(a, describe(a, file, file->label));
    }
    r->module_count = count;
    r->modules = seen(a, modules);
}

static void respond_framebuffer(const struct answers *a)
{
    const struct loam_limine_framebuffer *found = &a->input->framebuffer;
    struct loam_limine_framebuffer_response *r =
        found->address != NULL ? answer(a, REQUEST_FRAMEBUFFER, sizeof *r) : NULL;
    if (r == NULL)
        return;
    struct loam_limine_framebuffer *fb = reclaimable(sizeof *fb);
    void **list = reclaimable(sizeof(void *));
    *fb = *found;
    fb->address = seen(a, found->address);
    list[0] = seen(a, fb);
    r->framebuffer_count = 1;
    r->framebuffers = seen(a, list);
}

static void respond_rsdp(const struct answers *a)
{
    struct loam_limine_rsdp_response *r = a->rsdp != 0 ? answer(a, REQUEST_RSDP, sizeof *r) : NULL;
    if (r != NULL)
        r->address = a->rsdp + (a->requests->revision == 3 ? 0 : a->space->hhdm);
}

static void respond_mp(const struct answers *a)
{
    const struct loam_limine_mp_request *request = a->requests->found[REQUEST_MP];
    struct loam_limine_mp_response *r = answer(a, REQUEST_MP, sizeof *r);
    if (r != NULL)
        smp_start(r, a->rsdp, a->space->hhdm, x2apic_is_due(request));
}

void respond(const struct answers *answers)
{
    respond_bootloader_info(answers);
    respond_environment(answers);
    respond_executable(answers);
    respond_modules(answers);
    respond_framebuffer(answers);
    respond_rsdp(answers);
    respond_mp(answers);
}

void respond_memmap(const struct answers *a)
{
    struct loam_limine_memmap_response *r = answer(a, REQUEST_MEMMAP, sizeof *r);
    if (r == NULL || a->options->map_answer == MAP_NO_ENTRIES)
        return;

    /* Carving the lists may split the map once more for each. */
    const size_t room = map_count() + a->options->extra_count + 4;
    struct loam_limine_memmap_entry *entry = reclaimable(room * sizeof *entry);
    void **list = reclaimable(room * sizeof(void *));
    size_t count = 0;
    for (size_t i = 0; i < map_count(); i++) {
        entry[count] = *map_entry(i);
        if (a->options->map_answer == MAP_NO_USABLE &&
            entry[count].type == LOAM_LIMINE_MEMMAP_USABLE)
            entry[count].type = LOAM_LIMINE_MEMMAP_RESERVED;
        count++;
    }
    for (unsigned i = 0; i < a->options->extra_count; i++)
        entry[count++] = a->options->extra[i];
    for (size_t i = 0; i < count; i++)
        list[i] = seen(a, &entry[i]);
    r->entry_count = count;
    r->entries = seen(a, list);
}
