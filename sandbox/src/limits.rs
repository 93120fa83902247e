use std::time::Duration;

use iottly_protocol::limits as wire;

const MIB: usize = 1 << 20;

/// What one firmware may use.
///
/// The defaults fit a JavaScript firmware, which needs 14 core instances, 3 memories and 3 tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all linear memories together.
    pub memory_bytes: usize,
    /// Core instances.
    pub instances: usize,
    /// Linear memories.
    pub memories: usize,
    /// Tables.
    pub tables: usize,
    /// Elements of one table.
    pub table_elements: usize,
    /// Bytes of a message's payload.
    pub payload_bytes: usize,
    /// Nesting of objects and arrays in a payload.
    pub payload_depth: usize,
    /// Bytes of a channel name.
    pub channel_bytes: usize,
    /// Bytes of a log line; longer ones are cut.
    pub log_bytes: usize,
    /// Log lines a second, on average and as a burst.
    pub log_lines_per_s: u32,
    /// Messages a second, on average and as a burst.
    pub sends_per_s: u32,
    /// Bytes of payloads a second, on average and as a burst; at least `payload_bytes`.
    pub send_bytes_per_s: u32,
    /// Calls of the firmware into the device a second. More are refused; those that cannot answer a refusal
    /// are a trap.
    pub calls_per_s: u32,
    /// Bytes of the key-value state, keys and values together.
    pub state_bytes: usize,
    /// Keys of the state.
    pub state_keys: usize,
    /// Bytes of one key.
    pub state_key_bytes: usize,
    /// Changes of the state a second, on average and as a burst; each wears the device's storage.
    pub state_sets_per_s: u32,
    /// Timers that run at once.
    pub timers: usize,
    /// Pins, buses, devices, ports, outputs and inputs that are open at once.
    pub handles: usize,
    /// Operations of one transaction on a bus.
    pub bus_operations: usize,
    /// Bytes of one transaction on a bus, or of one write to or read from a serial port.
    pub bus_bytes: usize,
    /// How long one transaction, or one write to a serial port, may take.
    pub bus_wait: Duration,
    /// How long all waiting inside one call may take: transactions, serial writes, delays.
    pub wait: Duration,
    /// Share of one processor in the long run, percent. Calls beyond it wait.
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
