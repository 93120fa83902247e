//! Components: made from modules, and what they need of a device.

use iottly_manifest::{Interface, Manifest, Script};

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
fn imports(component: &[u8]) -> Result<Vec<String>, BuildError> {
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

/// Returns the hardware interfaces that a component can use, sorted: a script those whose labels its manifest names, code
/// those that it imports. Runs nothing.
///
/// # Errors
/// [`BuildError::Module`] when it is not a component that exports firmware; [`BuildError::Component`] when the script or
/// the manifest in it cannot be read, or the code imports an interface of which the manifest names no label: no device
/// accepts such firmware.
pub fn capabilities(component: &[u8]) -> Result<Vec<String>, BuildError> {
    let invalid = |reason: String| BuildError::Component(reason);
    let script = Script::extract(component).map_err(|error| invalid(error.to_string()))?;
    let text = iottly_manifest::extract(component).map_err(|error| invalid(error.to_string()))?;
    let manifest = text
        .map(Manifest::parse)
        .transpose()
        .map_err(|error| invalid(error.to_string()))?
        .unwrap_or_default();
    let declared: Vec<Interface> = manifest
        .interfaces()
        .filter(|interface| interface.is_hardware())
        .collect();
    let used: Vec<Interface> = match &script {
        Some(_) => declared.clone(),
        None => imports(component)?
            .iter()
            .filter_map(|name| Interface::from_name(name))
            .filter(|interface| interface.is_hardware())
            .collect(),
    };
    if let Some(undeclared) = used.iter().find(|interface| !declared.contains(interface)) {
        return Err(invalid(format!(
            "the code imports {undeclared}, and the manifest asks for no label of it"
        )));
    }
    let mut names: Vec<String> = used.iter().map(ToString::to_string).collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Source;

    #[test]
    fn what_is_not_a_module_is_refused() {
        for bytes in [&b""[..], b"\0asm", b"\0asm\x01\0\0\0\x01", b"not wasm at all"] {
            let text = component(bytes).unwrap_err().to_string();
            assert!(text.starts_with("the module is not valid firmware: "), "{text}");
            assert!(capabilities(bytes).is_err());
        }
    }

    #[test]
    fn a_module_without_the_world_is_refused() {
        let import = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x02\x07\x01\x01a\x01b\0\0";
        let text = component(import).unwrap_err().to_string();
        assert!(text.starts_with("the module is not valid firmware: "), "{text}");
    }

    #[test]
    fn a_script_reaches_what_its_manifest_names() {
        let manifest = "name = \"a\"\n[capabilities]\ni2c = [\"sensors\"]\ngpio = [\"led\"]\n";
        let source = Source::script("1").with_manifest(manifest).unwrap();
        let found = capabilities(&source.component().unwrap()).unwrap();
        assert_eq!(found, ["gpio", "i2c"]);
        let found = capabilities(&Source::script("1").component().unwrap()).unwrap();
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn code_beside_a_script_is_refused() {
        let script = Source::script("1").component().unwrap();
        let text = capabilities(&[&script[..], b"\x01\x01\x00"].concat())
            .unwrap_err()
            .to_string();
        assert!(text.contains("other content beside it"), "{text}");
    }
}
