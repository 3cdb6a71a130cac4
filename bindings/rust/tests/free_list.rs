//! `FreeList` as the global allocator.
mod common;

use loam::{FreeList, Memory};

static MEMORY: Memory<{ 64 << 20 }> = Memory::new();

#[global_allocator]
static HEAP: FreeList = FreeList::over(&MEMORY);

as_global_allocator!(HEAP);
