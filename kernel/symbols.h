/*
 * symbols.h - names of the kernel's functions, from its own ELF file.
 */
#ifndef KERNEL_SYMBOLS_H
#define KERNEL_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct symbol {
    uint64_t address, size;
    const char *name;
};

struct symbols {
    struct symbol *list; /* on the heap, ascending */
    char *names;         /* on the heap */
    size_t count;
};

/**
 * Copy the function symbols of an ELF file onto the heap.
 *
 * @param symbols output; written on NULL only
 * @param file    any bytes, not retained
 *
 * @return NULL; else what is wrong with the file
 */
const char *symbols_read(struct symbols *symbols, const void *file, size_t size);

void symbols_free(struct symbols *symbols);

/* Read the running kernel's, from the bootloader's answer. Says on the console
 * what came of it; without symbols the kernel does as well. */
void symbols_load(void);

/** The function that has @p address. @return false: none, or no symbols. Any context. */
bool symbols_find(uint64_t address, struct symbol *out);

#endif
