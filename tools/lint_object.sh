#!/bin/sh
# lint_object.sh OBJECT - the library as an object file needs no symbol but the
# port's and four functions that every freestanding compiler assumes, exports
# only its own names, and has no writable data.
set -eu

undefined=$(nm -u "$1" | awk '{ print $2 }' | grep -vE '^(loam_port_[a-z_]+|memcpy|memmove|memset|memcmp)$' || true)
exported=$(nm -g --defined-only "$1" | awk '{ print $3 }' | grep -v '^loam_' || true)
writable=$(nm "$1" | awk '$2 ~ /^[DdBbCGgSs]$/' || true)
if [ -n "$undefined$exported$writable" ]; then
	echo "undefined: $undefined"
	echo "exported: $exported"
	echo "writable: $writable"
	exit 1
fi
