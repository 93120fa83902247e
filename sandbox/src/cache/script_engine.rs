//! Engines that run scripts. Compiles nothing itself.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use iottly_manifest::Script;
use sha2::{Digest, Sha256};

use crate::{Firmware, LoadError, Runtime, engine};

/// A component that runs scripts. Compiled once and shared by all scripts of a cache.
pub struct ScriptEngine {
    abi: String,
    digest: String,
    wasm: Cow<'static, [u8]>,
    /// The engine in the runtime that asked last.
    loaded: Mutex<Option<Firmware>>,
}

impl ScriptEngine {
    /// Uses a component of the world `iottly:firmware/engine` for scripts that name `abi`.
    #[must_use]
    pub fn new(abi: impl Into<String>, wasm: impl Into<Cow<'static, [u8]>>) -> Self {
        let wasm = wasm.into();
        Self {
            abi: abi.into(),
            digest: engine::hex(&Sha256::digest(&wasm)),
            wasm,
            loaded: Mutex::default(),
        }
    }

    /// Returns the name of what scripts can rely on.
    #[must_use]
    pub fn abi(&self) -> &str {
        &self.abi
    }

    /// Returns the sha256 of the component, 64 hex digits.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.digest == other.digest && self.abi == other.abi
    }

    /// Returns the component.
    #[must_use]
    pub fn wasm(&self) -> &[u8] {
        &self.wasm
    }

    /// Returns true if this engine may run the script.
    fn runs(&self, script: &Script) -> bool {
        script.engine == self.abi
            && script
                .exact
                .as_ref()
                .is_none_or(|digest| digest.eq_ignore_ascii_case(&self.digest))
    }

    /// Returns the engine in `runtime`; `load` is called unless this runtime has asked last too. Other callers wait.
    pub(super) fn loaded(
        &self,
        runtime: &Runtime,
        load: impl FnOnce() -> Result<Firmware, LoadError>,
    ) -> Result<Firmware, LoadError> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(firmware) = loaded.as_ref().filter(|firmware| firmware.is_in(runtime)) {
            return Ok(firmware.clone());
        }
        let firmware = load()?;
        *loaded = Some(firmware.clone());
        Ok(firmware)
    }
}

/// Returns the preferred engine if it may run the script, otherwise the first that may.
///
/// # Errors
/// [`LoadError::NoEngine`].
pub(super) fn engine_for(
    engines: &[Arc<ScriptEngine>],
    script: &Script,
    preferred: Option<&str>,
) -> Result<Arc<ScriptEngine>, LoadError> {
    let fitting = || engines.iter().filter(|engine| engine.runs(script));
    let named = fitting().find(|engine| Some(engine.digest()) == preferred);
    named
        .or_else(|| fitting().next())
        .cloned()
        .ok_or_else(|| LoadError::NoEngine {
            abi: script.engine.clone(),
            exact: script.exact.clone(),
        })
}
