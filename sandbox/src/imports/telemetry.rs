//! The interface `telemetry`.

use wasmtime::component::{Linker, WasmStr};

use super::call::{Halt, Store, answer, interface};
use crate::bindings::telemetry::Durability;
use crate::guest::Guest;
use crate::{Fault, Outgoing, payload};

/// Size of a payload up to which the host's work for a message is little, in bytes.
const SHORT_BYTES: usize = 4096;

type Args = (WasmStr, Option<WasmStr>, Durability);

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker
        .instance(&interface("telemetry"))?
        .func_wrap("send", |store: Store<'_>, args: Args| {
            answer(store, |store| send(store, &args))
        })
}

fn send(store: &mut Store<'_>, args: &Args) -> Result<(), Halt> {
    let message = outgoing(store, args)?;
    let guest = store.data_mut();
    let now = guest.started.elapsed();
    if guest.send_quota.take(now).is_none() {
        return Err(Fault::Limit(format!(
            "more than {} messages a second",
            guest.limits.sends_per_s
        ))
        .into());
    }
    let bytes = u32::try_from(message.payload.len()).unwrap_or(u32::MAX);
    if guest.send_bytes.take_many(now, bytes).is_none() {
        return Err(Fault::Limit(format!(
            "more than {} bytes of messages a second",
            guest.limits.send_bytes_per_s
        ))
        .into());
    }
    let sent = if message.payload.len() <= SHORT_BYTES {
        guest.in_storage_briefly(|guest| guest.host.send(message))
    } else {
        guest.in_storage(|guest| guest.host.send(message))
    };
    Ok(sent?)
}

/// Checks the message while its text is still in the firmware's memory; only what passes is copied.
fn outgoing(store: &Store<'_>, (payload, channel, durability): &Args) -> Result<Outgoing, Halt> {
    let limits = &store.data().limits;
    let text = payload.to_str(store)?;
    let payload = payload::check(&text, limits)?.into_owned();
    let channel = channel
        .as_ref()
        .map(|channel| channel.to_str(store))
        .transpose()?;
    if let Some(channel) = &channel {
        payload::channel(channel, limits)?;
    }
    let channel = channel.map(std::borrow::Cow::into_owned);
    if let (Some(channel), Some(allowed)) = (&channel, &store.data().profile.manifest.capabilities.channels)
        && !allowed.contains(channel)
    {
        return Err(Fault::Denied(format!(
            "channel {channel:?}: the firmware's manifest does not ask for it"
        ))
        .into());
    }
    Ok(Outgoing {
        channel,
        payload,
        durable: matches!(durability, Durability::Durable),
    })
}
