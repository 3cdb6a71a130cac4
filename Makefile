# Makefile - what can be done here; `make help` lists it.
#
# How each part is built stands in its folder's .mk file. Those may add to
#   TEST_BUILDS  targets that the tests need
#   TEST_SUITES  words for tests/run.py: --suite NAME 'COMMAND'
#   FIGURES      commands that print `figure NAME VALUE TARGET met|short` lines
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules
.DELETE_ON_ERROR:
.SUFFIXES:

ifeq ($(origin CC),default)
CC := gcc
endif
BUILD ?= build
MEM ?= 512M
SMP ?= 2
QEMU_FLAGS ?=
LIMINE_DIR ?=
SECONDS ?= 60
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
# Recorded memory maps of real machines: beside this folder, or copies in it.
SHARED_MEMMAPS ?= $(firstword $(wildcard ../shared/memmaps tests/memmaps))
export CC SHARED_MEMMAPS

# One short line per step; V=1 shows the commands.
ifeq ($(V),1)
Q :=
say :=
else
Q := @
say = @printf '  %-7s %s\n' '$(1)' '$(2)'
endif
PARALLEL := +@$(MAKE) -s --no-print-directory -j$(JOBS)

include tests/tests.mk
include tests/preload/preload.mk
include boot/boot.mk
include kernel/kernel.mk
include boot/iso.mk
include tools/tools.mk
include examples/embed.mk
include bindings/rust/rust.mk
include preload/preload.mk
include bench/bench.mk
include bench/malloc.mk
include bench/figures.mk

.PHONY: help
help:
	@echo 'make run      boot the reference kernel in QEMU: a shell at a terminal, else the demos'
	@echo 'make test     build and run every test; ends with "N passed, N failed"'
	@echo 'make lint     every static check; prints nothing when all is well'
	@echo 'make loam-sim $(BUILD)/loam-sim, the doctor for recorded memory maps'
	@echo 'make iso      $(BUILD)/loam.iso, for BIOS and UEFI machines'
	@echo 'make preload  $(BUILD)/libloam.so, a malloc for any program: LD_PRELOAD=...'
	@echo 'make clean    remove $(BUILD)/'
	@echo
	@echo 'make test-quick      host unit tests only'
	@echo 'make fuzz            fuzz every input, SECONDS each'
	@echo 'make check-deep      the lock-free parts in every schedule and every state; minutes'
	@echo 'make mutants         are listed mutants noticed by the tests that should?'
	@echo 'make mutation-score  share of random mutants of src/ that the tests notice, in SECONDS'
	@echo 'make bench-arena     the heaps beside their peers, ten minutes; writes docs/bench-arena*'
	@echo 'make bench-usage     the interval map beside nodit and rangemap, three minutes; writes docs/bench-usage*'
	@echo 'make bench-frames    the frame allocator beside its peers, three minutes; writes docs/bench-frames*'
	@echo 'make bench-paging    page tables beside two crates and the store limit, one minute; writes docs/bench-paging*'
	@echo 'make bench-malloc    libloam.so beside other mallocs, fifteen minutes; writes docs/bench-malloc*'
	@echo 'make figures         run the benchmarks, write docs/figures.md'
	@echo
	@echo 'What a target needs and the system lacks is installed first (tools/deps.sh: apt-get).'
	@echo
	@echo 'Variables, make NAME=VALUE:'
	@echo 'CC          C compiler, gcc 12 or clang 14 or newer; now $(CC)'
	@echo 'BUILD       folder for everything built; now $(BUILD)'
	@echo 'MEM, SMP    memory and CPUs of the machine that `make run` starts; now $(MEM), $(SMP)'
	@echo 'HEAP        the kernel'"'"'s heap: bump, freelist, block or arena; now $(or $(HEAP),arena)'
	@echo 'QEMU_FLAGS  further options for it, for example "-accel kvm"'
	@echo 'LIMINE_DIR  Limine binaries: `make iso` uses them instead of GRUB, `make test` boots them too'
	@echo 'SECONDS     time for each fuzz target, and for mutation-score; now $(SECONDS)'
	@echo 'JOBS        programs built or run at the same time; now $(JOBS)'
	@echo 'V=1         show commands'

# ---- run ---------------------------------------------------------------------

KERNEL := $(BUILD)/kernel.elf

# The kernel ends QEMU through the debug-exit device, with status 33 when all is well.
QEMU := qemu-system-x86_64 -M q35 $(if $(findstring -accel,$(QEMU_FLAGS)),,-accel tcg) \
  -cpu max -m $(MEM) -smp $(SMP) -display none \
  -net none -no-reboot -device isa-debug-exit,iobase=0xf4,iosize=4 \
  -kernel $(SHIM) -initrd $(KERNEL)

.PHONY: run
run:
	@tools/deps.sh run
	$(PARALLEL) $(SHIM) $(KERNEL)
	@if [ -t 0 ] && [ -t 1 ]; then \
		echo "  QEMU    leave with Ctrl-A X"; \
		$(QEMU) -serial mon:stdio -append shell $(QEMU_FLAGS); \
	else \
		echo "  QEMU"; \
		timeout 300 $(QEMU) -monitor none -serial stdio $(QEMU_FLAGS) </dev/null; \
	fi; status=$$?; \
	case $$status in \
	33) ;; \
	0) [ -t 0 ] || { echo 'make run: QEMU ended before the kernel did' >&2; exit 1; } ;; \
	*) echo "make run: QEMU ended with status $$status; the kernel says 33 when all is well" >&2; \
		exit 1 ;; \
	esac

# ---- tests -------------------------------------------------------------------

.PHONY: test test-quick test-build
test:
	@tools/deps.sh test
	@python3 tests/run.py --jobs $(JOBS) --make test-build $(TEST_SUITES)

test-build: $(TEST_BUILDS)

test-quick:
	@tools/deps.sh test
	@python3 tests/run.py --jobs $(JOBS) --make '$(TEST_PROGRAMS)' $(UNIT_SUITES)

# What scripts and mutants boot.
.PHONY: boot-programs lint-build
boot-programs: $(SHIM) $(PROBES) $(KERNEL) $(BUILD)/embed.elf

# All that is not built by tools/lint.sh itself, with its warnings.
lint-build: boot-programs $(BUILD)/loam-sim

ifneq ($(LIMINE_DIR),)
TEST_SUITES += --suite boot/limine 'tests/limine_iso.py $(BUILD) $(LIMINE_DIR)'
endif

# ---- the rest ----------------------------------------------------------------

.PHONY: deps-iso lint clean
deps-iso:
	@tools/deps.sh iso

iso: | deps-iso

lint:
	@tools/deps.sh lint
	@BUILD=$(BUILD) JOBS=$(JOBS) tools/lint.sh

clean:
	rm -rf $(BUILD)

# For scripts: make -s print-VARIABLE
print-%:
	@echo '$($*)'
