//! The interface `log`.

use iottly_protocol::Level;
use iottly_protocol::limits::clip;
use wasmtime::component::{Linker, WasmStr};

use super::call::{Store, count, interface};
use crate::bindings::log::Level as WitLevel;
use crate::guest::Guest;

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.instance(&interface("log"))?.func_wrap(
        "write",
        |mut store: Store<'_>, (level, text): (WitLevel, WasmStr)| {
            count(&mut store)?;
            let now = store.data().started.elapsed();
            let Some(dropped) = store.data_mut().log_quota.take(now) else {
                return Ok(());
            };
            let line = clip(&text.to_str(&store)?, store.data().limits.log_bytes).to_owned();
            store.data_mut().in_host(|guest| {
                if dropped > 0 {
                    guest.host.log(
                        Level::Warn,
                        &format!("{dropped} log lines dropped: too many a second"),
                    );
                }
                guest.host.log(level.into(), &line);
            });
            Ok(())
        },
    )
}

impl From<WitLevel> for Level {
    fn from(level: WitLevel) -> Self {
        match level {
            WitLevel::Trace => Self::Trace,
            WitLevel::Debug => Self::Debug,
            WitLevel::Info => Self::Info,
            WitLevel::Warn => Self::Warn,
            WitLevel::Error => Self::Error,
        }
    }
}
