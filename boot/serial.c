/*
 * serial.c - messages on COM1, the failing exit, and the report of exceptions.
 */
#include "cpu.h"
#include "shim.h"

#define COM1          0x3f8u
#define UART_DIVISOR  COM1 /* while the latch bit is set */
#define UART_IRQ      (COM1 + 1)
#define UART_FIFO     (COM1 + 2)
#define UART_LINE     (COM1 + 3)
#define UART_MODEM    (COM1 + 4)
#define UART_STATUS   (COM1 + 5)
#define UART_LATCH    0x80u
#define UART_8N1      0x03u
#define UART_CAN_SEND 0x20u

#define EXIT_PORT    0xf4u
#define EXIT_FAILURE 0x11u /* QEMU ends with status 2 * this + 1 = 35 */

#define TRAP_COUNT     32u
#define TRAP_GATE      UINT64_C(0x8e00)
#define CODE_SEGMENT   UINT64_C(0x08) /* entry.S */
#define SEND_SPINS_MAX 100000u        /* a missing UART must not stop the boot */

void serial_init(void)
{
    port_out8(UART_IRQ, 0);
    port_out8(UART_LINE, UART_LATCH);
    port_out8(UART_DIVISOR, 1); /* 115200 baud */
    port_out8(UART_DIVISOR + 1, 0);
    port_out8(UART_LINE, UART_8N1);
    port_out8(UART_FIFO, 0xc7); /* on, cleared */
    port_out8(UART_MODEM, 0x03);
}

static void send(char c)
{
    for (unsigned i = 0; i < SEND_SPINS_MAX; i++) {
        if ((port_in8(UART_STATUS) & UART_CAN_SEND) != 0)
            break;
    }
    port_out8(COM1, (uint8_t)c);
}

void say(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\n')
            send('\r');
        send(*text);
    }
}

void say_number(uint64_t value)
{
    unsigned shift = 60;

    say("0x");
    while (shift > 0 && value >> shift == 0)
        shift -= 4;
    for (;; shift -= 4) {
        send("0123456789abcdef"[value >> shift & 15]);
        if (shift == 0)
            return;
    }
}

static _Noreturn void leave(void)
{
    port_out8(EXIT_PORT, EXIT_FAILURE);
    for (;;) /* not under QEMU, or without its exit device */
        cpu_halt();
}

_Noreturn void fail(const char *why)
{
    say("shim: error: ");
    say(why);
    say("\n");
    leave();
}

_Noreturn void fail_number(const char *why, uint64_t value)
{
    say("shim: error: ");
    say(why);
    say(" ");
    say_number(value);
    say("\n");
    leave();
}

/* ---- exceptions ------------------------------------------------------------- */

struct trap_frame { /* as entry.S pushes it */
    uint64_t vector, error, rip;
};

struct gate {
    uint64_t low, high;
};

extern const char trap_stubs[]; /* 16 bytes each, entry.S */
_Noreturn void trap_report(const struct trap_frame *frame);

_Noreturn void trap_report(const struct trap_frame *frame)
{
    say("shim: error: exception ");
    say_number(frame->vector);
    say(" error ");
    say_number(frame->error);
    say(" rip ");
    say_number(frame->rip);
    say(" cr2 ");
    say_number(cpu_read_cr2());
    say("\n");
    leave();
}

void traps_install(void)
{
    static struct gate idt[TRAP_COUNT];

    for (unsigned i = 0; i < TRAP_COUNT; i++) {
        const uint64_t stub = (uintptr_t)trap_stubs + UINT64_C(16) * i;
        idt[i].low = (stub & 0xffff) | CODE_SEGMENT << 16 | TRAP_GATE << 32 | (stub >> 16) << 48;
        idt[i].high = stub >> 32;
    }
    const struct descriptor_table table = { sizeof idt - 1, (uintptr_t)idt };
    cpu_load_idt(&table);
}
