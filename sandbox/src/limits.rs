//! Limits of one firmware. Enforced where each resource is used.

use std::time::Duration;

use iottly_protocol::limits as wire;

const MIB: usize = 1 << 20;

/// Size of the stack of a thread that calls an [`Instance`](crate::Instance), in bytes; the firmware's own
/// stack is part of it.
pub const THREAD_STACK_BYTES: usize = 2 << 20;

/// Resources that one firmware may use.
///
/// The defaults fit a JavaScript firmware, which needs 14 core instances, 3 memories and 3 tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Size of all linear memories together, in bytes.
    pub memory_bytes: usize,
    /// Number of core instances.
    pub instances: usize,
    /// Number of linear memories.
    pub memories: usize,
    /// Number of tables.
    pub tables: usize,
    /// Number of elements of one table.
    pub table_elements: usize,
    /// Size of a message's payload, in bytes.
    pub payload_bytes: usize,
    /// Nesting of objects and arrays in a payload.
    pub payload_depth: usize,
    /// Size of a channel's name, in bytes.
    pub channel_bytes: usize,
    /// Size of a log line, in bytes; longer ones are cut.
    pub log_bytes: usize,
    /// Log lines per second, on average and as a burst.
    pub log_lines_per_s: u32,
    /// Messages per second, on average and as a burst.
    pub sends_per_s: u32,
    /// Bytes of payloads per second, on average and as a burst; at least `payload_bytes`.
    pub send_bytes_per_s: u32,
    /// Calls of the firmware into the device per second. Further ones are refused; those without an error
    /// result trap.
    pub calls_per_s: u32,
    /// Size of the key-value state, keys and values together, in bytes.
    pub state_bytes: usize,
    /// Number of keys of the state.
    pub state_keys: usize,
    /// Size of one key, in bytes.
    pub state_key_bytes: usize,
    /// Changes of the state per second, on average and as a burst; each wears the device's storage.
    pub state_sets_per_s: u32,
    /// Number of running timers.
    pub timers: usize,
    /// Number of open pins, buses, devices, ports, outputs and inputs.
    pub handles: usize,
    /// Number of operations of one transaction on a bus.
    pub bus_operations: usize,
    /// Size of one transaction on a bus, or of one write to or read from a serial port, in bytes.
    pub bus_bytes: usize,
    /// Longest time for one transaction, or one write to a serial port.
    pub bus_wait: Duration,
    /// Longest time for all waits inside one call: transactions, serial writes, delays.
    pub wait: Duration,
    /// Share of one processor in the long run, in percent. The driver delays calls beyond it.
    pub cpu_percent: u32,
    /// Processor time of `init`, instantiation included.
    pub init: Duration,
    /// Processor time of a command handler.
    pub handle: Duration,
    /// Processor time of one pass of the loop.
    pub tick: Duration,
    /// Processor time of an event.
    pub event: Duration,
    /// Processor time of a health check.
    pub health: Duration,
    /// Processor time of `shutdown`.
    pub shutdown: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 16 * MIB,
            instances: 16,
            memories: 4,
            tables: 4,
            table_elements: 10_000,
            payload_bytes: wire::MAX_PAYLOAD_BYTES,
            payload_depth: wire::MAX_JSON_DEPTH,
            channel_bytes: wire::MAX_CHANNEL_BYTES,
            log_bytes: wire::MAX_TEXT_BYTES,
            log_lines_per_s: 50,
            sends_per_s: 1000,
            send_bytes_per_s: 4 << 20,
            calls_per_s: 500_000,
            state_bytes: 64 << 10,
            state_keys: 64,
            state_key_bytes: 128,
            state_sets_per_s: 20,
            timers: 32,
            handles: 32,
            bus_operations: 32,
            bus_bytes: 4096,
            bus_wait: Duration::from_millis(500),
            wait: Duration::from_secs(2),
            cpu_percent: 50,
            init: Duration::from_secs(2),
            handle: Duration::from_secs(1),
            tick: Duration::from_millis(100),
            event: Duration::from_millis(100),
            health: Duration::from_millis(100),
            shutdown: Duration::from_millis(500),
        }
    }
}
