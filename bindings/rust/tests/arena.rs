//! `Arena` as the global allocator.
mod common;

use loam::{Arena, Memory};

static MEMORY: Memory<{ 64 << 20 }> = Memory::new();

#[global_allocator]
static HEAP: Arena = Arena::over(&MEMORY);

as_global_allocator!(HEAP);
