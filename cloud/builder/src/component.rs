//! Components: made from modules, and what they import.

use iottly_manifest::{Interface, Manifest};

use crate::BuildError;

/// Wraps a core module that was made with the guest SDK, or with wit-bindgen, into a component.
///
/// # Errors
/// [`BuildError::Module`] when it is not a module of the world `iottly:firmware`.
pub fn component(core: &[u8]) -> Result<Vec<u8>, BuildError> {
    let failed = |error| BuildError::Module(format!("{error:#}"));
    wit_component::ComponentEncoder::default()
        .validate(true)
        .module(core)
        .and_then(|encoder| encoder.encode())
        .map_err(failed)
}

/// Returns the interfaces of `iottly:firmware` that a component imports, sorted, without the package's name.
///
/// # Errors
/// [`BuildError::Module`] when it is not a component that exports firmware.
pub fn imports(component: &[u8]) -> Result<Vec<String>, BuildError> {
    let failed = |reason: String| BuildError::Module(reason);
    let decoded = wit_component::decode(component).map_err(|error| failed(format!("{error:#}")))?;
    let wit_component::DecodedWasm::Component(resolve, world) = decoded else {
        return Err(failed("it describes interfaces and has no code".to_owned()));
    };
    let world = &resolve.worlds[world];
    let ours = |name: String| {
        Some(
            name.strip_prefix("iottly:firmware/")?
                .split('@')
                .next()?
                .to_owned(),
        )
    };
    if !world
        .exports
        .keys()
        .any(|key| ours(resolve.name_world_key(key)).as_deref() == Some("app"))
    {
        return Err(failed("it does not export iottly:firmware/app".to_owned()));
    }
    let mut names: Vec<String> = world
        .imports
        .keys()
        .filter_map(|key| ours(resolve.name_world_key(key)))
        .collect();
    names.sort();
    names.dedup();
    Ok(names)
}

/// Returns the hardware interfaces that a component imports, sorted.
///
/// # Errors
/// [`BuildError::Module`] as [`imports`]; [`BuildError::Component`] when the manifest in the component cannot be
/// read or has no label for one of the interfaces: no device accepts such firmware.
pub fn capabilities(component: &[u8]) -> Result<Vec<String>, BuildError> {
    let invalid = |reason: String| BuildError::Component(reason);
    let text = iottly_manifest::extract(component).map_err(|error| invalid(error.to_string()))?;
    let manifest = text
        .map(Manifest::parse)
        .transpose()
        .map_err(|error| invalid(error.to_string()))?
        .unwrap_or_default();
    let hardware: Vec<Interface> = imports(component)?
        .iter()
        .filter_map(|name| Interface::from_name(name))
        .filter(|interface| interface.is_hardware())
        .collect();
    let declared: Vec<Interface> = manifest.interfaces().collect();
    match hardware.iter().find(|interface| !declared.contains(interface)) {
        Some(undeclared) => Err(invalid(format!(
            "the code imports {undeclared}, and the manifest asks for no label of it"
        ))),
        None => Ok(hardware.iter().map(ToString::to_string).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_module_is_refused() {
        for bytes in [&b""[..], b"\0asm", b"\0asm\x01\0\0\0\x01", b"not wasm at all"] {
            let text = component(bytes).unwrap_err().to_string();
            assert!(text.starts_with("the module is not valid firmware: "), "{text}");
            assert!(imports(bytes).is_err());
        }
    }

    #[test]
    fn a_module_without_the_world_is_refused() {
        let import = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x02\x07\x01\x01a\x01b\0\0";
        let text = component(import).unwrap_err().to_string();
        assert!(text.starts_with("the module is not valid firmware: "), "{text}");
    }
}
