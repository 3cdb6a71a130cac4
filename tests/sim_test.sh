#!/bin/sh
# sim_test.sh - loam-sim on every recorded memory map, against an independent
# reckoning in awk of who must own how many bytes; on synthetic servers up to 64 TiB;
# and on files it must reject.
#
#     tests/sim_test.sh [LOAM_SIM]
#
# SHARED_MEMMAPS names the folder with limine/ and e820/.
set -u
sim=${1:-build/loam-sim}
maps=${SHARED_MEMMAPS:-../shared/memmaps}
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
passed=0
failed=0

ok() {
    echo "ok $1"
    passed=$((passed + 1))
}

not_ok() {
    echo "not ok $1: $2"
    failed=$((failed + 1))
}

# expect NAME WANTED GOT
expect() {
    if [ "$2" = "$3" ]; then
        ok "$1"
    else
        not_ok "$1" "wanted '$2', got '$3'"
    fi
}

# ---- the reckoning ------------------------------------------------------------

# From a raw map: bytes per owner, page by page in effect. Usable memory shrinks to
# pages; its torn edges and frame 0 are reserved unless the map says more about them;
# everything else grows; of several types the one further down the list wins. All
# numbers stay below 2^53.
cat >"$work/reckon.awk" <<'AWK'
function hex(text,    i, value) {
    value = 0
    text = tolower(text)
    sub(/^0x/, "", text)
    for (i = 1; i <= length(text); i++)
        value = value * 16 + index("0123456789abcdef", substr(text, i, 1)) - 1
    return value
}
function floor(value) { return value - value % 4096 }
function ceil(value) { return floor(value + 4095) }
function add(start, end, type) {
    if (end > limit)
        end = limit
    if (start >= end)
        return
    from[n] = start
    to[n] = end
    rank[n] = type == "TORN" ? 0.5 : order[type]
    cut[cuts++] = start
    cut[cuts++] = end
    n++
}
function raw(base, size, type,    end) {
    end = base + size
    if (!(type in order))
        type = "RESERVED"
    if (size == 0)
        return
    if (type != "USABLE") {
        add(floor(base), ceil(end), type)
        return
    }
    if (base < 4096) { # all of frame 0 counts as torn off
        add(0, 4096, "TORN")
        base = 4096
    }
    add(ceil(base), floor(end), type)
    if (base % 4096 != 0)
        add(floor(base), ceil(base), "TORN")
    if (end % 4096 != 0)
        add(floor(end), ceil(end), "TORN")
}
BEGIN {
    count = split("USABLE BOOTLOADER_RECLAIMABLE ACPI_RECLAIMABLE EXECUTABLE_AND_MODULES " \
        "RESERVED_MAPPED ACPI_NVS RESERVED FRAMEBUFFER BAD", names, " ")
    for (i = 1; i <= count; i++)
        order[names[i]] = i
    order["ACPI_DATA"] = order["ACPI_RECLAIMABLE"]
    n = cuts = entries = 0
    cut[cuts++] = 4096 # what frames are counted by: frame 0, zones
    cut[cuts++] = 16777216
    cut[cuts++] = 4294967296
    limit = 2 ^ 46
    cpus = 4
    revision = 6
    covered = "USABLE BOOTLOADER_RECLAIMABLE EXECUTABLE_AND_MODULES FRAMEBUFFER"
    covered_too = " ACPI_RECLAIMABLE ACPI_NVS RESERVED_MAPPED"
}
$1 == "#" && $2 == "phys-bits" { limit = 2 ^ $3 }
$1 == "#" && $2 == "cpu-count" { cpus = $3 }
$1 == "#" && $2 == "base-revision-requested" { revision = hex(substr($NF, 3)) }
$1 == "#" && $2 == "hhdm" { hhdm = $3 }
$1 == "#" && $2 == "kernel-phys" { image = hex($3); has_image = 1 }
$1 == "#" && $2 == "kernel-image-size" { image_size = hex($3) }
$1 == "#" && $2 == "framebuffer" && $3 != "none" {
    # The low 32 bits: numbers of 64 bits do not fit. All recorded ones lie there.
    split($4, shape, "x")
    address = hex(substr($3, length($3) - 7)) - hex(substr(hhdm, length(hhdm) - 7))
    raw(address < 0 ? address + 2 ^ 32 : address, shape[2] * $6, "FRAMEBUFFER")
    entries++
}
/^[0-9a-f]/ {
    entries++
    raw(hex($1), hex($2), $3)
    if (!has_image && $3 == "USABLE" && ceil(hex($1)) >= 1048576 && \
        floor(hex($1) + hex($2)) - ceil(hex($1)) >= 65536 && !(lowest && lowest < ceil(hex($1))))
        lowest = ceil(hex($1))
}
END {
    if (has_image)
        raw(image, image_size, "EXECUTABLE_AND_MODULES")
    else if (lowest)
        raw(lowest, 65536, "EXECUTABLE_AND_MODULES")
    for (i = 1; i < cuts; i++) { # insertion sort
        value = cut[i]
        for (j = i; j > 0 && cut[j - 1] > value; j--)
            cut[j] = cut[j - 1]
        cut[j] = value
    }
    for (i = 0; i + 1 < cuts; i++) {
        best = 0
        for (j = 0; j < n; j++)
            if (from[j] <= cut[i] && cut[i] < to[j] && rank[j] > best)
                best = rank[j]
        if (best == 0.5)
            best = order["RESERVED"]
        if (best)
            bytes[best] += cut[i + 1] - cut[i]
        if ((best == order["USABLE"] || best == order["BOOTLOADER_RECLAIMABLE"]) && cut[i] > 0)
            frames[cut[i] < 16777216 ? 0 : cut[i] < 4294967296 ? 1 : 2] += \
                (cut[i + 1] - cut[i]) / 4096
        if (best == order["BOOTLOADER_RECLAIMABLE"] && cut[i] > 0)
            reclaimed += cut[i + 1] - cut[i]
    }
    printf "entries %d", entries
    for (i = 1; i <= count; i++) {
        printf " %s %.0f", names[i], bytes[i]
        sum += bytes[i]
    }
    printf " sum %.0f", sum
    if (revision >= 4 && revision <= 6)
        covered = covered covered_too
    count = split(covered, names, " ")
    for (i = 1; i <= count; i++)
        shown += bytes[order[names[i]]]
    printf " mapped %.0f in pages of %.0f cpus %d\n", shown, shown, cpus
    printf "frames %d %d %d reclaimed %.0f\n", frames[0], frames[1], frames[2], reclaimed
}
AWK

# The same line from loam-sim's own output; what was taken from usable memory counts
# as usable.
cat >"$work/read.awk" <<'AWK'
BEGIN {
    count = split("usable bootloader ACPI_tables executable firmware_tables ACPI_NVS reserved " \
        "framebuffer bad", owners, " ")
    split("USABLE BOOTLOADER_RECLAIMABLE ACPI_RECLAIMABLE EXECUTABLE_AND_MODULES " \
        "RESERVED_MAPPED ACPI_NVS RESERVED FRAMEBUFFER BAD", names, " ")
}
NR == 1 { entries = $(NF - 1) }
$1 == "direct" && $2 == "map:" { # N bytes (...): N pages of 1 GiB, N of 2 MiB, N of 4 KiB
    mapped = $3
    pages = $(NF - 12) * 2 ^ 30 + $(NF - 7) * 2 ^ 21 + $(NF - 3) * 4096
}
$1 == "CPUs" { cpus = $3 }
/^owner +intervals +in ranges/ { table = 1; next }
NF == 0 { table = 0 }
table && NF >= 7 {
    owner = $1
    for (i = 2; i <= NF - 6; i++)
        owner = owner "_" $i
    bytes[owner] = $(NF - 2)
}
/^  below 16 MiB: / { low = $6 }
/^  below 4 GiB: / { middle = $6 }
/^  the rest: / { high = $5 }
$1 == "reclaimed:" { reclaimed = $2 }
END {
    bytes["usable"] += bytes["page_tables"] + bytes["heap"] + bytes["library_metadata"]
    printf "entries %d", entries
    for (i = 1; i <= count; i++)
        printf " %s %.0f", names[i], bytes[owners[i]]
    printf " sum %.0f mapped %.0f in pages of %.0f cpus %d\n", bytes["sum"], mapped, pages, cpus
    printf "frames %d %d %d reclaimed %.0f\n", low, middle, high, reclaimed
}
AWK

# ---- recorded maps ------------------------------------------------------------

# giant_pages: of 1 GiB, in the last output
giant_pages() {
    awk '$1 == "direct" && $2 == "map:" { print $(NF - 12) }' "$work/out"
}

# check_map FILE: the verdict, and every number that can be reckoned
check_map() {
    name=${1##*/}
    "$sim" "$1" >"$work/out" 2>"$work/err"
    status=$?
    if [ "$name" = optane-persistent-type7-partial.e820 ]; then
        expect "$name is refused" "1 refused: loam: no usable memory (have 0, need 65536)" \
            "$status $(grep refused "$work/out")"
        return
    fi
    if [ $status -ne 0 ] || [ -s "$work/err" ]; then
        not_ok "$name is accepted" "status $status, $(grep refused "$work/out"; head -c 400 "$work/err")"
        return
    fi
    expect "$name: every owner's bytes, direct map, CPUs, frames" "$(awk -f "$work/reckon.awk" "$1")" \
        "$(awk -f "$work/read.awk" "$work/out")"
    expect "$name: metadata of frames, at most 36 KiB per GiB, 512 bytes per entry and a page" 1 "$(awk '
        NR == 1 { entries = $(NF - 1) }
        $1 == "metadata:" { bytes = $2; per_gib = $(NF - 3) }
        END { print (per_gib > 0 && bytes - 4096 - 512 * entries <= 36 * bytes / per_gib) }' \
        "$work/out")"
    if grep -q 'pdpe1gb 0' "$1"; then
        expect "$name: no pages of 1 GiB, the CPU has none" 0 "$(giant_pages)"
    fi
}

for folder in limine e820; do
    found=0
    for file in "$maps/$folder"/*.memmap "$maps/$folder"/*.e820; do
        [ -f "$file" ] || continue
        found=$((found + 1))
        check_map "$file"
    done
    [ $found -ge 20 ] || not_ok "recorded maps in $maps/$folder" "only $found; set SHARED_MEMMAPS"
done

# Whole aligned GiB of one type, counted by hand from the files.
"$sim" "$maps/limine/bios-q35-16G.memmap" >"$work/out"
expect "14 GiB above 4 GiB" 14 "$(giant_pages)"
"$sim" "$maps/e820/hpe-uv-16node-4tib.e820" >"$work/out"
expect "15 nodes of 252 GiB and one of 250" 4030 "$(giant_pages)"

# ---- synthetic servers ----------------------------------------------------------

# From the output: every figure that there is a bound for, a name and a number each.
cat >"$work/server.awk" <<'AWK'
function number(text) { sub(/^\(/, "", text); return text + 0 }
$1 == "direct" && $2 == "map:" { print "giant", $(NF - 12) }
$1 == "CPUs" && $2 == "entered:" { print "entered", $3 }
/^owner +intervals +in ranges/ { table = 1; next }
NF == 0 { table = 0 }
table && $1 ~ /^(usable|bootloader|executable|page|heap|library|ACPI)$/ { ram += $(NF - 2) }
$1 == "metadata:" { print "metadata", $2; print "kib_per_gib", $(NF - 3) }
$1 == "metadata" && $2 == "touched:" {
    at_first = number($7)
    sub(/.*in the end: [0-9]+ bytes /, "")
    print "touched_first", at_first
    print "touched", number($1)
}
$1 == "reclaimed:" { print "reclaimed", $2 }
$1 == "steady:" { print "rounds", $3 + 0; print "full", 100 * $5 / $7 }
$1 == "operations:" { print "operations", $2; print "refused", $6; print "remote", $8 }
$1 == "nodes:" { print "nodes_used", $(NF - 2) }
$1 == "zeroed" { print "beforehand", $5; print "zeroed", $7 }
$1 == "lanes" { print "drained", $3 }
$1 == "from" { print "requests", $5; print "frames", $10 }
$1 == "blocks" { print "broken", $7 - $5 } # blocks of 2 MiB in which something small lies
$1 == "given" && $3 == "nothing" { print "blocks", $5 }
$1 == "host" { print "host", $3 }
END { printf "ram %.0f\n", ram }
AWK

# bound NAME FIGURE TEST BOUND: of the server last run
bound() {
    value=$(awk -v name="$2" '$1 == name { print $2 }' "$work/figures")
    if [ -n "$value" ] && awk "BEGIN { exit !($value $3 $4) }"; then
        ok "$1"
    else
        not_ok "$1" "$2 is '$value', wanted $3 $4"
    fi
}

# check_server NODES GIB CPUS: what is the same for all of them
check_server() {
    name="server of $1 x $2 GiB with $3 CPUs"
    "$sim" --steps=1000 --server="$1,$2,$3" >"$work/out" 2>"$work/err"
    status=$?
    if [ $status -ne 0 ] || grep -v '^loam-sim: [0-9]* s, ' "$work/err" >"$work/unasked"; then
        not_ok "$name runs" "status $status, $(tail -n 5 "$work/err" | head -c 400)"
        return
    fi
    ok "$name runs"
    awk -f "$work/server.awk" "$work/out" >"$work/figures"
    # In KiB: each node less the hole at its end; the first GiB less the firmware's part,
    # most of its first MiB and frame 0.
    hole=$((17 * 1024 + 12))
    low=$((632 + 1023 * 1024 - 12 * 1024))
    bound "$name: every byte has an owner" ram == \
        "$((low + $1 * ($2 * 1024 * 1024 - hole) - 1024 * 1024))*1024"
    bound "$name: 1 GiB pages, but for holes" giant == $(($1 * ($2 - 1) - 1))
    bound "$name: all CPUs enter" entered == "$3"
    bound "$name: metadata is at most 36 KiB per GiB" kib_per_gib '<=' 36
    bound "$name: metadata is not less than what it must hold" kib_per_gib '>' 32
    bound "$name: the bootloader's memory joins" reclaimed == $((64 << 20))
    bound "$name: it becomes steady" rounds '>=' 3
    bound "$name: at half of the slots" full '>' 45
    bound "$name: at half of the slots, no more" full '<' 60
    bound "$name: all CPUs were at work" operations '>' "900*$3"
    bound "$name: nothing is refused" refused == 0
    bound "$name: CPUs give back what others took" remote '>' "10*$3"
    bound "$name: frames come from the own node" frames '>=' 95
    bound "$name: requests are served by the own node" requests '>=' 99
    bound "$name: CPUs are spread" nodes_used == "$1"
    bound "$name: some are zeroed" zeroed '>' "20*$3"
    bound "$name: half of them by idle CPUs" beforehand '>' "0.5*$(awk '$1 == "zeroed" { print $2 }' "$work/figures")"
    bound "$name: no lane is drained, memory is ample" drained == 0
    bound "$name: metadata is touched at all" touched '>' 0
    bound "$name: few large blocks are broken" broken '<' "24*$3"
    bound "$name: in the end they are whole again" blocks '>' "$1*($2-2)*512"
    bound "$name: less than 2 GiB of host memory" host '<' $((2 << 30))
}

check_server 1 4 4
check_server 2 64 8
bound "two nodes: metadata is touched where it is used" touched '<=' 15
check_server 8 512 64
bound "4 TiB: metadata is touched where it is used" touched '<=' 3
check_server 16 4096 64
bound "64 TiB: bring-up touches its maps and little else" touched_first '<=' 0.5
bound "64 TiB: metadata is touched where it is used" touched '<=' 1
bound "64 TiB: metadata is what it is" metadata '>' $((2 << 30))
if grep -q '^loam-sim: 1 s, [a-z]' "$work/err"; then
    ok "64 TiB: progress is shown"
else
    not_ok "64 TiB: progress is shown" "$(head -c 400 "$work/err")"
fi

# ---- verdicts and errors --------------------------------------------------------

good="$work/good.map"
cat >"$good" <<'END'
0 9fc00 USABLE
9fc00 400 RESERVED
100000 2000000 USABLE
END

# run NAME STATUS OUT-PATTERN ERR-PATTERN ARGUMENT...: patterns as in grep -E; '' is
# for nothing at all
run() {
    name=$1 want=$2 out=$3 err=$4
    shift 4
    "$sim" "$@" >"$work/out" 2>"$work/err" </dev/null
    status=$?
    if [ $status -ne "$want" ]; then
        not_ok "$name" "status $status, wanted $want"
    elif [ -z "$out" ] && [ -s "$work/out" ] || ! grep -Eq -e "$out" "$work/out" && [ -n "$out" ]; then
        not_ok "$name" "no '$out' in the output: $(head -c 300 "$work/out")"
    elif [ -z "$err" ] && [ -s "$work/err" ] || ! grep -Eq -e "$err" "$work/err" && [ -n "$err" ]; then
        not_ok "$name" "no '$err' in the errors: $(head -c 300 "$work/err")"
    else
        ok "$name"
    fi
}

run "help" 0 '^usage: loam-sim' '' --help
run "no file is an error" 2 '' 'name at least one memory map; see loam-sim --help'
run "unknown option is an error" 2 '' 'unknown option --loud; see loam-sim --help' --loud "$good"
for shape in "" 2 2,64 2,64,8,1 2,64,x 2x64x8 -1,4,4 " 1,4,4" 0,4,4 65,4,4 1,0,4 16,4097,4 1,4,0 1,4,65; do
    run "server '$shape' is an error" 2 '' "^loam-sim: server $shape (is|has) not .*; see loam-sim --help" \
        "--server=$shape"
done
run "steps must be a number" 2 '' 'unknown option --steps=many; see loam-sim --help' --steps=many "$good"
run "server is one line, too" 0 '^1,2,2: ok, 15 entries, 4 repairs, .*, CPUs 2$' '' --quiet --server=1,2,2
expect "and no more" 1 "$(wc -l <"$work/out" | tr -d ' ')"
run "missing file is an error" 2 '' "^$work/none: .*open" "$work/none"
run "folder is an error" 2 '' "^$work: " "$work"
printf '0 1000 USABLE\n\n# comment\nnonsense here\n' >"$work/garbage"
run "garbage is an error with its line" 2 '' "^$work/garbage:4: .*see loam-sim --help" "$work/garbage"
: >"$work/empty"
run "empty file is an error" 2 '' "^$work/empty: " "$work/empty"
run "quiet is one line" 0 "^$good: ok, 3 entries, 4 repairs, 32\.4 MiB usable, direct map 32\.6 MiB, CPUs 4$" \
    '' --quiet "$good"
expect "quiet is no more than one line" 1 "$(wc -l <"$work/out" | tr -d ' ')"
printf '100000 1000000 RESERVED\n' >"$work/reserved"
run "no usable memory is refused" 1 '^refused: loam: no usable memory \(have 0, need 65536\)$' \
    '' "$work/reserved"
run "and in one line" 1 "^$work/reserved: refused: loam: no usable memory" '' --quiet "$work/reserved"
printf '100000 8000 USABLE\n' >"$work/tiny"
run "too little memory is refused" 1 '^refused: loam: too little contiguous memory' '' "$work/tiny"
{
    echo '# cpu-count 65 bsp-lapic 0 flags 0'
    cat "$good"
} >"$work/cpus"
run "more CPUs than configured are refused" 1 \
    '^refused: boot: CPU count is not in 1..LOAM_CPUS_MAX \(have 65, need 64\)$' '' "$work/cpus"
run "worst status wins: refused" 1 'refused' '' --quiet "$good" "$work/reserved" "$good"
run "worst status wins: unreadable" 2 'ok, 3 entries' "$work/none" --quiet "$work/none" "$work/reserved" "$good"
expect "every file is examined all the same" 2 "$(wc -l <"$work/out" | tr -d ' ')"

"$sim" "$good" | sed 1d >"$work/direct.out"
"$sim" - <"$good" | sed 1d >"$work/stdin.out"
expect "standard input gives what the file gives" "$(cat "$work/direct.out")" "$(cat "$work/stdin.out")"
cat >"$work/log" <<'END'
[    0.000000] Linux version 6.1.0
[    0.000000] BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable
[    0.000000] BIOS-e820: [mem 0x000000000009fc00-0x000000000009ffff] reserved
[    0.000000] BIOS-e820: [mem 0x0000000000100000-0x00000000020fffff] usable
END
"$sim" "$work/log" | sed 1d >"$work/log.out"
expect "dmesg gives what the file gives" "$(cat "$work/direct.out")" "$(cat "$work/log.out")"

# Repairs: one of each that a map can ask for, by range and reason.
cat >"$work/repairs" <<'END'
0 9fc00 USABLE
9fc00 400 RESERVED
100000 2000000 USABLE
200000 0 USABLE
300000 1000 BAD
2100000 1800 RESERVED
3000000 1000 TYPE_9
fffffffffffff000 2000 RESERVED
END
run "repair: empty" 0 '^  0x0000000000200000-.* 0 B  has no length: dropped$' '' "$work/repairs"
for want in \
    '0x0000000000000000-0x0000000000000fff .* frame 0 was usable: reserved' \
    '0x0000000000000000-0x000000000009fbff .* usable, not on page boundaries: shrunk' \
    '0x0000000000300000-0x0000000000300fff .* several types: the most restrictive one won' \
    '0x0000000002100000-0x00000000021017ff .* not usable, not on page boundaries: grown' \
    '0x0000000003000000-0x0000000003000fff .* type unknown: taken as reserved' \
    '0xfffffffffffff000-0x0000000000000fff .* passes the end of the address space: clipped' \
    '0xfffffffffffff000-0xffffffffffffffff .* above what the CPU can address: clipped or dropped'; do
    if grep -Eq "$want" "$work/out"; then
        ok "repair: $want"
    else
        not_ok "repair: $want" "not in: $(sed -n '/^repairs/,/^$/p' "$work/out")"
    fi
done
printf '# phys-bits 50 virt-bits 57\n100000 2000000 USABLE\n800000000000 1000000 USABLE\n' >"$work/high"
run "repair: unreachable" 0 \
    '^  0x0000800000000000-0x0000800000ffffff .* usable, above what the direct map can show: not used$' \
    '' "$work/high"
run "no repairs" 0 '^  none$' '' "$maps/limine/uefi-q35-2G-la57.memmap"

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
