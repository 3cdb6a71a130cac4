/*
 * serial.c - see serial.h. 16550A: after "may send" there is room for a whole
 * FIFO, so the status is read once for 16 characters.
 */
#include "serial.h"

#include "instructions.h"

#define COM1           0x3f8u
#define UART_DATA      COM1
#define UART_INTERRUPT (COM1 + 1)
#define UART_FIFO      (COM1 + 2)
#define UART_LINE      (COM1 + 3)
#define UART_MODEM     (COM1 + 4)
#define UART_STATUS    (COM1 + 5)

#define UART_LATCH       0x80u
#define UART_8N1         0x03u
#define UART_FIFO_ON     0xc7u /* both cleared */
#define UART_DTR_RTS     0x03u
#define UART_HAS_DATA    0x01u
#define UART_CAN_SEND    0x20u
#define UART_FIFO_ROOM   16u
#define UART_DIVISOR_LOW 1u /* 115200 baud */

#define SEND_SPINS_MAX 100000u /* a missing UART must not stop the kernel */

static unsigned room;

void serial_init(void)
{
    x86_out8(UART_INTERRUPT, 0);
    x86_out8(UART_LINE, UART_LATCH);
    x86_out8(UART_DATA, UART_DIVISOR_LOW);
    x86_out8(UART_INTERRUPT, 0); /* divisor, high byte, while the latch is set */
    x86_out8(UART_LINE, UART_8N1);
    x86_out8(UART_FIFO, UART_FIFO_ON);
    x86_out8(UART_MODEM, UART_DTR_RTS);
    room = 0;
}

static void send(char c)
{
    for (unsigned i = 0; room == 0 && i < SEND_SPINS_MAX; i++) {
        if ((x86_in8(UART_STATUS) & UART_CAN_SEND) != 0)
            room = UART_FIFO_ROOM;
    }
    if (room == 0)
        return;
    x86_out8(UART_DATA, (uint8_t)c);
    room--;
}

void serial_write(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '\n')
            send('\r');
        send(text[i]);
    }
}

bool serial_read(char *c)
{
    if ((x86_in8(UART_STATUS) & UART_HAS_DATA) == 0)
        return false;
    *c = (char)x86_in8(UART_DATA);
    return true;
}
