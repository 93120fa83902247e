//! Check of the bytes that a lease's devices are to run: a script with a manifest, of a bounded size. Runs nothing.

use iottly_manifest::{Manifest, Script};
use iottly_protocol::release::MAX_ORDER_SCRIPT_BYTES;
use iottly_protocol::tuf::sha256_hex;

/// Bytes that were checked, and their sha256 in hex.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) sha256: String,
    pub(super) component: Vec<u8>,
}

/// Returns the script if it has the form of one. Whether a device may and can run it is decided by the device.
pub(super) fn check(component: Vec<u8>) -> Result<Checked, String> {
    if component.is_empty() || component.len() > MAX_ORDER_SCRIPT_BYTES {
        return Err(format!(
            "the script has {} bytes, 1 to {MAX_ORDER_SCRIPT_BYTES} are allowed",
            component.len()
        ));
    }
    let script = Script::extract(&component).map_err(|error| error.to_string())?;
    if script.is_none() {
        return Err("the component is not a script: a developer lease runs scripts only".to_owned());
    }
    let manifest = iottly_manifest::extract(&component).map_err(|error| error.to_string())?;
    let manifest = manifest.ok_or_else(|| "the script has no manifest".to_owned())?;
    Manifest::parse(manifest).map_err(|error| format!("the script's manifest: {error}"))?;
    Ok(Checked {
        sha256: sha256_hex(&component),
        component,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn script(code: &str) -> Script {
        Script {
            engine: "script 1".to_owned(),
            exact: None,
            files: BTreeMap::from([("main.js".to_owned(), code.to_owned())]),
            sections: Vec::new(),
        }
    }

    #[test]
    fn only_scripts_with_a_manifest_are_taken() {
        let good = script("").component("name = \"a\"\n").expect("a component");
        assert_eq!(check(good.clone()).expect("taken").sha256, sha256_hex(&good));
        let odd = script("").component("name = [").expect("a component");
        let long = script(&"x".repeat(MAX_ORDER_SCRIPT_BYTES))
            .component("")
            .expect("a component");
        let code = b"\0asm\x0d\0\x01\0\x01\x01\0".to_vec();
        for (bytes, reason) in [
            (odd, "manifest"),
            (long, "are allowed"),
            (code, "not a script"),
            (Vec::new(), "are allowed"),
            (b"nonsense".to_vec(), ""),
        ] {
            let error = check(bytes).expect_err(reason);
            assert!(error.contains(reason), "{error}");
        }
    }
}
