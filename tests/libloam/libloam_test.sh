#!/bin/sh
# libloam_test.sh - the file libloam.so, and what only this malloc has.
#
#     tests/libloam/libloam_test.sh LIBRARY FOLDER     FOLDER: programs of tests/libloam/
set -u
library=$1
programs=$2
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT

# expect NAME WANTED GOT
expect() {
    if [ "$2" = "$3" ]; then
        echo "ok $1"
    else
        echo "not ok $1: wanted '$2', got '$3'"
    fi
}

# has NAME TEXT FILE: some line of the file
has() {
    if grep -q "$2" "$3"; then
        echo "ok $1"
    else
        echo "not ok $1: no '$2' in: $(head -c 300 "$3")"
    fi
}

# ---- the file -----------------------------------------------------------------------

cat >"$work/wanted" <<'NAMES'
_ZdaPv
_ZdaPvRKSt9nothrow_t
_ZdaPvSt11align_val_t
_ZdaPvSt11align_val_tRKSt9nothrow_t
_ZdaPvm
_ZdaPvmSt11align_val_t
_ZdlPv
_ZdlPvRKSt9nothrow_t
_ZdlPvSt11align_val_t
_ZdlPvSt11align_val_tRKSt9nothrow_t
_ZdlPvm
_ZdlPvmSt11align_val_t
_Znam
_ZnamRKSt9nothrow_t
_ZnamSt11align_val_t
_ZnamSt11align_val_tRKSt9nothrow_t
_Znwm
_ZnwmRKSt9nothrow_t
_ZnwmSt11align_val_t
_ZnwmSt11align_val_tRKSt9nothrow_t
aligned_alloc
calloc
cfree
free
free_aligned_sized
free_sized
mallinfo
mallinfo2
malloc
malloc_info
malloc_stats
malloc_trim
malloc_usable_size
mallopt
memalign
posix_memalign
pvalloc
realloc
reallocarray
valloc
NAMES
nm -D --defined-only "$library" | awk '{ print $NF }' | LC_ALL=C sort >"$work/got"
expect 'exports the malloc family and the operators of C++, and nothing else' '' \
    "$(diff "$work/wanted" "$work/got" | tr '\n' ' ')"
readelf -dW "$library" >"$work/dynamic"
expect 'needs the C library and nothing else' libc.so.6 \
    "$(sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' "$work/dynamic" | tr '\n' ' ' | sed 's/ $//')"
expect 'has no code that must be written to' 0 "$(grep -c TEXTREL "$work/dynamic")"
has 'resolves every name at the start' 'BIND_NOW' "$work/dynamic"
expect 'has no memory that is writable and executable' '' \
    "$(readelf -lW "$library" | awk '$1 == "LOAD" && /RWE/')"

# ---- what it does ---------------------------------------------------------------------

LD_PRELOAD=$library LOAM_MALLOC_STATS=1 /bin/true 2>"$work/stats"
has 'LOAM_MALLOC_STATS=1 prints figures at the end' '^loam: blocks of classes' "$work/stats"
LD_PRELOAD=$library /bin/true 2>"$work/silent"
expect 'prints nothing without it' '' "$(cat "$work/silent")"

LD_PRELOAD=$library "$programs/no_memory" 2>"$work/new"
expect 'operator new without memory and without C++ library aborts' 134 $?
has 'and says why' 'no C++ library to throw bad_alloc' "$work/new"

LD_PRELOAD=$library timeout 60 "$programs/many_threads" >"$work/threads" 2>&1
expect 'more threads than lists' 0 $?

LD_PRELOAD=$library timeout 120 "$programs/handler_fork" >"$work/fork" 2>&1
expect 'handlers that interrupt malloc may fork' '200 forks, 0 failed' "$(cat "$work/fork")"
