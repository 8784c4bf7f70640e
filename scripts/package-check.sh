#!/usr/bin/env bash
# Packs the library crates as for crates.io and generates text with them from a crate outside the
# workspace, which sees the packed files only.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/setup.sh ""

export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}" # the consumer reuses its dependencies
work="$PWD/target/package-check"
rm -rf "$work"
mkdir -p "$work/consumer/src"

version="$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)"
cargo package --quiet --no-verify --allow-dirty --locked -p powerinfer-sys -p powerinfer
for crate in powerinfer-sys powerinfer; do
    tar -xzf "$CARGO_TARGET_DIR/package/$crate-$version.crate" -C "$work"
    mv "$work/$crate-$version" "$work/$crate"
    for licence in LICENSE-MIT LICENSE-APACHE; do
        cmp "$licence" "$work/$crate/$licence"
    done
done
for part in CMakeLists.txt include src; do
    diff -r "vendor/powerinfer/$part" "$work/powerinfer-sys/vendor/powerinfer/$part"
done

cp Cargo.lock "$work/consumer/"
cat >"$work/consumer/Cargo.toml" <<END
[package]
name = "consumer"
edition = "2024"

[dependencies]
powerinfer = { version = "$version", features = ["hub"] }

[patch.crates-io]
powerinfer = { path = "../powerinfer" }
powerinfer-sys = { path = "../powerinfer-sys" }

[workspace]
END
cat >"$work/consumer/src/main.rs" <<'END'
use powerinfer::{Error, Model, Sampling, SessionOptions};

fn main() -> Result<(), Error> {
    let model = Model::load(std::env::args_os().nth(1).expect("a model"))?;
    let mut session = model.session(SessionOptions::default())?;
    for piece in session.generate("Once upon a time", Sampling::greedy())?.take(32) {
        print!("{}", piece?);
    }
    Ok(())
}
END
text="$(cargo run --quiet --manifest-path "$work/consumer/Cargo.toml" -- models/*.powerinfer.gguf)"
[ "$(wc -w <<<"$text")" -gt 10 ] || { echo "the packed crates say only: $text" >&2; exit 1; }
echo "a crate outside the workspace says: $text"
