#!/bin/sh
# run.sh - check a model of tests/models exhaustively with Spin.
#
#     tests/models/run.sh MODEL.pml [-DNAME=VALUE ...]
set -eu

model=$(realpath "$1")
shift
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
spin "$@" -a "$model" >/dev/null
${CC:-gcc} -O2 -w -DSAFETY -DCOLLAPSE -DMEMLIM=8000 -o pan pan.c
./pan -m1000000 >report || true
if ! grep -q "errors: 0" report ||
	grep -q -i "max search depth too small\|out of memory" report; then
	cat report
	[ ! -e "$(basename "$model").trail" ] || spin "$@" -t -p "$model" | tail -40
	echo "not ok - $(basename "$model" .pml) $*"
	exit 1
fi
sed -n 's/^ *\([0-9.e+]*\) states, stored.*/# \1 states/p' report
echo "ok - $(basename "$model" .pml) $*"
