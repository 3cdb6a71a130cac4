//! `Block` as the global allocator.
mod common;

use loam::{Block, Memory};

static MEMORY: Memory<{ 64 << 20 }> = Memory::new();

#[global_allocator]
static HEAP: Block = Block::over(&MEMORY);

as_global_allocator!(HEAP);
