#!/bin/sh
# deps.sh - install the programs that a make target needs, once.
#
#     tools/deps.sh TARGET     TARGET: run iso sim test preload deep rust lint fuzz bench bench-malloc figures
#
# What is present is left alone: with everything there this prints nothing and
# takes no time. Else the missing packages are installed through apt-get, with
# sudo unless root. Systems without apt get the list to install by hand.
# CC names the C compiler, as for make.
set -eu

missing='' # Debian packages
programs='' # the same, as anybody calls them

want() { # want PACKAGE PROGRAM: note what is missing
	missing="$missing $1"
	programs="$programs, $2"
}

need() { # need COMMAND PACKAGE
	command -v "$1" >/dev/null 2>&1 || want "$2" "$1"
}

need_file() { # need_file PACKAGE NAME FILE...: one of the files
	need_file_package=$1
	need_file_name=$2
	shift 2
	for file in "$@"; do
		if [ -e "$file" ]; then
			return
		fi
	done
	want "$need_file_package" "$need_file_name"
}

need_header() { # need_header HEADER PACKAGE
	printf '#include <%s>\n' "$1" | ${CC:-gcc} -E -x c -include stddef.h -include stdint.h \
		-include stdarg.h -include setjmp.h - >/dev/null 2>&1 || want "$2" "<$1>"
}

# The sanitizer and fuzzing run-times of clang are packaged by its version.
need_clang_runtime() {
	if ! command -v clang >/dev/null 2>&1; then
		want libclang-rt-14-dev "clang's sanitizer run-times"
		return
	fi
	if [ -e "$(clang -print-file-name=libclang_rt.fuzzer-x86_64.a)" ] ||
		[ -e "$(clang -print-runtime-dir)/libclang_rt.fuzzer-x86_64.a" ] ||
		[ -e "$(clang -print-runtime-dir)/libclang_rt.fuzzer.a" ]; then
		return
	fi
	major=$(clang -dumpversion | cut -d. -f1)
	want "libclang-rt-$major-dev" "clang's sanitizer run-times"
}

need_compiler() {
	compiler=${CC:-gcc}
	compiler=${compiler%% *}
	need "$compiler" "$(basename "$compiler")"
	need ld binutils
}

need_iso() {
	need grub-mkrescue grub-common
	need xorriso xorriso
	need mformat mtools
	need_file grub-pc-bin "GRUB for BIOS" /usr/lib/grub/i386-pc/boot.img
	need_file grub-efi-amd64-bin "GRUB for UEFI" /usr/lib/grub/x86_64-efi/moddep.lst
}

need_tests() {
	need qemu-system-x86_64 qemu-system-x86
	need python3 python3
	need g++ g++
	need clang clang
	need_clang_runtime
	need_file ovmf OVMF /usr/share/OVMF/OVMF_CODE.fd /usr/share/OVMF/OVMF_CODE_4M.fd \
		/usr/share/edk2/x64/OVMF_CODE.fd /usr/share/edk2/ovmf/OVMF_CODE.fd
	need_iso
	need_header stdio.h libc6-dev
	need_header cmocka.h libcmocka-dev
	need_cargo
	need_programs
}

# What runs under the preload library: tests/preload/workloads.py.
need_programs() {
	need git git
	need perl perl
	need sqlite3 sqlite3
	need redis-cli redis-tools
	need_file nginx-light nginx /usr/sbin/nginx
	need ab apache2-utils
	need xz xz-utils
	need jq jq
	need xmllint libxml2-utils
	need_file python3 "Debian's Python" /usr/bin/python3
	python=$(readlink -f /usr/bin/python3 || true)
	python=${python##*/} # python3.11
	need_file "lib${python:-python3.11}-testsuite" "Python's own tests" \
		"/usr/lib/${python:-python3.11}/test/test_list.py"
}

need_cargo() {
	if ! command -v cargo >/dev/null 2>&1 && [ ! -x "${HOME-}/.cargo/bin/cargo" ]; then
		want "cargo-web rustc-web" cargo # Debian 12's plain ones are too old for the peers
	fi
}

need_bench() {
	need python3 python3
	need_header stdio.h libc6-dev
	need valgrind valgrind
	# As bench/arena/report.py looks for it.
	has_matplotlib='import importlib.util as u, sys; sys.exit(not u.find_spec("matplotlib"))'
	python3 -c "$has_matplotlib" 2>/dev/null || /usr/bin/python3 -c "$has_matplotlib" 2>/dev/null ||
		want python3-matplotlib "Python's matplotlib"
	need_cargo
}

# The libraries beside Loam's, and the programs that run on all of them.
need_bench_malloc() {
	need_bench
	for library in libmimalloc.so.2.0:libmimalloc2.0 libjemalloc.so.2:libjemalloc2 \
		libtcmalloc_minimal.so.4:libtcmalloc-minimal4; do
		need_file "${library#*:}" "${library#*:}" /usr/lib/x86_64-linux-gnu/"${library%%:*}" \
			/usr/lib64/"${library%%:*}"
	done
	need g++ g++
	need cmake cmake
	need sqlite3 sqlite3
	need redis-server redis-server
	need redis-benchmark redis-tools
	need nginx nginx-light
	need ab apache2-utils
	need git git
	need perl perl
	need lua5.4 lua5.4
	need jq jq
	need xmllint libxml2-utils
	need_file python3 "the system's python3" /usr/bin/python3
}

need_compiler
case ${1-} in
run) need qemu-system-x86_64 qemu-system-x86 ;;
iso) need_iso ;;
sim)
	need_header stdio.h libc6-dev
	need_header cmocka.h libcmocka-dev
	;;
test) need_tests ;;
preload) need_header pthread.h libc6-dev ;;
rust) need_cargo ;;
bench) need_bench ;;
bench-malloc) need_bench_malloc ;;
figures)
	need qemu-system-x86_64 qemu-system-x86
	need_bench_malloc
	;;
deep) need spin spin ;;
fuzz)
	need clang clang
	need_clang_runtime
	;;
lint)
	need_tests
	need clang-format clang-format
	need clang-tidy clang-tidy
	need shellcheck shellcheck
	need nm binutils
	;;
*)
	echo "usage: tools/deps.sh run|iso|sim|test|preload|deep|rust|lint|fuzz|bench|bench-malloc|figures" >&2
	exit 2
	;;
esac

if [ -z "$missing" ]; then
	exit 0
fi
if [ "$(id -u)" = 0 ]; then
	as_root=''
elif command -v sudo >/dev/null 2>&1; then
	as_root=sudo
else
	as_root=none
fi
if ! command -v apt-get >/dev/null 2>&1 || [ "$as_root" = none ]; then
	echo "make $1 needs programs that are not installed: ${programs#, }" >&2
	echo "On Debian or Ubuntu, as root: apt-get install$missing" >&2
	exit 1
fi

echo "deps: make $1 needs ${programs#, }; installing:$missing"
# shellcheck disable=SC2086 # one word per package
apt_install() {
	$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
}
# A fresh system has no package lists; an old one has lists that name versions
# no longer there. Both are mended by an update.
if [ -z "$(find /var/lib/apt/lists -name '*_Packages*' 2>/dev/null | head -n 1)" ]; then
	$as_root apt-get update -q
	apt_install
else
	apt_install || {
		$as_root apt-get update -q
		apt_install
	}
fi
