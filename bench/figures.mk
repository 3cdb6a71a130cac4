# figures.mk - benchmarks. Each prints lines `figure NAME VALUE TARGET met|short`.
FIGURES += 'python3 bench/boot_time.py --shim $(SHIM) --kernel $(KERNEL)' \
  'python3 tests/mutate.py sample --jobs $(JOBS) --seconds $(SECONDS)'

.PHONY: figures
figures:
	@tools/deps.sh figures
	$(PARALLEL) $(SHIM) $(KERNEL) $(BENCH)
	@python3 bench/figures.py docs/figures.md $(FIGURES)
