# rust.mk - the Rust crate. cargo builds it, and compiles loam_all.c itself.
CARGO ?= $(firstword $(shell command -v cargo 2>/dev/null) $(wildcard $(HOME)/.cargo/bin/cargo) cargo)

TEST_SUITES += --suite rust 'CARGO=$(CARGO) tests/rust_test.sh $(BUILD)/rust'

.PHONY: test-rust
test-rust:
	@tools/deps.sh rust
	@CARGO=$(CARGO) tests/rust_test.sh $(BUILD)/rust
