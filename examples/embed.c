/*
 * embed.c - a whole kernel on Loam: what any kernel of its own adds, and the
 * least it must have beside. Builds with embed.mk; boots from any Limine loader.
 */
#include <loam/boot/limine.h>
#include <loam/x86.h>

_Noreturn void kmain(void);

/* The parts of the image, named by the linker script. */
extern const char kernel_text_start[], kernel_text_end[];
extern const char kernel_rodata_start[], kernel_rodata_end[];
extern const char kernel_data_start[], kernel_data_end[];

LOAM_LIMINE(limine);              /* what is asked of the bootloader */
LOAM_BOOT_STORAGE(storage, 1024); /* room for its memory map */
static struct loam mm;

static bool take_over(struct loam_refusal *why)
{
    struct loam_boot boot;
    return loam_boot_limine(&boot, &storage, &limine, why) == LOAM_OK &&
           loam_image_add(&boot.image, kernel_text_start, kernel_text_end, LOAM_PROT_EXEC) &&
           loam_image_add(&boot.image, kernel_rodata_start, kernel_rodata_end, LOAM_PROT_READ) &&
           loam_image_add(&boot.image, kernel_data_start, kernel_data_end, LOAM_PROT_WRITE) &&
           loam_init(&mm, &boot, why) == LOAM_OK && loam_enter(&mm) == LOAM_OK;
}

static void say(const char *text)
{
    for (; *text != '\0'; text++)
        __asm__ volatile("outb %0, %1" : : "a"(*text), "Nd"((uint16_t)0x3f8)); /* COM1 */
}

static _Noreturn void leave(uint8_t status)
{
    __asm__ volatile("outb %0, %1" : : "a"(status), "Nd"((uint16_t)0xf4)); /* QEMU's exit device */
    for (;;)
        __asm__ volatile("cli; hlt");
}

/* ---- the three hooks, for one CPU --------------------------------------------- */

unsigned loam_port_cpu(void)
{
    return 0;
}

void loam_port_tlb_flush(const struct loam_tlb_flush *flush)
{
    loam_tlb_flush_local(flush);
}

void loam_port_panic(const struct loam_panic *panic)
{
    say(panic->rule);
    say("\n");
    leave(0x11);
}

/* ---- and the kernel -------------------------------------------------------------- */

_Noreturn void kmain(void)
{
    struct loam_refusal why = { "embed: an image section or the CPU was refused", 0, 0 };
    if (!take_over(&why)) {
        say(why.rule);
        say("\n");
        leave(0x11);
    }
    char *hello = loam_malloc(&mm, 32);
    if (hello == NULL)
        leave(0x11);
    __builtin_memcpy(hello, "Hello from the heap!\n", 22);
    say(hello);
    loam_free(&mm, hello);
    leave(loam_audit(&mm) == NULL ? 0x10 : 0x11);
}
