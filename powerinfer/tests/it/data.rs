//! Test data outside the repository, named by `POWERINFER_TEST_DATA`.

use std::path::PathBuf;

/// The folder with test data; says so once per caller if there is none.
pub(crate) fn root() -> Option<PathBuf> {
    let root = std::env::var_os("POWERINFER_TEST_DATA").map(PathBuf::from);
    if root.is_none() {
        println!("skipped: POWERINFER_TEST_DATA is not set");
    }
    root
}
