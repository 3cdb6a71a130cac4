/*
 * firmware.c - see firmware.h.
 *
 *     LAYOUT_FIRMWARE   [ root table, 64 MiB )[ table looked at, 64 MiB )
 */
#include "firmware.h"

#include "acpi.h"
#include "layout.h"
#include "loader.h"
#include "log.h"
#include "memory.h"
#include "text.h"

#define VIEW_BYTES (UINT64_C(64) << 20) /* a longer table is not believed */
#define LOW_MEMORY (UINT64_C(1) << 20)  /* old firmware keeps things there and tells nobody */

enum view { VIEW_ROOT, VIEW_TABLE, VIEWS };

static struct loam_virt_range shown[VIEWS]; /* size 0: nothing */

/* ---- the window ------------------------------------------------------------ */

static void hide(enum view view)
{
    if (shown[view].size == 0)
        return;
    const enum loam_status st = loam_unmap(&memory, shown[view]);
    if (st != LOAM_OK)
        log_error("firmware: a view cannot be unmapped (%s)", loam_status_name(st));
    shown[view].size = 0;
}

/* Not the kernel's, and not where devices are: a read has no effect. */
static bool is_firmware(uint64_t start, uint64_t size)
{
    struct loam_interval interval;
    uint64_t at = start;
    if (size == 0 || !loam_range_fits(start, size))
        return false;
    const uint64_t last = start + (size - 1);
    if (last < LOW_MEMORY)
        return true;
    while (loam_usage_lookup(&memory.usage, loam_phys_at(at), &interval)) {
        const uint64_t interval_last = interval.range.start.addr + (interval.range.size - 1);
        if (interval.owner < LOAM_OWNER_ACPI_RECLAIMABLE && interval.owner != LOAM_OWNER_BOOTLOADER)
            return false;
        if (interval.owner >= LOAM_OWNER_FRAMEBUFFER)
            return false;
        if (interval_last >= last)
            return true;
        at = interval_last + 1;
    }
    return false;
}

/* Show so many bytes there, instead of what the view showed. @return NULL: impossible */
static const void *show(enum view view, uint64_t phys, uint64_t size)
{
    const struct loam_attr attr = { LOAM_PROT_READ | LOAM_PROT_GLOBAL, LOAM_CACHE_WB };
    const uint64_t skipped = phys - loam_page_floor(phys);
    hide(view);
    if (!is_firmware(phys, size) || size > VIEW_BYTES - LOAM_PAGE_SIZE) {
        log_warn("firmware: the memory at %p, %lu bytes, is not its", (void *)(uintptr_t)phys,
                 size);
        return NULL;
    }
    const struct loam_virt_range virt =
        loam_virt_range_of(loam_virt_at(LAYOUT_FIRMWARE + (uint64_t)view * VIEW_BYTES),
                           loam_page_floor(skipped + size + (LOAM_PAGE_SIZE - 1)));
    const enum loam_status st = loam_map(&memory, virt, loam_phys_at(loam_page_floor(phys)), attr);
    if (st != LOAM_OK) {
        log_warn("firmware: %p cannot be mapped: %s", (void *)(uintptr_t)phys,
                 loam_status_name(st));
        return NULL;
    }
    shown[view] = virt;
    return (const void *)(uintptr_t)(virt.start.addr + skipped);
}

/* ---- tables ------------------------------------------------------------------ */

/* @return a whole table with a good checksum, or NULL */
static const void *show_table(enum view view, uint64_t phys, const char *signature)
{
    const char *wrong = "shorter than a table's head";
    const uint8_t *table = show(view, phys, ACPI_HEAD_BYTES);
    if (table == NULL || memcmp(table, signature, 4) != 0)
        return NULL;
    const uint32_t size = acpi_length(table);
    if (size >= ACPI_HEAD_BYTES) {
        table = show(view, phys, size);
        if (table == NULL)
            return NULL;
        wrong = acpi_check(table, size);
    }
    if (wrong == NULL)
        return table;
    log_warn("firmware: table %s at %p: %s", signature, (void *)(uintptr_t)phys, wrong);
    return NULL;
}

static const void *show_root(void)
{
    struct acpi_root root;
    const uint64_t phys = loader.rsdp.addr;
    size_t size = ACPI_RSDP_BYTES;
    if (loam_phys_is_none(loader.rsdp)) {
        log_info("firmware: the bootloader knows no ACPI");
        return NULL;
    }
    const void *rsdp = show(VIEW_ROOT, phys, size);
    if (rsdp != NULL)
        size = acpi_rsdp_bytes(rsdp);
    if (size != ACPI_RSDP_BYTES)
        rsdp = show(VIEW_ROOT, phys, size);
    if (rsdp == NULL)
        return NULL;
    const char *wrong = acpi_read_rsdp(rsdp, size, &root);
    if (wrong != NULL) {
        log_warn("firmware: ACPI's root pointer at %p: %s", (void *)(uintptr_t)phys, wrong);
        return NULL;
    }
    const void *table = root.xsdt != 0 ? show_table(VIEW_ROOT, root.xsdt, "XSDT") : NULL;
    if (table == NULL && root.rsdt != 0)
        table = show_table(VIEW_ROOT, root.rsdt, "RSDT");
    return table;
}

const void *firmware_table(const char *signature, size_t *size)
{
    const void *root = show_root(), *table = NULL;
    const uint32_t count = root != NULL ? acpi_pointer_count(root) : 0;
    for (uint32_t i = 0; table == NULL && i < count; i++) {
        const uint64_t phys = acpi_pointer(root, i);
        if (phys != 0)
            table = show_table(VIEW_TABLE, phys, signature);
    }
    hide(VIEW_ROOT);
    if (table == NULL)
        hide(VIEW_TABLE);
    else
        *size = acpi_length(table);
    return table;
}

void firmware_hide(void)
{
    hide(VIEW_TABLE);
}
