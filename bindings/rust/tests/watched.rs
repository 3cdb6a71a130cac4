//! `Arena` as the global allocator, with every block watched.
mod common;

use loam::{Arena, Memory};

static MEMORY: Memory<{ 64 << 20 }> = Memory::new();

#[global_allocator]
static HEAP: Arena = Arena::watched(&MEMORY);

as_global_allocator!(HEAP);
