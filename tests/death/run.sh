#!/bin/sh
# run.sh DIR - every program here does one forbidden thing; its first line says
# which rule it dies by:
#
#     /* dies: module: the rule */
#
# It must abort, and what it prints must start with "panic: " and exactly that
# rule. DIR has the built programs. Last: every rule that the sources name where
# they check is one that a program dies by.
set -u
programs=$1
here=$(dirname "$0")
out=$(mktemp)
rules=$(mktemp)
trap 'rm -f "$out" "$rules"' EXIT

failed=0
total=0
report() { # report "ok"|"not ok" TEXT
	total=$((total + 1))
	echo "$1 $total - $2"
	[ "$1" = ok ] || failed=$((failed + 1))
}

for source in "$here"/*.c; do
	name=$(basename "$source" .c)
	rule=$(sed -n '1s,^/\* dies: \(.*\) \*/$,\1,p' "$source")
	echo "$rule" >>"$rules"
	"$programs/$name" >"$out" 2>&1
	status=$?
	if [ -n "$rule" ] && [ $status = 134 ] && [ "$(head -n 1 "$out")" = "panic: $rule" ]; then
		report ok "$name: $rule"
	else
		report "not ok" "$name: must die by \"$rule\"; exit status $status, printed:"
		sed 's/^/# /' "$out"
	fi
done

find "$here/../../src" -name '*.[ch]' ! -name check.h -exec cat {} + | tr '\n' ' ' |
	grep -oE '(LOAM_REQUIRE|LOAM_CHECK_IF|LOCK_CHECK)\([^;]*;' | grep -oE '"[a-z0-9]+: [^"]*"' |
	tr -d '"' | sort -u >"$out"
if grep -vxF -f "$rules" "$out" | sed 's/^/# no program dies by: /' | grep .; then
	report "not ok" "every rule has a program"
else
	report ok "every rule has a program"
fi
echo "1..$total"
[ $failed = 0 ]
