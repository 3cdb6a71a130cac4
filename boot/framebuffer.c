/*
 * framebuffer.c - a linear framebuffer: the one GRUB set up, or the Bochs display
 * adapter that QEMU's -vga std is. Source: QEMU docs/specs/standard-vga.
 */
#include "cpu.h"
#include "shim.h"

#define PCI_ADDRESS      0xcf8u
#define PCI_DATA         0xcfcu
#define PCI_ENABLE       (1u << 31)
#define PCI_DEVICE_COUNT 32u
#define PCI_ID           0x00u
#define PCI_COMMAND      0x04u
#define PCI_BAR0         0x10u
#define PCI_MEMORY       0x02u
#define BOCHS_ID         0x11111234u

#define DISPI_INDEX  0x1ceu
#define DISPI_DATA   0x1cfu
#define DISPI_WIDTH  1u
#define DISPI_HEIGHT 2u
#define DISPI_DEPTH  3u
#define DISPI_ENABLE 4u
#define DISPI_ON     0x41u /* on, linear, cleared */

#define WIDTH  1024u
#define HEIGHT 768u
#define DEPTH  32u

static uint32_t pci_read(uint32_t device, uint32_t offset)
{
    port_out32(PCI_ADDRESS, PCI_ENABLE | device << 11 | offset);
    return port_in32(PCI_DATA);
}

static void pci_write(uint32_t device, uint32_t offset, uint32_t value)
{
    port_out32(PCI_ADDRESS, PCI_ENABLE | device << 11 | offset);
    port_out32(PCI_DATA, value);
}

static void dispi_write(uint16_t index, uint16_t value)
{
    port_out16(DISPI_INDEX, index);
    port_out16(DISPI_DATA, value);
}

static bool start_bochs(struct input *input, uint32_t device)
{
    const uint32_t bar = pci_read(device, PCI_BAR0) & ~0xfu;
    if (bar == 0)
        return false;
    pci_write(device, PCI_COMMAND, pci_read(device, PCI_COMMAND) | PCI_MEMORY);
    dispi_write(DISPI_ENABLE, 0);
    dispi_write(DISPI_WIDTH, WIDTH);
    dispi_write(DISPI_HEIGHT, HEIGHT);
    dispi_write(DISPI_DEPTH, DEPTH);
    dispi_write(DISPI_ENABLE, DISPI_ON);
    input->framebuffer = (struct loam_limine_framebuffer){
        .address = at(bar),
        .width = WIDTH,
        .height = HEIGHT,
        .pitch = WIDTH * DEPTH / 8,
        .bpp = DEPTH,
        .memory_model = LOAM_LIMINE_FRAMEBUFFER_RGB,
        .red_mask_size = 8,
        .red_mask_shift = 16,
        .green_mask_size = 8,
        .green_mask_shift = 8,
        .blue_mask_size = 8,
        .blue_mask_shift = 0,
    };
    return true;
}

/* Leaves the address 0 where there is none. Claims its memory in the map. */
void framebuffer_find(struct input *input)
{
    struct loam_limine_framebuffer *fb = &input->framebuffer;

    for (uint32_t device = 0; fb->address == NULL && device < PCI_DEVICE_COUNT; device++) {
        if (pci_read(device, PCI_ID) == BOCHS_ID && start_bochs(input, device))
            break;
    }
    if (fb->address != NULL) {
        const uint64_t base = (uintptr_t)fb->address;
        map_set(page_floor(base), page_ceil(base + fb->pitch * fb->height),
                LOAM_LIMINE_MEMMAP_FRAMEBUFFER);
    }
}
