//! Compiles `loam_all.c`, the whole library as one translation unit, as a kernel would
//! (`target_os` "none") or as a hosted program; and lets the C compiler confirm what
//! src/layout.rs says about its structs.
use std::{env, fmt::Write, fs, path::PathBuf};

#[allow(dead_code)]
mod layout {
    include!("src/layout.rs");
}

/// A C file: the library, and an assertion for each number this crate relies on.
fn source() -> String {
    let mut text = String::from("#include \"loam_all.c\"\n");
    for (fact, value) in layout::FACTS {
        writeln!(
            text,
            "LOAM_STATIC_ASSERT(({fact}) == {value}, \"layout.rs: {fact}\");"
        )
        .unwrap();
    }
    for (name, words) in layout::ROOM {
        writeln!(
            text,
            "LOAM_STATIC_ASSERT(sizeof({name}) <= 8 * {words}, \"layout.rs: room for {name}\");\n\
             LOAM_STATIC_ASSERT(_Alignof({name}) <= 16, \"layout.rs: alignment of {name}\");"
        )
        .unwrap();
    }
    text
}

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("../..");
    let file = PathBuf::from(env::var_os("OUT_DIR").unwrap()).join("loam.c");
    fs::write(&file, source()).unwrap();

    let mut build = cc::Build::new();
    build
        .file(&file)
        .include(&root)
        .include(root.join("include"));
    build
        .flag("-std=gnu11")
        .flag("-ffreestanding")
        .opt_level(2)
        .pic(true)
        .warnings(true);
    if env::var("CARGO_CFG_TARGET_OS").unwrap() == "none" {
        build
            .flag("-fno-stack-protector")
            .flag("-mno-red-zone")
            .flag("-mgeneral-regs-only");
    }
    build.compile("loam");

    for path in ["loam_all.c", "src", "include"] {
        println!("cargo:rerun-if-changed={}", root.join(path).display());
    }
    for path in ["build.rs", "src/layout.rs"] {
        println!("cargo:rerun-if-changed={path}");
    }
}
