//! Reading of the script that came with an order, for its admission. Runs nothing.

use iottly_protocol::release::{OfferedScript, Reason, Refusal};
use iottly_protocol::tuf::sha256_hex;
use iottly_sandbox::{Script, requested_hardware};

/// Returns the properties of a script, and its bytes.
///
/// # Errors
/// The bytes are missing, are not a component with a script, or its manifest is wrong.
pub(crate) fn offered(
    component: Result<Option<Vec<u8>>, String>,
) -> Result<(OfferedScript, Vec<u8>), Refusal> {
    let invalid = |detail: String| Refusal {
        reason: Reason::Invalid,
        detail,
    };
    let bytes = component
        .map_err(invalid)?
        .ok_or_else(|| invalid("the order came without its script".to_owned()))?;
    let script = Script::extract(&bytes).map_err(|error| invalid(error.to_string()))?;
    let script = script.ok_or_else(|| invalid("a developer order runs scripts only".to_owned()))?;
    let hardware = requested_hardware(&bytes).map_err(|error| invalid(error.to_string()))?;
    let offered = OfferedScript {
        sha256: sha256_hex(&bytes),
        size: bytes.len() as u64,
        engine: script.engine,
        exact: script.exact.map(|digest| digest.to_ascii_lowercase()),
        capabilities: hardware.iter().map(ToString::to_string).collect(),
    };
    Ok((offered, bytes))
}
