//! A firmware that is loaded and not running.

use std::sync::Arc;

use iottly_manifest::{Manifest, Script};
use iottly_protocol::limits::clip;
use wasmtime::component::Component;

use crate::bindings::FirmwarePre;
use crate::guest::Guest;
use crate::profile::Profile;
use crate::{Host, Instance, Limits, LoadError, Runtime, StartError};

/// Maximum size of a refusal's reason in bytes: names inside a component can be as long as the component.
const MAX_REASON: usize = 1024;

/// Compiled user code that can be started any number of times. Cheap to clone.
#[derive(Clone)]
pub struct Firmware {
    runtime: Runtime,
    pre: FirmwarePre<Guest>,
    profile: Arc<Profile>,
}

impl Firmware {
    pub(crate) fn new(runtime: &Runtime, component: &Component, profile: Profile) -> Result<Self, LoadError> {
        profile.check(component, runtime.engine())?;
        Self::unchecked(runtime, component, profile)
    }

    /// Creates a firmware whose imports are not held against its manifest: a script engine imports all interfaces, and what
    /// its script reaches is decided when it opens something.
    pub(crate) fn unchecked(
        runtime: &Runtime,
        component: &Component,
        profile: Profile,
    ) -> Result<Self, LoadError> {
        let world =
            |error: wasmtime::Error| LoadError::World(clip(&format!("{error:#}"), MAX_REASON).to_owned());
        let pre = runtime.linker().instantiate_pre(component).map_err(world)?;
        let pre = FirmwarePre::new(pre).map_err(world)?;
        Ok(Self {
            runtime: runtime.clone(),
            pre,
            profile: Arc::new(profile),
        })
    }

    /// Returns the firmware that this engine and a script are together. Compiles nothing.
    pub(crate) fn with_script(&self, script: Script, profile: Profile) -> Self {
        Self {
            profile: Arc::new(Profile {
                script: Some(script),
                engine: Some(self.profile.digest.clone()),
                ..profile
            }),
            ..self.clone()
        }
    }

    /// Returns the same firmware, of whose script only the top level runs; none if it is code of its own.
    pub(crate) fn top_level(&self) -> Option<Self> {
        let profile = Profile {
            digest: self.profile.digest.clone(),
            manifest: self.profile.manifest.clone(),
            script: Some(self.profile.script.clone()?),
            top_level_only: true,
            engine: self.profile.engine.clone(),
        };
        Some(Self {
            profile: Arc::new(profile),
            ..self.clone()
        })
    }

    /// Returns true if the firmware was loaded for this runtime.
    pub(crate) fn is_in(&self, runtime: &Runtime) -> bool {
        self.runtime.is(runtime)
    }

    /// Returns the sha256 of the component or of the script, 64 hex digits.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.profile.digest
    }

    /// Returns the sha256 of the engine that runs the script, 64 hex digits; none if the firmware has code of its own.
    #[must_use]
    pub fn engine(&self) -> Option<&str> {
        self.profile.engine.as_deref()
    }

    /// Returns the manifest; empty if the component has none.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.profile.manifest
    }

    /// Starts an instance with fresh memory on a host. If the manifest asks for less than `limits` allow, the
    /// instance gets less. Of the firmware's own code, only the instantiation has run.
    ///
    /// # Errors
    /// [`StartError`] if the firmware needs more than `limits` allow.
    pub fn start(&self, host: Box<dyn Host>, limits: Limits) -> Result<Instance, StartError> {
        Instance::start(
            self.runtime.clone(),
            &self.pre,
            Arc::clone(&self.profile),
            host,
            limits,
        )
    }
}
