/*
 * fwcfg.c - modules through QEMU's fw_cfg device.
 *
 * QEMU gives a PVH kernel a single initrd, and that is our kernel. Further files
 * come as  -fw_cfg name=opt/loam.module/NAME,file=PATH  and become modules in the
 * device's order, which is sorted by name. Source: QEMU docs/specs/fw_cfg.
 */
#include "cpu.h"
#include "shim.h"

#define PORT_SELECT   0x510u
#define PORT_DATA     0x511u
#define PORT_DMA_HIGH 0x514u
#define PORT_DMA_LOW  0x518u

#define ITEM_SIGNATURE 0x0000u
#define ITEM_FEATURES  0x0001u
#define ITEM_DIRECTORY 0x0019u
#define FEATURE_DMA    0x02u

#define DMA_ERROR  0x01u
#define DMA_READ   0x02u
#define DMA_SKIP   0x04u
#define DMA_SELECT 0x08u

#define MODULE_PREFIX "opt/loam.module/"

struct directory_entry { /* big-endian */
    uint32_t size;
    uint16_t item;
    uint16_t reserved;
    char name[56];
};

struct dma_command { /* big-endian */
    uint32_t control;
    uint32_t length;
    uint64_t address;
};

static void run(uint32_t control, uint64_t address, uint32_t length)
{
    static volatile struct dma_command command;

    command.control = __builtin_bswap32(control);
    command.length = __builtin_bswap32(length);
    command.address = __builtin_bswap64(address);
    port_out32(PORT_DMA_HIGH, 0);
    port_out32(PORT_DMA_LOW, __builtin_bswap32((uint32_t)(uintptr_t)&command));
    while ((__builtin_bswap32(command.control) & ~DMA_ERROR) != 0)
        cpu_pause();
    if (command.control != 0)
        fail("fw_cfg refuses a read");
}

/* Read @p length bytes of @p item from @p skip on. */
static void read_item(uint32_t item, uint32_t skip, void *to, uint32_t length)
{
    run(item << 16 | DMA_SELECT | DMA_SKIP, 0, skip);
    run(DMA_READ, (uintptr_t)to, length);
}

static bool is_present(void)
{
    static const char signature[4] = { 'Q', 'E', 'M', 'U' };

    port_out16(PORT_SELECT, ITEM_SIGNATURE);
    for (unsigned i = 0; i < sizeof signature; i++) {
        if (port_in8(PORT_DATA) != (uint8_t)signature[i])
            return false;
    }
    port_out16(PORT_SELECT, ITEM_FEATURES);
    return (port_in8(PORT_DATA) & FEATURE_DMA) != 0;
}

void fwcfg_read_modules(struct input *input)
{
    if (!is_present())
        return;

    uint32_t count = 0;
    read_item(ITEM_DIRECTORY, 0, &count, sizeof count);
    count = __builtin_bswap32(count);
    for (uint32_t i = 0; i < count; i++) {
        struct directory_entry entry = { 0 };
        const uint32_t skip = (uint32_t)(sizeof count + i * sizeof entry);
        read_item(ITEM_DIRECTORY, skip, &entry, sizeof entry);
        entry.name[sizeof entry.name - 1] = '\0';
        if (!text_starts(entry.name, MODULE_PREFIX))
            continue;
        if (input->file_count == FILES_MAX)
            fail("too many modules");
        struct boot_file *file = &input->file[input->file_count++];
        file->size = __builtin_bswap32(entry.size);
        file->base =
            map_carve(file->size, PAGE_SIZE, REACH, LOAM_LIMINE_MEMMAP_EXECUTABLE_AND_MODULES);
        read_item(__builtin_bswap16(entry.item), 0, at(file->base), (uint32_t)file->size);
        text_copy(file->label, entry.name + sizeof MODULE_PREFIX - 1, sizeof file->label);
    }
}
