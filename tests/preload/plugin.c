/*
 * plugin.c - a library that a program loads: allocates when it comes and goes, and
 * hands out blocks that outlive it.
 */
#include <stdlib.h>
#include <string.h>

char *plugin_text(unsigned number);

static char *own;

__attribute__((constructor)) static void come(void)
{
    own = malloc(5000);
    if (own != NULL)
        memset(own, 'p', 5000);
}

__attribute__((destructor)) static void go(void)
{
    own = realloc(own, 9000);
    free(own);
}

/* @return a block of number % 3000 + 1 bytes, zero-terminated; the caller's */
char *plugin_text(unsigned number)
{
    const size_t length = number % 3000;
    char *text = calloc(1, length + 1);

    if (text != NULL && own != NULL)
        memcpy(text, own, length);
    return text;
}
