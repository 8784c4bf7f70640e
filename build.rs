//! Stamps the commit and the features of this build, for `powerinfer --version`.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rustc-env=POWERINFER_COMMIT={}", commit());
    println!("cargo::rustc-env=POWERINFER_FEATURES={}", features());
    // The log of HEAD grows with every commit and checkout.
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", name]) {
            rerun_if_changed(&path);
        }
    }
    // What makes a clean tree dirty.
    for name in ["build.rs", "Cargo.toml", "src", "powerinfer", "powerinfer-sys", "vendor"] {
        rerun_if_changed(name);
    }
}

/// Runs this script again when a file or a folder changes.
fn rerun_if_changed(path: &str) {
    // One that does not exist would make Cargo run it every time.
    if Path::new(path).exists() {
        println!("cargo::rerun-if-changed={path}");
    }
}

/// The commit that is built, `unknown` outside of a git tree.
fn commit() -> String {
    // A package unpacked inside of another project's tree must not take that project's commit.
    let is_ours = git(&["ls-files", "--error-unmatch", "build.rs"]).is_some();
    let described = is_ours.then(|| git(&["describe", "--always", "--dirty", "--tags"]));
    described.flatten().unwrap_or_else(|| "unknown".to_owned())
}

/// The enabled features of this package, in alphabetic order.
fn features() -> String {
    const PREFIX: &str = "CARGO_FEATURE_";
    let mut names: Vec<String> = env::vars()
        .filter_map(|(name, _)| name.strip_prefix(PREFIX).map(str::to_owned))
        .map(|name| name.to_lowercase().replace('_', "-"))
        .filter(|name| name != "default")
        .collect();
    names.sort();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// What a git command prints, if it succeeds.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
