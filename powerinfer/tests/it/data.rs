//! Test data outside the repository, named by `POWERINFER_TEST_DATA`.

use std::path::PathBuf;

/// The folder with test data; says so once per caller if there is none, and fails where
/// `POWERINFER_REQUIRE_TEST_DATA` is set.
pub(crate) fn root() -> Option<PathBuf> {
    let root = std::env::var_os("POWERINFER_TEST_DATA").map(PathBuf::from);
    if root.is_none() {
        let required = std::env::var_os("POWERINFER_REQUIRE_TEST_DATA");
        assert!(required.is_none(), "POWERINFER_TEST_DATA is not set, and this run must not skip");
        println!("skipped: POWERINFER_TEST_DATA is not set");
    }
    root
}
