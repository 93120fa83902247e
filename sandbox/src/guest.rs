//! What belongs to one running firmware: its host, its limits and what it has used of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::ResourceLimiter;
use wasmtime::component::ResourceTable;

use crate::call_rate::CallRate;
use crate::epoch::EPOCH;
use crate::events::{Events, Timers};
use crate::profile::Profile;
use crate::quota::Quota;
use crate::share::CpuShare;
use crate::trap::{Stopped, TrapCode, of_system};
use crate::{Fault, Host, Limits};

pub(crate) struct Guest {
    pub(crate) host: Box<dyn Host>,
    pub(crate) limits: Limits,
    pub(crate) started: Instant,
    pub(crate) profile: Arc<Profile>,
    pub(crate) log_quota: Quota,
    pub(crate) send_quota: Quota,
    pub(crate) send_bytes: Quota,
    pub(crate) state_quota: Quota,
    pub(crate) calls: CallRate,
    pub(crate) share: CpuShare,
    pub(crate) call: Call,
    /// What the firmware has open on the board.
    pub(crate) table: ResourceTable,
    pub(crate) timers: Timers,
    pub(crate) events: Events,
    sources: u32,
    memory_bytes: usize,
    /// What the device failed to give, until somebody asks.
    pub(crate) device_failure: Option<String>,
}

/// The call in progress.
#[derive(Default)]
pub(crate) struct Call {
    /// Time it may use.
    pub(crate) budget: Duration,
    /// When it began.
    pub(crate) started: Option<Instant>,
    /// The thread's processor time when it began, known from its first epoch on.
    pub(crate) cpu_at_start: Option<Duration>,
    /// Time it spent inside the host.
    pub(crate) in_host: Duration,
    /// Time it spent without the processor there, part of the former: waits for buses, delays and storage.
    pub(crate) off_cpu: Duration,
    /// Time it spent waiting for buses and delays, part of the former.
    pub(crate) waited: Duration,
}

impl Call {
    /// Wall-clock time outside of the host.
    pub(crate) fn wall(&self) -> Duration {
        self.started
            .map_or(Duration::ZERO, |at| at.elapsed())
            .saturating_sub(self.in_host)
    }

    /// Processor time of this thread: on a busy machine a firmware is not punished for waiting its turn. Reading it
    /// costs more than a short call takes, so the first question begins to count, and takes what passed before it as
    /// used, at most an epoch.
    pub(crate) fn used(&mut self) -> Duration {
        let now = thread_cpu();
        let wall = self.wall();
        let start = *self
            .cpu_at_start
            .get_or_insert_with(|| now.saturating_sub(wall.min(EPOCH)));
        now.saturating_sub(start)
    }

    /// Why the call ends when its budget is used up, for people.
    pub(crate) fn used_up(&mut self) -> String {
        format!(
            "stopped after {} ms of processor time, the limit is {} ms",
            self.used().as_millis(),
            self.budget.as_millis()
        )
    }
}

impl Guest {
    pub(crate) fn new(host: Box<dyn Host>, profile: Arc<Profile>, limits: Limits) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles);
        let events = Events::new(host.waker());
        Self {
            host,
            started: Instant::now(),
            profile,
            log_quota: Quota::new(limits.log_lines_per_s),
            send_quota: Quota::new(limits.sends_per_s),
            send_bytes: Quota::new(limits.send_bytes_per_s),
            state_quota: Quota::new(limits.state_sets_per_s),
            calls: CallRate::new(limits.calls_per_s),
            share: CpuShare::new(limits.cpu_percent),
            call: Call::default(),
            table,
            timers: Timers::default(),
            events,
            sources: 0,
            limits,
            memory_bytes: 0,
            device_failure: None,
        }
    }

    /// Runs something of the host; the time it takes is not the firmware's.
    pub(crate) fn in_host<T>(&mut self, run: impl FnOnce(&mut Self) -> T) -> T {
        let began = Instant::now();
        let result = run(self);
        self.call.in_host += began.elapsed();
        result
    }

    /// Runs something of the host that may wait for storage. What it waits is nobody's processor time, what
    /// it computes is.
    pub(crate) fn in_storage<T>(&mut self, run: impl FnOnce(&mut Self) -> T) -> T {
        let (began, cpu) = (Instant::now(), thread_cpu());
        let result = self.in_host(run);
        self.call.off_cpu += began.elapsed().saturating_sub(thread_cpu().saturating_sub(cpu));
        result
    }

    /// Runs something that waits, for at most as long as the running call may still wait.
    pub(crate) fn waiting<T>(
        &mut self,
        most: Duration,
        run: impl FnOnce(&mut Self, Duration) -> T,
    ) -> Result<T, Fault> {
        let left = self.limits.wait.saturating_sub(self.call.waited);
        if left.is_zero() {
            let limit = self.limits.wait.as_millis();
            return Err(Fault::Limit(format!(
                "the running call has waited for {limit} ms, which is all it may"
            )));
        }
        let began = Instant::now();
        let result = run(self, most.min(left));
        let took = began.elapsed();
        self.call.in_host += took;
        self.call.off_cpu += took;
        self.call.waited += took;
        Ok(result)
    }

    /// A number for something that the firmware wants to hear about.
    pub(crate) fn next_source(&mut self) -> u32 {
        self.sources = self.sources.wrapping_add(1);
        self.sources
    }
}

/// Processor time of the calling thread.
pub(crate) fn thread_cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(now.tv_sec).unwrap_or_default(),
        u32::try_from(now.tv_nsec).unwrap_or_default(),
    )
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
        if let Some(reason) = of_system(&error) {
            self.device_failure = Some(format!("memory of the firmware cannot grow: {reason}"));
        }
        Ok(())
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let limit = self.limits.table_elements;
        if desired > limit {
            let message = format!("a table of {desired} elements exceeds the limit of {limit}");
            return Err(wasmtime::Error::new(Stopped {
                code: TrapCode::Resources,
                message,
                functions: Vec::new(),
            }));
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
