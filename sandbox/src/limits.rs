use std::time::Duration;

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
            payload_bytes: MIB,
            payload_depth: 32,
            channel_bytes: 128,
            log_bytes: 4096,
            log_lines_per_s: 50,
            init: Duration::from_secs(2),
            handle: Duration::from_secs(1),
            tick: Duration::from_millis(100),
            event: Duration::from_millis(100),
            health: Duration::from_millis(100),
            shutdown: Duration::from_millis(500),
        }
    }
}
