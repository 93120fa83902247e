use std::sync::Arc;

use wasmtime::component::Component;

use crate::bindings::FirmwarePre;
use crate::guest::Guest;
use crate::{Host, Instance, Limits, LoadError, Runtime, StartError};

/// Compiled user code, ready to be started any number of times. Cheap to clone.
#[derive(Clone)]
pub struct Firmware {
    runtime: Runtime,
    pre: FirmwarePre<Guest>,
    digest: Arc<str>,
}

impl Firmware {
    pub(crate) fn new(runtime: &Runtime, component: &Component, digest: &str) -> Result<Self, LoadError> {
        let world = |error: wasmtime::Error| LoadError::World(format!("{error:#}"));
        let pre = runtime.linker().instantiate_pre(component).map_err(world)?;
        let pre = FirmwarePre::new(pre).map_err(world)?;
        Ok(Self { runtime: runtime.clone(), pre, digest: digest.into() })
    }

    /// sha256 of the component, 64 hex digits.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Gives the firmware fresh memory and a host. Nothing of its own code has run yet but what sets up its memory.
    ///
    /// # Errors
    /// [`StartError`] when it needs more than `limits` allow.
    pub fn start(&self, host: Box<dyn Host>, limits: Limits) -> Result<Instance, StartError> {
        Instance::start(self.runtime.clone(), &self.pre, host, limits)
    }
}
