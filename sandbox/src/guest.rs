//! State of one running firmware: its host, its limits and what it has used of them.

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
use crate::usage::Usage;
use crate::{Fault, Host, Limits};

/// Processor time that the host needs at most for little work.
const LITTLE_WORK: Duration = Duration::from_micros(100);

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
    /// Calls since the driver asked for them; without the memory.
    usage: Usage,
    /// Resources that the firmware has open on the board.
    pub(crate) table: ResourceTable,
    pub(crate) timers: Timers,
    pub(crate) events: Events,
    sources: u32,
    memory_bytes: usize,
    /// Memory or threads that the device failed to provide, until the driver asks.
    pub(crate) device_failure: Option<String>,
}

/// Call in progress.
#[derive(Default)]
pub(crate) struct Call {
    /// Processor time that the call may use.
    pub(crate) budget: Duration,
    /// Start of the call.
    pub(crate) started: Option<Instant>,
    /// Processor time of the thread at the start of the call, known from its first epoch on.
    pub(crate) cpu_at_start: Option<Duration>,
    /// Time inside the host.
    pub(crate) in_host: Duration,
    /// Part of that time without the processor: waits for buses, delays and storage.
    pub(crate) off_cpu: Duration,
    /// Part of that time spent waiting for buses and delays.
    pub(crate) waited: Duration,
}

impl Call {
    /// Returns the wall-clock time of the call outside of the host.
    pub(crate) fn wall(&self) -> Duration {
        self.started
            .map_or(Duration::ZERO, |at| at.elapsed())
            .saturating_sub(self.in_host)
    }

    /// Returns the processor time of this thread in the call: on a busy machine a firmware is not punished for waiting.
    /// Reading it costs more than a short call takes, so it is first read at an epoch or when an engine asks, and the
    /// time before counts as used, up to an epoch.
    pub(crate) fn used(&mut self) -> Duration {
        let now = thread_cpu();
        let wall = self.wall();
        let start = *self
            .cpu_at_start
            .get_or_insert_with(|| now.saturating_sub(wall.min(EPOCH)));
        now.saturating_sub(start)
    }

    /// Returns the reason of a call that ends because its budget is used up, for people.
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
            usage: Usage::default(),
            table,
            timers: Timers::default(),
            events,
            sources: 0,
            limits,
            memory_bytes: 0,
            device_failure: None,
        }
    }

    /// Moves the firmware's clock forward, with all that is measured by it.
    pub(crate) fn advance(&mut self, time: Duration) {
        self.started = self.started.checked_sub(time).unwrap_or(self.started);
        self.timers.advance(time);
        self.calls.advance(time);
    }

    /// Runs code of the host, whose time does not count as the firmware's.
    pub(crate) fn in_host<T>(&mut self, run: impl FnOnce(&mut Self) -> T) -> T {
        let began = Instant::now();
        let result = run(self);
        self.call.in_host += began.elapsed();
        result
    }

    /// Runs code of the host that may wait for storage. Only its processor time counts as the firmware's.
    pub(crate) fn in_storage<T>(&mut self, run: impl FnOnce(&mut Self) -> T) -> T {
        let began = Instant::now();
        let cpu = thread_cpu();
        let result = self.in_host(run);
        self.call.off_cpu += began.elapsed().saturating_sub(thread_cpu().saturating_sub(cpu));
        result
    }

    /// Runs code of the host that may wait for storage and has little to do. The thread's processor time costs a call
    /// of the system, which is more than such work: its first [`LITTLE_WORK`] counts as the firmware's, the rest is a
    /// wait.
    pub(crate) fn in_storage_briefly<T>(&mut self, run: impl FnOnce(&mut Self) -> T) -> T {
        let began = Instant::now();
        let result = run(self);
        let took = began.elapsed();
        self.call.in_host += took;
        self.call.off_cpu += took.saturating_sub(LITTLE_WORK);
        result
    }

    /// Runs code that waits, for at most as long as the running call may still wait.
    pub(crate) fn waiting<T>(
        &mut self,
        most: Duration,
        run: impl FnOnce(&mut Self, Duration) -> T,
    ) -> Result<T, Fault> {
        let left = self.limits.wait.saturating_sub(self.call.waited);
        if left.is_zero() {
            let limit = self.limits.wait.as_millis();
            return Err(Fault::Limit(format!(
                "the running call has waited for {limit} ms, which is the limit"
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

    /// Counts a call that has ended.
    pub(crate) fn called(&mut self, used: Duration) {
        self.share.used(used);
        self.usage.called(used, self.call.budget);
    }

    /// Returns what was used since the last time this was asked.
    pub(crate) fn take_usage(&mut self) -> Usage {
        Usage {
            memory_bytes: self.memory_bytes,
            memory_limit_bytes: self.limits.memory_bytes,
            ..std::mem::take(&mut self.usage)
        }
    }

    /// Returns a new number for a source of events.
    pub(crate) fn next_source(&mut self) -> u32 {
        self.sources = self.sources.wrapping_add(1);
        self.sources
    }
}

/// Returns the processor time of the calling thread.
pub(crate) fn thread_cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(now.tv_sec).unwrap_or_default(),
        u32::try_from(now.tv_nsec).unwrap_or_default(),
    )
}

impl ResourceLimiter for Guest {
    /// Counts all memories together, which wasmtime's own limiter does not.
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.memory_bytes.saturating_add(desired.saturating_sub(current));
        let fits = total <= self.limits.memory_bytes;
        if fits {
            self.memory_bytes = total;
        }
        Ok(fits)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        tracing::debug!("failed to grow the firmware's memory: {error:#}; the firmware sees the refusal");
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
