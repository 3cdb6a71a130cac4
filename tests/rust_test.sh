#!/bin/sh
# rust_test.sh - the Rust crate: its tests, with each heap as the global allocator,
# its documentation, and a program without std that brings its own hooks.
#
#     tests/rust_test.sh FOLDER     where cargo builds
#
# CARGO names cargo. What cargo needs is in the crates' Cargo.lock files.
set -u
folder=${1:-build/rust}
mkdir -p "$folder" || exit 2
CARGO_TARGET_DIR=$(cd "$folder" && pwd)
export CARGO_TARGET_DIR
cargo=${CARGO:-cargo}
command -v "$cargo" >/dev/null 2>&1 || cargo=$HOME/.cargo/bin/cargo
here=$(cd "$(dirname "$0")/../bindings/rust" && pwd)
out=$(mktemp) || exit 2
trap 'rm -f "$out"' EXIT
passed=0
failed=0

ok() {
    echo "ok - $1"
    passed=$((passed + 1))
}

not_ok() { # with what was printed
    echo "not ok - $1"
    sed 's/^/# /' "$out"
    failed=$((failed + 1))
}

# check NAME COMMAND...: it must succeed
check() {
    name=$1
    shift
    if "$@" >"$out" 2>&1; then ok "$name"; else not_ok "$name"; fi
}

# results NAME COMMAND...: each line "test ... ok" is a result
results() {
    name=$1
    shift
    "$@" >"$out" 2>&1
    status=$?
    count=$(grep -Ec '^test .* \.\.\. ok$' "$out")
    planned=$(sed -n 's/^running \([0-9]*\) tests\{0,1\}$/\1/p' "$out" | awk '{ n += $1 } END { print n + 0 }')
    sed -n "s/^test \(.*\) \.\.\. ok\$/ok - $name: \1/p" "$out"
    passed=$((passed + count))
    if [ $status -ne 0 ] || [ "$count" -eq 0 ] || [ "$count" -ne "$planned" ]; then
        not_ok "$name: status $status, $count of $planned passed"
    fi
}

cd "$here" || exit 2
if ! "$cargo" --version >"$out" 2>&1; then
    not_ok "cargo is there"
    exit 1
fi
check "crate builds without std" "$cargo" build --locked
check "tests build" "$cargo" test --locked --features host-hooks --no-run
for source in tests/*.rs; do
    name=$(basename "$source" .rs)
    results "$name" "$cargo" test --locked --features host-hooks --test "$name"
done
results "documentation" "$cargo" test --locked --features host-hooks --doc
cd freestanding || exit 2
check "program without std" "$cargo" run --locked
check "program without std, optimised" "$cargo" run --locked --release
cd ..
if "$cargo" fmt --version >/dev/null 2>&1; then
    check "format" "$cargo" fmt --check
    check "format of the program" "$cargo" fmt --check --manifest-path freestanding/Cargo.toml
fi
if "$cargo" clippy --version >/dev/null 2>&1; then
    check "clippy" "$cargo" clippy --locked --features host-hooks --all-targets -- -D warnings
fi
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
