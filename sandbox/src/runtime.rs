//! The engine of a process: shared by all its firmwares, holds no state of any of them.

use std::io;
use std::sync::Arc;

use wasmtime::Engine;
use wasmtime::component::Linker;

use crate::engine::{self, Backend};
use crate::epoch::{Running, Ticker};
use crate::guest::Guest;
use crate::{RuntimeError, imports};

/// Engine that runs firmware, its clock and the imports that firmware may have. Cheap to clone; one per
/// process is enough.
#[derive(Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

struct Inner {
    backend: Backend,
    engine: Engine,
    linker: Linker<Guest>,
    ticker: Ticker,
}

impl Runtime {
    /// Sets up the engine. Its clock, a thread that sleeps while no firmware runs, starts with the first firmware.
    ///
    /// # Errors
    /// This machine cannot run compiled WebAssembly.
    pub fn new() -> Result<Self, RuntimeError> {
        Self::with(Backend::here())
    }

    /// Sets up an engine for code of one kind.
    ///
    /// # Errors
    /// As [`Runtime::new`].
    pub fn with(backend: Backend) -> Result<Self, RuntimeError> {
        let engine = engine::create(backend)?;
        let mut linker = Linker::new(&engine);
        imports::link(&mut linker).map_err(|error| RuntimeError(format!("{error:#}")))?;
        let ticker = Ticker::new(engine.clone());
        Ok(Self {
            inner: Arc::new(Inner {
                backend,
                engine,
                linker,
                ticker,
            }),
        })
    }

    /// Returns true if both are clones of one runtime.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    pub(crate) fn backend(&self) -> Backend {
        self.inner.backend
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    pub(crate) fn linker(&self) -> &Linker<Guest> {
        &self.inner.linker
    }

    /// Keeps the clock running until the result is dropped.
    ///
    /// # Errors
    /// The system has no thread for the clock, without which no budget ends.
    pub(crate) fn running(&self) -> io::Result<Running<'_>> {
        self.inner.ticker.running()
    }
}
