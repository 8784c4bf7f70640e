//! What `--version` says: what was built, from what, and how it computes here.

use std::sync::LazyLock;

static LONG: LazyLock<String> = LazyLock::new(|| {
    format!(
        "{}\ncommit: {}\nfeatures: {}\ncpu operators: {}",
        env!("CARGO_PKG_VERSION"),
        env!("POWERINFER_COMMIT"),
        env!("POWERINFER_FEATURES"),
        powerinfer::cpu_name()
    )
});

/// Version, commit, features and the CPU operators in use.
pub(super) fn long() -> &'static str {
    &LONG
}
