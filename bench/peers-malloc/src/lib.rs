//! Nothing but the C library that the one wanted crate brings: it ends up in
//! `libpeers_malloc.a`, from which `bench/bench.mk` links a library to preload.

#[cfg(feature = "hardened")]
extern crate hardened_malloc_sys as _;
#[cfg(feature = "mimalloc3")]
extern crate libmimalloc_sys as _;
#[cfg(feature = "rpmalloc")]
extern crate rpmalloc_sys as _;
#[cfg(feature = "snmalloc")]
extern crate snmalloc_sys as _;
