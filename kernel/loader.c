/*
 * loader.c - see loader.h.
 */
#include "loader.h"

#include "text.h"

LOAM_LIMINE(loader_limine);
struct loader loader;

static void copy_framebuffers(void)
{
    const struct loam_limine_framebuffer_response *response = loader_limine.framebuffer.response;
    for (uint64_t i = 0; response != NULL && i < response->framebuffer_count; i++) {
        const struct loam_limine_framebuffer *fb = response->framebuffers[i];
        if (loader.framebuffer_count == LOADER_FRAMEBUFFERS_MAX)
            return;
        loader.framebuffer[loader.framebuffer_count++] =
            loam_virt_range_of(loam_virt_of(fb->address), fb->pitch * fb->height);
    }
}

/* The address is physical at base revision 3, else in the direct map. */
static loam_phys rsdp_of(uint64_t revision)
{
    const struct loam_limine_rsdp_response *rsdp = loader_limine.rsdp.response;
    const struct loam_limine_hhdm_response *hhdm = loader_limine.hhdm.response;
    if (rsdp == NULL || hhdm == NULL)
        return loam_phys_none();
    return loam_phys_at(revision == 3 ? rsdp->address : rsdp->address - hhdm->offset);
}

void loader_copy(void)
{
    const struct loam_limine_bootloader_info_response *info =
        loader_limine.bootloader_info.response;
    const struct loam_limine_cmdline_response *cmdline = loader_limine.cmdline.response;
    const struct loam_limine_module_response *modules = loader_limine.module.response;

    memset(&loader, 0, sizeof loader);
    loader.revision = loam_limine_revision(&loader_limine);
    text_copy(loader.name, info != NULL ? info->name : "unknown", sizeof loader.name);
    text_copy(loader.version, info != NULL ? info->version : NULL, sizeof loader.version);
    text_copy(loader.cmdline, cmdline != NULL ? cmdline->cmdline : NULL, sizeof loader.cmdline);
    loader.module_count = modules != NULL ? (unsigned)modules->module_count : 0;
    copy_framebuffers();
    loader.rsdp = rsdp_of(loader.revision);
}

void loader_forget(void)
{
    loader_limine.bootloader_info.response = NULL;
    loader_limine.stack_size.response = NULL;
    loader_limine.hhdm.response = NULL;
    loader_limine.memmap.response = NULL;
    loader_limine.paging_mode.response = NULL;
    loader_limine.mp.response = NULL;
    loader_limine.executable_address.response = NULL;
    loader_limine.executable_file.response = NULL;
    loader_limine.cmdline.response = NULL;
    loader_limine.module.response = NULL;
    loader_limine.framebuffer.response = NULL;
    loader_limine.rsdp.response = NULL;
}
