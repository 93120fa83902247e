//! Messages and their bytes per second.

use iottly_sandbox::Limits;

use super::{SEND, until_refused};
use crate::common::{firmware, start};

#[test]
fn messages_a_second() {
    let limits = Limits {
        sends_per_s: 20,
        ..Limits::default()
    };
    let (mut instance, recorder) = start(&firmware(&[("handle", SEND)]), limits);
    let (sent, refusal) = until_refused(&mut instance);
    assert!((20..2000).contains(&sent), "{sent}");
    assert_eq!(
        (refusal.as_str(), recorder.seen().sent.len()),
        ("more than 20 messages a second", sent)
    );
}

#[test]
fn bytes_of_messages_a_second() {
    let limits = Limits {
        send_bytes_per_s: 100,
        ..Limits::default()
    };
    let (mut instance, _) = start(&firmware(&[("handle", SEND)]), limits);
    let (sent, refusal) = until_refused(&mut instance);
    assert!((12..2000).contains(&sent), "{sent}");
    assert_eq!(refusal, "more than 100 bytes of messages a second");
}
