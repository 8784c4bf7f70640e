//! The one recipe for `src/bindings.rs`, shared by the build script and the test of the bindings.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use bindgen::callbacks::{IntKind, ParseCallbacks};

/// Gives the constants of the header the type that its typedefs promise.
#[derive(Debug)]
struct TypedConstants;

impl ParseCallbacks for TypedConstants {
    fn int_macro(&self, name: &str, _value: i64) -> Option<IntKind> {
        let custom = |name| Some(IntKind::Custom { name, is_signed: false });
        match name.split('_').nth(1)? {
            "ERROR" => custom("pi_error_kind"),
            "META" => custom("pi_meta_type"),
            "STRATEGY" => custom("pi_strategy"),
            "LOG" => custom("pi_log_level"),
            "OUTPUT" => custom("pi_output"),
            _ => Some(IntKind::U32),
        }
    }
}

/// Generates the bindings of `header` into `fresh`; `Err` says how to update different `committed`
/// ones.
#[allow(dead_code, reason = "only the build script calls it")]
pub(crate) fn check(header: &Path, committed: &Path, fresh: &Path) -> Result<(), String> {
    let text = generate(header);
    fs::write(fresh, &text).map_err(|error| format!("{}: {error}", fresh.display()))?;
    if fs::read_to_string(committed).is_ok_and(|committed| committed == text) {
        return Ok(());
    }
    Err(format!(
        "the committed bindings differ from powerinfer.h; update them: `cp {} {}`",
        fresh.display(),
        committed.display()
    ))
}

/// The bindings of `header` as Rust source. Panics when libclang is missing or the header is wrong.
pub(crate) fn generate(header: &Path) -> String {
    let text = fs::read_to_string(header)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", header.display()));
    let bindings = bindgen::Builder::default()
        .header_contents("powerinfer.h", &text)
        .allowlist_item("(pi|PI)_.*")
        .clang_arg("-fparse-all-comments")
        .use_core()
        .derive_default(true)
        .layout_tests(true)
        .merge_extern_blocks(true)
        .default_enum_style(bindgen::EnumVariation::Consts)
        .formatter(bindgen::Formatter::Prettyplease)
        .rust_target(bindgen::RustTarget::stable(88, 0).expect("bindgen knows our minimum Rust"))
        .rust_edition(bindgen::RustEdition::Edition2024)
        .parse_callbacks(Box::new(TypedConstants))
        .disable_header_comment()
        .generate()
        .unwrap_or_else(|error| panic!("bindgen rejects {}: {error}", header.display()));
    let title = "// Generated from powerinfer.h by build/bindings.rs; do not edit.\n\n";
    title.to_owned() + &document_constants(&bindings.to_string(), &macro_comments(&text))
}

/// The comments that stand behind `#define`s, by name: bindgen does not carry them over.
fn macro_comments(header: &str) -> HashMap<String, String> {
    let header = header.replace("\\\n", " ");
    let mut comments = HashMap::new();
    for define in header.lines().filter_map(|line| line.strip_prefix("#define ")) {
        let Some((head, comment)) = define.split_once("/*") else { continue };
        let Some(name) = head.split_whitespace().next() else { continue };
        comments.insert(name.to_owned(), comment.trim_end_matches("*/").trim().to_owned());
    }
    comments
}

/// Puts `comments` above their constants and drops the headings of the header's sections.
fn document_constants(bindings: &str, comments: &HashMap<String, String>) -> String {
    let mut text = String::new();
    for line in bindings.lines().filter(|line| !line.starts_with("/// ----")) {
        let constant = line.strip_prefix("pub const ").and_then(|rest| rest.split_once(':'));
        if let Some(comment) = constant.and_then(|(name, _)| comments.get(name)) {
            text.extend(["/// ", comment, "\n"]);
        }
        text.extend([line, "\n"]);
    }
    text
}
