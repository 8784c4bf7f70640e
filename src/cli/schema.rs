//! `powerinfer schema`: the JSON schema of policies.

use powerinfer::Policy;

use super::exit::Exit;
use super::output::Out;

/// Prints the schema.
pub(super) fn run() -> anyhow::Result<Exit> {
    Out::lock().json(&Policy::schema())?;
    Ok(Exit::Success)
}
