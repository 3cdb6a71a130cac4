#!/bin/sh
# tsan.sh - run a program built with the thread sanitizer. Its shadow memory has
# fixed places, which kernels with much address space randomisation use for the
# program instead: so without randomisation, where that is permitted.
set -eu
if setarch -R true 2>/dev/null; then
	exec setarch -R "$@"
fi
exec "$@"
