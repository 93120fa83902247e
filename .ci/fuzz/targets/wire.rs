//! What a device sends up and what the cloud sends down, and the payloads of the records in it.
#![no_main]

use iottly_protocol::{Down, Up};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(up) = Up::decode(bytes) {
        let _ = format!("{up:?}");
    }
    if let Ok(down) = Down::decode(bytes) {
        let _ = format!("{down:?}");
    }
});
