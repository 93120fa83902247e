use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmStr};

use crate::bindings::telemetry::Durability;
use crate::bindings::types;
use crate::guest::Guest;
use crate::{Fault, Outgoing, payload};

type Args = (WasmStr, Option<WasmStr>, Durability);

pub(crate) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.instance("iottly:firmware/telemetry@0.1.0")?.func_wrap("send", |mut store: StoreContextMut<'_, Guest>, args: Args| {
        let sent = match outgoing(&store, &args)? {
            Ok(message) => store.data_mut().in_host(|host| host.send(message)),
            Err(fault) => Err(fault),
        };
        Ok((sent.map_err(types::Fault::from),))
    })
}

/// Checks while the text still lies in the firmware's memory; only what passes is copied.
fn outgoing(
    store: &StoreContextMut<'_, Guest>,
    (payload, channel, durability): &Args,
) -> wasmtime::Result<Result<Outgoing, Fault>> {
    let limits = &store.data().limits;
    let text = payload.to_str(store)?;
    if let Err(fault) = payload::check(&text, limits) {
        return Ok(Err(fault));
    }
    let channel = match channel {
        Some(name) => {
            let name = name.to_str(store)?;
            match check_channel(&name, limits.channel_bytes) {
                Ok(()) => Some(name.into_owned()),
                Err(fault) => return Ok(Err(fault)),
            }
        }
        None => None,
    };
    Ok(Ok(Outgoing { channel, payload: text.into_owned(), durable: matches!(durability, Durability::Durable) }))
}

fn check_channel(name: &str, limit: usize) -> Result<(), Fault> {
    if name.is_empty() {
        return Err(Fault::Invalid("the channel's name is empty".to_owned()));
    }
    if name.len() > limit {
        return Err(Fault::Limit(format!("the channel's name has {} bytes, the limit is {limit}", name.len())));
    }
    if name.chars().any(char::is_control) {
        return Err(Fault::Invalid("the channel's name contains control characters".to_owned()));
    }
    Ok(())
}
