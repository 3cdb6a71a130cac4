/*
 * shell.h - a prompt on the console.
 */
#ifndef KERNEL_SHELL_H
#define KERNEL_SHELL_H

/* Read and run commands until poweroff. */
void shell_run(void);

#endif
