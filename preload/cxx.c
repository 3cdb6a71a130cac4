/*
 * cxx.c - operator new and delete of C++, by their names in the object files.
 *
 *     n: size_t   v: void *   S: align_val_t   N: const nothrow_t &
 *
 * When there is no memory the program's new_handler is called until it helps, throws, or
 * is no longer there; then the C++ library throws std::bad_alloc. A program without that
 * library cannot catch anything: it ends. Compiled with -fexceptions, so that what is
 * thrown passes through here.
 *
 * A nothrow form must catch what a handler throws, which C cannot: the C++ library's own
 * function does, by calling the throwing form, which is the one below.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>

#include "../src/internal/check.h"
#include "family.h"

#define CXX_NO_MEMORY "malloc: no memory for operator new, and no C++ library to throw bad_alloc"

/* std::nothrow_t is empty. */
typedef const void *cxx_nothrow;

void *_Znwm(size_t size);
void *_Znam(size_t size);
void *_ZnwmRKSt9nothrow_t(size_t size, cxx_nothrow tag);
void *_ZnamRKSt9nothrow_t(size_t size, cxx_nothrow tag);
void *_ZnwmSt11align_val_t(size_t size, size_t align);
void *_ZnamSt11align_val_t(size_t size, size_t align);
void *_ZnwmSt11align_val_tRKSt9nothrow_t(size_t size, size_t align, cxx_nothrow tag);
void *_ZnamSt11align_val_tRKSt9nothrow_t(size_t size, size_t align, cxx_nothrow tag);
void _ZdlPv(void *block);
void _ZdaPv(void *block);
void _ZdlPvm(void *block, size_t size);
void _ZdaPvm(void *block, size_t size);
void _ZdlPvRKSt9nothrow_t(void *block, cxx_nothrow tag);
void _ZdaPvRKSt9nothrow_t(void *block, cxx_nothrow tag);
void _ZdlPvSt11align_val_t(void *block, size_t align);
void _ZdaPvSt11align_val_t(void *block, size_t align);
void _ZdlPvmSt11align_val_t(void *block, size_t size, size_t align);
void _ZdaPvmSt11align_val_t(void *block, size_t size, size_t align);
void _ZdlPvSt11align_val_tRKSt9nothrow_t(void *block, size_t align, cxx_nothrow tag);
void _ZdaPvSt11align_val_tRKSt9nothrow_t(void *block, size_t align, cxx_nothrow tag);

/* std::get_new_handler(), std::__throw_bad_alloc() */
typedef void cxx_handler(void);
extern cxx_handler *_ZSt15get_new_handlerv(void) __attribute__((weak));
extern void _ZSt17__throw_bad_allocv(void) __attribute__((weak, noreturn));

/* ---- no memory ----------------------------------------------------------------- */

static bool cxx_is_valid(size_t align)
{
    return align != 0 && (align & (align - 1)) == 0;
}

/* Ask the handler and try again. Throws. */
static __attribute__((noinline)) void *cxx_new_slow(size_t align, size_t size)
{
    void *block = NULL;

    while (block == NULL) {
        cxx_handler *const handler =
            _ZSt15get_new_handlerv != NULL ? _ZSt15get_new_handlerv() : NULL;
        if (handler == NULL || !cxx_is_valid(align)) {
            if (_ZSt17__throw_bad_allocv != NULL)
                _ZSt17__throw_bad_allocv();
            LOAM_REQUIRE(false, CXX_NO_MEMORY, size, align);
        }
        handler();
        block = preload_alloc_aligned(align, size);
    }
    return block;
}

static bool cxx_has_handler(void)
{
    return _ZSt15get_new_handlerv != NULL && _ZSt15get_new_handlerv() != NULL;
}

/* Call the C++ library's own function. */
static __attribute__((noinline)) void *cxx_nothrow_slow(const char *name, size_t size,
                                                        cxx_nothrow tag)
{
    void *(*next)(size_t, cxx_nothrow) = NULL;
    void *const found = cxx_has_handler() ? dlsym(RTLD_NEXT, name) : NULL;

    __builtin_memcpy(&next, &found, sizeof(next)); /* C knows no conversion */
    return next != NULL ? next(size, tag) : NULL;
}

static __attribute__((noinline)) void *cxx_aligned_nothrow_slow(const char *name, size_t size,
                                                                size_t align, cxx_nothrow tag)
{
    void *(*next)(size_t, size_t, cxx_nothrow) = NULL;
    void *const found = cxx_is_valid(align) && cxx_has_handler() ? dlsym(RTLD_NEXT, name) : NULL;

    __builtin_memcpy(&next, &found, sizeof(next));
    return next != NULL ? next(size, align, tag) : NULL;
}

/* ---- new ----------------------------------------------------------------------- */

static inline void *cxx_new(size_t size)
{
    void *const block = preload_alloc(size);
    return HEAP_LIKELY(block != NULL) ? block : cxx_new_slow(1, size);
}

static inline void *cxx_new_aligned(size_t size, size_t align)
{
    void *const block = cxx_is_valid(align) ? preload_alloc_aligned(align, size) : NULL;
    return HEAP_LIKELY(block != NULL) ? block : cxx_new_slow(align, size);
}

PRELOAD_EXPORT void *_Znwm(size_t size)
{
    return cxx_new(size);
}

PRELOAD_EXPORT void *_Znam(size_t size)
{
    return cxx_new(size);
}

PRELOAD_EXPORT void *_ZnwmRKSt9nothrow_t(size_t size, cxx_nothrow tag)
{
    void *const block = preload_alloc(size);
    return HEAP_LIKELY(block != NULL) ? block : cxx_nothrow_slow("_ZnwmRKSt9nothrow_t", size, tag);
}

PRELOAD_EXPORT void *_ZnamRKSt9nothrow_t(size_t size, cxx_nothrow tag)
{
    void *const block = preload_alloc(size);
    return HEAP_LIKELY(block != NULL) ? block : cxx_nothrow_slow("_ZnamRKSt9nothrow_t", size, tag);
}

PRELOAD_EXPORT void *_ZnwmSt11align_val_t(size_t size, size_t align)
{
    return cxx_new_aligned(size, align);
}

PRELOAD_EXPORT void *_ZnamSt11align_val_t(size_t size, size_t align)
{
    return cxx_new_aligned(size, align);
}

PRELOAD_EXPORT void *_ZnwmSt11align_val_tRKSt9nothrow_t(size_t size, size_t align, cxx_nothrow tag)
{
    void *const block = cxx_is_valid(align) ? preload_alloc_aligned(align, size) : NULL;
    return HEAP_LIKELY(block != NULL)
               ? block
               : cxx_aligned_nothrow_slow("_ZnwmSt11align_val_tRKSt9nothrow_t", size, align, tag);
}

PRELOAD_EXPORT void *_ZnamSt11align_val_tRKSt9nothrow_t(size_t size, size_t align, cxx_nothrow tag)
{
    void *const block = cxx_is_valid(align) ? preload_alloc_aligned(align, size) : NULL;
    return HEAP_LIKELY(block != NULL)
               ? block
               : cxx_aligned_nothrow_slow("_ZnamSt11align_val_tRKSt9nothrow_t", size, align, tag);
}

/* ---- delete -------------------------------------------------------------------- */

PRELOAD_EXPORT void _ZdlPv(void *block)
{
    preload_free(block);
}

PRELOAD_EXPORT void _ZdaPv(void *block)
{
    preload_free(block);
}

PRELOAD_EXPORT void _ZdlPvm(void *block, size_t size)
{
    preload_free_sized(block, size);
}

PRELOAD_EXPORT void _ZdaPvm(void *block, size_t size)
{
    preload_free_sized(block, size);
}

PRELOAD_EXPORT void _ZdlPvRKSt9nothrow_t(void *block, cxx_nothrow tag)
{
    (void)tag;
    preload_free(block);
}

PRELOAD_EXPORT void _ZdaPvRKSt9nothrow_t(void *block, cxx_nothrow tag)
{
    (void)tag;
    preload_free(block);
}

PRELOAD_EXPORT void _ZdlPvSt11align_val_t(void *block, size_t align)
{
    (void)align;
    preload_free(block);
}

PRELOAD_EXPORT void _ZdaPvSt11align_val_t(void *block, size_t align)
{
    (void)align;
    preload_free(block);
}

PRELOAD_EXPORT void _ZdlPvmSt11align_val_t(void *block, size_t size, size_t align)
{
    preload_free_sized_slow(block, cxx_is_valid(align) ? align : 1, size);
}

PRELOAD_EXPORT void _ZdaPvmSt11align_val_t(void *block, size_t size, size_t align)
{
    preload_free_sized_slow(block, cxx_is_valid(align) ? align : 1, size);
}

PRELOAD_EXPORT void _ZdlPvSt11align_val_tRKSt9nothrow_t(void *block, size_t align, cxx_nothrow tag)
{
    (void)align, (void)tag;
    preload_free(block);
}

PRELOAD_EXPORT void _ZdaPvSt11align_val_tRKSt9nothrow_t(void *block, size_t align, cxx_nothrow tag)
{
    (void)align, (void)tag;
    preload_free(block);
}
