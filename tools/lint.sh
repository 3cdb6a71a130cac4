#!/bin/sh
# lint.sh - every static gate. Prints nothing when all is well, else everything
# that failed, and exits with 1.
#
#     tools/lint.sh [--tap] [GROUP...]    default: all groups; --tap: a line per check
#
# A gate is a shell command that must succeed. First all are listed, then run,
# JOBS at a time.
set -eu
cd "$(dirname "$0")/.."

# lint.sh --gate NAME<TAB>COMMAND: run one of them (below, through xargs).
if [ "${1-}" = --gate ]; then
	tab=$(printf '\t')
	name=${2%%"$tab"*}
	if output=$(sh -c "${2#*"$tab"}" 2>&1); then
		[ "$LINT_TAP" = 0 ] || echo "ok - $name"
		exit 0
	fi
	if [ "$LINT_TAP" = 0 ]; then
		printf 'lint: %s\n%s\n' "$name" "$output"
	else
		printf 'not ok - %s\n%s\n' "$name" "$(printf '%s' "$output" | sed 's/^/# /')"
	fi
	exit 1
fi

LINT_TAP=0
if [ "${1-}" = --tap ]; then
	LINT_TAP=1
	shift
fi
export LINT_TAP
GROUPS_WANTED=${*:-sources objects headers embed config tests kernel analyzer tidy format text}
JOBS=${JOBS:-$(nproc 2>/dev/null || echo 2)}

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
gates=$tmp/gates
: >"$gates"

gate() { # gate NAME COMMAND
	printf '%s\t%s\n' "$1" "$2" >>"$gates"
}

# ---- flags -------------------------------------------------------------------

COMMON='-std=c11 -Iinclude -O2 -Wall -Wextra -Wpedantic -Werror -Wconversion -Wsign-conversion
 -Wshadow -Wundef -Wcast-qual -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes
 -Wold-style-definition -Wvla -Wformat=2 -Wwrite-strings -Wimplicit-fallthrough
 -Wnull-dereference'
GCC='-Wcast-align=strict -Wlogical-op -Wduplicated-cond -Wduplicated-branches -Wtrampolines -Walloca'
CLANG='-Wcast-align -Wunreachable-code -Wcomma -Wassign-enum -Wconditional-uninitialized
 -Wmissing-variable-declarations -Wextra-semi-stmt -Wthread-safety -Wdocumentation'
STACK='-Wframe-larger-than=1024'
FREESTANDING='-ffreestanding -fno-stack-protector -mno-red-zone -mgeneral-regs-only'
KERNEL="$FREESTANDING -fno-pic -mcmodel=kernel -fno-omit-frame-pointer"

# Newlines out: a gate is one line.
one_line() {
	printf '%s' "$*" | tr -s '\n ' '  '
}
COMMON=$(one_line "$COMMON")
gcc_library="gcc $COMMON $(one_line "$GCC") $STACK -Wstack-usage=1024"
clang_library="clang $COMMON $(one_line "$CLANG") $STACK"
gcc_tests="gcc $COMMON $(one_line "$GCC")"
clang_tests="clang $COMMON $(one_line "$CLANG") -Wno-thread-safety"

# ---- groups ------------------------------------------------------------------

# Every source by itself, and all as one: both compilers, kernel and hosted.
list_sources() {
	for source in src/*.c loam_all.c; do
		for level in 0 1 2; do
			define="-DLOAM_CHECK=$level -c $source -o /dev/null"
			gate "$source, gcc, kernel, check $level" "$gcc_library $KERNEL $define"
			gate "$source, gcc, hosted, check $level" "$gcc_library $define"
			gate "$source, clang, kernel, check $level" "$clang_library $KERNEL $define"
			gate "$source, clang, hosted, check $level" "$clang_library $define"
		done
	done
}

# What the library asks of whoever links it, and the data it brings: nothing
# but the port and four functions; no writable data.
list_objects() {
	for compiler in gcc clang; do
		for optimisation in -O0 -O2 -Os; do
			for level in 0 1 2; do
				object="$tmp/$compiler$optimisation-$level.o"
				gate "object, $compiler $optimisation, check $level" \
					"$compiler -std=c11 -Iinclude $KERNEL $optimisation -DLOAM_CHECK=$level -c loam_all.c -o $object && tools/lint_object.sh $object"
			done
		done
		gate "object, $compiler -fPIE" \
			"$compiler -std=c11 -Iinclude -Wall -Wextra -Werror $FREESTANDING -fPIE -O2 -c loam_all.c -o $tmp/$compiler-pie.o"
	done
}

# Each public header alone, and twice.
list_headers() {
	for header in include/loam/*.h include/loam/boot/*.h; do
		name=${header#include/}
		file=$tmp/$(echo "$name" | tr / _).c
		printf '#include <%s>\n#include <%s>\nextern int not_empty;\n' "$name" "$name" >"$file"
		for compiler in "gcc -std=c11 -xc" "clang -std=c11 -xc" "g++ -std=c++11 -xc++" \
			"clang++ -std=c++11 -xc++" "g++ -std=c++20 -xc++" "clang++ -std=c++20 -xc++"; do
			gate "<$name>, ${compiler% -x*}" \
				"$compiler -Iinclude -Wall -Wextra -Wpedantic -Werror -Wconversion -Wshadow -Wundef -ffreestanding -fsyntax-only $file"
		done
	done
}

# What the library goes through in other people's builds.
list_embed() {
	# Padding and declarations in the middle are the library's style; C++98 is not its language.
	everything='-Weverything -Werror -Wno-padded -Wno-declaration-after-statement -Wno-c++98-compat'
	for source in src/*.c loam_all.c; do
		gate "$source under clang's every warning" \
			"clang -std=c11 -Iinclude $KERNEL -O2 $everything -c $source -o /dev/null"
	done
	for compiler in gcc clang; do
		for flags in -std=gnu11 -std=c99 -std=gnu99 -std=gnu17 -std=gnu2x "-std=gnu11 -O0" \
			"-std=gnu11 -O3" "-std=gnu11 -Os" "-std=gnu11 -flto" "-std=gnu11 -nostdinc -isystem $($compiler -print-file-name=include)" \
			"-std=gnu11 -mno-sse -mno-mmx -mno-80387" "-std=gnu11 -fsanitize=undefined" \
			"-std=gnu11 -fshort-enums" "-std=gnu11 -funsigned-char" "-std=gnu11 -g3"; do
			gate "loam_all.c, $compiler $flags" \
				"$compiler $flags -Iinclude $KERNEL -Wall -Wextra -Werror -c loam_all.c -o /dev/null"
		done
	done
}

# Each value of each option builds; any other stops the build with a sentence.
list_config() {
	for define in LOAM_CPUS_MAX=1 LOAM_CPUS_MAX=64 LOAM_CPUS_MAX=1024 LOAM_CHECK=0 LOAM_CHECK=1 \
		LOAM_CHECK=2 LOAM_X86_SIM=0 LOAM_X86_SIM=1 LOAM_TEST_HOOKS=0 LOAM_TEST_HOOKS=1 \
		LOAM_HEAP_DEFAULT=LOAM_ALLOCATOR_BUMP LOAM_HEAP_DEFAULT=LOAM_ALLOCATOR_FREELIST \
		LOAM_HEAP_DEFAULT=LOAM_ALLOCATOR_BLOCK LOAM_HEAP_DEFAULT=LOAM_ALLOCATOR_ARENA \
		LOAM_HEAP_DEFAULT=LOAM_ALLOCATOR_HEAP LOAM_GUARD=LOAM_GUARD_IRQ LOAM_GUARD=LOAM_GUARD_NONE; do
		gate "config $define" "$gcc_library $KERNEL -D$define -c loam_all.c -o /dev/null"
	done
	for define in LOAM_CPUS_MAX=0 LOAM_CPUS_MAX=1025 LOAM_CHECK=3 LOAM_CHECK=-1 LOAM_X86_SIM=2 LOAM_PORT_CPU_INLINE=2 \
		LOAM_TEST_HOOKS=2 LOAM_GUARD=3 LOAM_PAGEMAP_FLAT=2; do
		gate "config $define is refused" \
			"gcc -Iinclude -D$define -fsyntax-only loam_all.c 2>&1 | grep -q '#error \"${define%=*} must be'"
	done
	for value in LOAM_ALLOCATOR_NONE LOAM_ALLOCATOR_FREELIST_SIZED 7; do
		gate "config LOAM_HEAP_DEFAULT=$value is refused" \
			"gcc -Iinclude -DLOAM_HEAP_DEFAULT=$value -fsyntax-only loam_all.c 2>&1 | grep -q 'LOAM_HEAP_DEFAULT must be'"
	done
	printf '#define LOAM_PORT_CPU_INLINE 1\nstatic inline unsigned loam_port_cpu(void) { return 0; }\n' \
		>"$tmp/inline_config.h"
	gate "config LOAM_PORT_CPU_INLINE=1" \
		"$gcc_library $KERNEL -I$tmp '-DLOAM_CONFIG_HEADER=\"inline_config.h\"' -c loam_all.c -o /dev/null"
	printf '#define LOAM_GUARD LOAM_GUARD_PORT\n#include <stdint.h>\nstatic inline uint64_t loam_port_guard_enter(void) { return 0; }\nstatic inline void loam_port_guard_leave(uint64_t entered) { (void)entered; }\n' \
		>"$tmp/guard_config.h"
	gate "config LOAM_GUARD=LOAM_GUARD_PORT" \
		"$gcc_library $KERNEL -I$tmp '-DLOAM_CONFIG_HEADER=\"guard_config.h\"' -c loam_all.c -o /dev/null"
	printf '#define LOAM_CPUS_MAX 0\n' >"$tmp/own_config.h"
	gate "config header is read" \
		"gcc -Iinclude -I$tmp '-DLOAM_CONFIG_HEADER=\"own_config.h\"' -fsyntax-only loam_all.c 2>&1 | grep -q '#error \"LOAM_CPUS_MAX must be'"
}

list_tests() {
	host='-D_GNU_SOURCE -Itests -I. -DLOAM_X86_SIM=1 -DLOAM_TEST_HOOKS=1 -DLOAM_CHECK=2'
	for source in tests/*.c tests/death/*.c fuzz/*.c; do
		if [ -e "$source" ]; then
			gate "$source, gcc" "$gcc_tests $host -c $source -o /dev/null"
			gate "$source, clang" "$clang_tests $host -c $source -o /dev/null"
		fi
	done
}

# Kernel, shim, tools and examples by their own makefiles, warnings as errors.
list_kernel() {
	for compiler in gcc clang; do
		gate "make lint-build CC=$compiler" \
			"make --no-print-directory CC='$compiler' BUILD=$tmp/build-$compiler WERROR=-Werror lint-build"
	done
}

list_analyzer() {
	for source in src/*.c; do
		gate "$source, gcc -fanalyzer" "gcc $COMMON -fanalyzer -DLOAM_CHECK=2 -c $source -o /dev/null"
	done
}

list_tidy() {
	for source in src/*.c; do
		gate "clang-tidy $source" "clang-tidy --quiet $source -- -std=c11 -Iinclude"
	done
}

list_format() {
	gate "clang-format" \
		"find . -path ./$(basename "${BUILD:-build}") -prune -o -name '*.[ch]' -print0 | xargs -0 clang-format -style=file --dry-run -Werror"
}

list_text() {
	gate layering "python3 tools/layering.py"
	gate limits "python3 tools/limits.py"
	gate documents "python3 tools/check_docs.py"
	gate shellcheck "find . -path ./$(basename "${BUILD:-build}") -prune -o -name '*.sh' -print0 | xargs -0 shellcheck .ci/run"
	gate python \
		"find . -name '*.py' -print0 | xargs -0 python3 -c 'import ast, sys; [ast.parse(open(f).read(), f) for f in sys.argv[1:]]'"
}

for group in $GROUPS_WANTED; do
	"list_$group"
done
xargs -d '\n' -n 1 -P "$JOBS" "$0" --gate <"$gates" || exit 1
