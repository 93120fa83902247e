//! A firmware's manifest, compared with what the component really imports.

use iottly_manifest::{Interface, Manifest, Script, extract};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::{Limits, LoadError};

/// Package of the world that firmware is written for.
pub(crate) const PACKAGE: &str = "iottly:firmware/";

/// Digest and manifest of a firmware, and its script with the engine's digest where it is one.
pub(crate) struct Profile {
    pub(crate) digest: Box<str>,
    pub(crate) manifest: Manifest,
    pub(crate) script: Option<Script>,
    pub(crate) engine: Option<Box<str>>,
    /// True if `init` runs the script's top level and nothing else of it.
    pub(crate) top_level_only: bool,
}

impl Profile {
    /// Reads the manifest inside a component. A component without one asks for nothing.
    pub(crate) fn read(wasm: &[u8], digest: &str) -> Result<Self, LoadError> {
        let text = extract(wasm).map_err(|error| LoadError::Manifest(error.to_string()))?;
        let manifest = text
            .map(Manifest::parse)
            .transpose()
            .map_err(|error| LoadError::Manifest(error.to_string()))?;
        Ok(Self {
            digest: digest.into(),
            manifest: manifest.unwrap_or_default(),
            script: None,
            engine: None,
            top_level_only: false,
        })
    }

    /// Refuses a component with imports that its manifest does not name.
    pub(crate) fn check(&self, component: &Component, engine: &Engine) -> Result<(), LoadError> {
        for (name, _) in component.component_type().imports(engine) {
            let Some(interface) = interface(name) else {
                continue;
            };
            if !self.manifest.interfaces().any(|allowed| allowed == interface) {
                return Err(LoadError::Manifest(format!(
                    "the code imports {interface}, and the manifest asks for no label of it"
                )));
            }
        }
        Ok(())
    }

    /// Returns the device's limits, narrowed where the manifest asks for less.
    pub(crate) fn narrow(&self, limits: Limits) -> Limits {
        let sizes = &self.manifest.sizes;
        let least = |asked: Option<usize>, limit: usize| asked.map_or(limit, |asked| asked.min(limit));
        Limits {
            memory_bytes: least(sizes.memory, limits.memory_bytes),
            payload_bytes: least(sizes.payload, limits.payload_bytes),
            state_bytes: least(sizes.state_bytes, limits.state_bytes),
            state_keys: least(sizes.state_keys, limits.state_keys),
            ..limits
        }
    }
}

/// Returns the interfaces of the board that a component's manifest names labels of; none without a manifest. Runs and
/// compiles nothing.
///
/// # Errors
/// [`LoadError::Manifest`] if the component or its manifest is damaged or wrong.
pub fn requested_hardware(component: &[u8]) -> Result<Vec<Interface>, LoadError> {
    let profile = Profile::read(component, "")?;
    let named = profile.manifest.interfaces();
    Ok(named.filter(|interface| interface.is_hardware()).collect())
}

/// Returns the interface of an import like `iottly:firmware/gpio@0.1.0`.
fn interface(import: &str) -> Option<Interface> {
    let name = import.strip_prefix(PACKAGE)?;
    Interface::from_name(name.split_once('@').map_or(name, |(name, _)| name))
}
