#!/bin/sh
# run.sh PROGRAM SECONDS - fuzz for a while, from the inputs in fuzz/corpus/NAME/
# where there are some. New inputs are kept beside the program, so that the next
# run goes on from there; so is one that broke a rule.
set -u
program=$1
seconds=$2
here=$(dirname "$0")
name=$(basename "$program" _fuzz)
found=$program.corpus
out=$(mktemp)
trap 'rm -f "$out"' EXIT

mkdir -p "$found"
set -- "$found"
[ -d "$here/corpus/$name" ] && set -- "$found" "$here/corpus/$name"
seed=${SEED:-1}
if "$program" -seed="$seed" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 \
	-max_len=4096 -print_final_stats=1 -artifact_prefix="$found-" "$@" >"$out" 2>&1; then
	echo "ok - $name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$out") inputs, seed $seed"
else
	echo "not ok - $name: seed $seed"
	tail -n 60 "$out" | sed 's/^/# /'
	exit 1
fi
