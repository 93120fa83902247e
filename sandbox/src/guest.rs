//! What belongs to one running firmware: its host, its limits and what it has used of them.

use std::time::{Duration, Instant};

use wasmtime::ResourceLimiter;

use crate::instance::thread_cpu;
use crate::quota::Quota;
use crate::trap::{Stopped, TrapCode};
use crate::{Host, Limits};

pub(crate) struct Guest {
    pub(crate) host: Box<dyn Host>,
    pub(crate) limits: Limits,
    pub(crate) started: Instant,
    pub(crate) log_quota: Quota,
    pub(crate) call: Call,
    memory_bytes: usize,
}

/// The call in progress.
#[derive(Default)]
pub(crate) struct Call {
    /// Time it may use.
    pub(crate) budget: Duration,
    /// The thread's processor time when it began.
    pub(crate) cpu_at_start: Duration,
    /// When it began.
    pub(crate) started: Option<Instant>,
    /// Time it spent inside the host.
    pub(crate) in_host: Duration,
    /// Processor time it spent inside the host.
    pub(crate) cpu_in_host: Duration,
}

impl Guest {
    pub(crate) fn new(host: Box<dyn Host>, limits: Limits) -> Self {
        let log_quota = Quota::new(limits.log_lines_per_s);
        Self { host, limits, started: Instant::now(), log_quota, call: Call::default(), memory_bytes: 0 }
    }

    /// Runs something of the host on the host's time.
    pub(crate) fn in_host<T>(&mut self, run: impl FnOnce(&mut dyn Host) -> T) -> T {
        let (wall, cpu) = (Instant::now(), thread_cpu());
        let result = run(self.host.as_mut());
        self.call.in_host += wall.elapsed();
        self.call.cpu_in_host += thread_cpu().saturating_sub(cpu);
        result
    }
}

impl ResourceLimiter for Guest {
    /// Counts all memories together: wasmtime's own limiter looks at each alone.
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.memory_bytes.saturating_add(desired.saturating_sub(current));
        let fits = total <= self.limits.memory_bytes;
        if fits {
            self.memory_bytes = total;
        }
        Ok(fits)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        tracing::debug!("memory not grown: {error:#}");
        Ok(())
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let limit = self.limits.table_elements;
        if desired > limit {
            let message = format!("a table of {desired} elements exceeds the limit of {limit}");
            return Err(wasmtime::Error::new(Stopped { code: TrapCode::Resources, message }));
        }
        Ok(true)
    }

    fn instances(&self) -> usize {
        self.limits.instances
    }

    fn tables(&self) -> usize {
        self.limits.tables
    }

    fn memories(&self) -> usize {
        self.limits.memories
    }
}
