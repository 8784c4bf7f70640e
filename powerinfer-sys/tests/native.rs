//! The native library, its header and the committed bindings agree.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::path::Path;
use std::{env, fs};

use object::read::archive::ArchiveFile;
use object::{Object as _, ObjectSymbol as _, SymbolScope};

#[path = "../build/bindings.rs"]
mod bindings;

const COMMITTED: &str = include_str!("../src/bindings.rs");

/// Skipping is an error where `POWERINFER_REQUIRE_LIBCLANG=1`, as in `scripts/test.sh`.
#[test]
fn committed_bindings_match_the_header() {
    if let Err(reason) = clang_sys::load() {
        let required = env::var_os("POWERINFER_REQUIRE_LIBCLANG");
        assert_ne!(required.as_deref(), Some(OsStr::new("1")), "libclang is required: {reason}");
        // Straight to the terminal: the test harness keeps what print macros say.
        writeln!(io::stderr(), "committed_bindings_match_the_header: skipped, {reason}").unwrap();
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fresh = bindings::generate(&root.join("vendor/powerinfer/include/powerinfer.h"));
    assert!(
        fresh == COMMITTED,
        "src/bindings.rs is not what the header says; `cargo build -p powerinfer-sys --features \
         bindgen` shows how to update it. First difference:\n{}",
        first_difference(&fresh, COMMITTED)
    );
}

#[test]
fn library_speaks_the_abi_of_the_header() {
    // SAFETY: the function takes nothing and may be called at any time from any thread.
    let version = unsafe { powerinfer_sys::pi_abi_version() };
    assert_eq!(version, powerinfer_sys::PI_ABI_VERSION, "library on the left, header on the right");
}

#[test]
fn library_exports_the_functions_of_the_header_and_nothing_else() {
    let bound = COMMITTED.lines().filter_map(|line| line.trim_start().strip_prefix("pub fn "));
    let bound: BTreeSet<_> =
        bound.filter_map(|line| line.split_once('(')).map(|(name, _)| name.to_owned()).collect();
    assert_eq!(exported_symbols(), bound, "left: exported by the library, right: in the bindings");
}

/// Strong symbols that a shared library around the static one would export. Weak ones are
/// instances of the standard library's templates, which its headers mark as visible.
fn exported_symbols() -> BTreeSet<String> {
    let file = Path::new(env!("OUT_DIR")).join("lib/libpowerinfer.a");
    let bytes = fs::read(&file).unwrap();
    let archive = ArchiveFile::parse(bytes.as_slice()).unwrap();
    let mut names = BTreeSet::new();
    for member in archive.members() {
        let data = member.unwrap().data(bytes.as_slice()).unwrap();
        let object = object::File::parse(data).unwrap();
        for symbol in object.symbols() {
            let is_exported = symbol.is_definition() && symbol.scope() == SymbolScope::Dynamic;
            if is_exported && !symbol.is_weak() {
                let name = symbol.name().unwrap();
                let underscored = object.format() == object::BinaryFormat::MachO;
                names.insert(name.strip_prefix('_').filter(|_| underscored).unwrap_or(name).into());
            }
        }
    }
    names
}

fn first_difference(fresh: &str, committed: &str) -> String {
    let pairs = fresh.lines().zip(committed.lines()).enumerate();
    let different = pairs.into_iter().find(|(_, (fresh, committed))| fresh != committed);
    different.map_or("one is longer".into(), |(i, (fresh, committed))| {
        format!("line {}\n  header:    {fresh}\n  committed: {committed}", i + 1)
    })
}
