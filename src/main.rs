//! The `powerinfer` command line.
fn main() {}
