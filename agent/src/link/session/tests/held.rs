//! Verdicts on boards that share the keys of one device.

use iottly_protocol::Held;

use super::*;

fn verdict(session: &mut Session, boot: BootId, kept: Option<bool>, now_ms: u64) -> Vec<Effect> {
    session.handle(Event::Down(Down::Held(Held { boot, kept })), now_ms)
}

#[test]
fn a_held_board_connects_as_a_copy_and_sends_hellos_only() {
    let mut session = session(1, 5);
    open(&mut session);
    read(&mut session, (1..5).map(record).collect(), 9);
    let boot = session.identity.boot;
    assert!(
        verdict(&mut session, BootId::random(), None, 10).is_empty(),
        "of another board"
    );
    assert_eq!(session.copy(), None);
    let effects = verdict(&mut session, boot, None, 10);
    assert!(matches!(effects[..], [Effect::Drop(_)]), "{effects:?}");
    assert!(verdict(&mut session, boot, None, 11).is_empty(), "said once more");
    assert_eq!(session.copy(), Some(boot));
    let mut now_ms = 12;
    assert_eq!(connect(&mut session, now_ms).boot, boot);
    for _ in 0..10 {
        now_ms = session.deadline_ms().expect("another hello");
        let effects = session.handle(Event::Timer, now_ms);
        assert_eq!(hello(effects).boot, boot);
    }
    assert_eq!(
        session.deadline_ms(),
        Some(now_ms + HELD_MS),
        "the cloud hears it three times a minute"
    );

    let effects = verdict(&mut session, boot, Some(true), now_ms);
    assert!(matches!(effects[..], [Effect::Drop(_)]), "{effects:?}");
    assert_eq!(session.copy(), None);
    let again = connect(&mut session, now_ms);
    let effects = welcome(&mut session, &again, 0, now_ms);
    assert_eq!(peeked(&effects), Some(1), "it sends what has waited");
}

#[test]
fn a_board_that_was_left_connects_no_more() {
    let mut session = session(1, 5);
    open(&mut session);
    let boot = session.identity.boot;
    verdict(&mut session, boot, None, 10);
    let effects = verdict(&mut session, boot, Some(false), 11);
    assert!(
        matches!(effects[..], [Effect::Drop(_), Effect::Leave]),
        "{effects:?}"
    );
    for event in [
        Event::Disconnected,
        Event::Timer,
        Event::Connected,
        Event::Busy { after_ms: None },
    ] {
        assert!(session.handle(event, 1_000_000).is_empty());
    }
    assert!(verdict(&mut session, boot, Some(true), 12).is_empty());
    assert_eq!(session.deadline_ms(), None);
}
