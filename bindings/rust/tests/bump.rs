//! `Bump` as the global allocator. It gives little back, so it has much.
mod common;

use loam::{Bump, Memory};

static MEMORY: Memory<{ 512 << 20 }> = Memory::new();

#[global_allocator]
static HEAP: Bump = Bump::over(&MEMORY);

as_global_allocator!(HEAP);
