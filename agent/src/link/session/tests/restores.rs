//! Devices that are older than the cloud.

use super::*;

#[test]
fn a_device_older_than_the_cloud_starts_a_new_stream() {
    let mut session = session(3, 5);
    let first = connect(&mut session, 0);
    let effects = welcome(&mut session, &first, 9, 0);
    assert!(matches!(effects[..], [Effect::Remint(History)]), "{effects:?}");
    assert!(ack(&mut session, 4, 1).is_empty(), "the old stream is over");

    let fresh = [info(History, 1, 3), session.tracks[1].info];
    let effects = session.handle(Event::Streams(fresh), 2);
    let second = hello(effects);
    assert_eq!((second.conn, second.streams[0]), (first.conn, fresh[0]));
    let effects = welcome(&mut session, &second, 0, 3);
    assert_eq!(peeked(&effects), Some(1));
}

#[test]
fn the_same_length_on_both_sides_is_no_restore() {
    let mut session = session(5, 5);
    let hello = connect(&mut session, 0);
    assert!(welcome(&mut session, &hello, 4, 0).is_empty());
}

/// A message as the queue holds it.
fn message(seq: u64, text: &str) -> Item {
    let record = format!(r#"{{"message":{{"type":"userdefined","at_ms":{seq},"payload":"{text}"}}}}"#);
    Item::Record {
        seq,
        record: record.into_bytes(),
    }
}

fn hash(item: &Item) -> u32 {
    let Item::Record { record, .. } = item else {
        panic!("{item:?}")
    };
    serde_json::from_slice::<iottly_protocol::Record<'_>>(record)
        .expect("a record")
        .fingerprint()
}

/// Welcome of a cloud at position `upto` with a record under `seq`.
fn welcome_with(session: &mut Session, hello: &Hello, upto: u64, seq: u64, known: &Item) -> Vec<Effect> {
    let stream = history(session).stream;
    let streams = vec![StreamPosition { stream, upto }];
    let checks = vec![StreamCheck {
        stream,
        seq,
        hash: hash(known),
    }];
    let welcome = Welcome {
        conn: hello.conn,
        time_ms: 0,
        streams,
        checks,
        enroll: None,
        capabilities: Vec::new(),
    };
    greeted(session.handle(Event::Down(Down::Welcome(welcome)), 0))
}

#[test]
fn a_device_whose_acknowledgement_was_lost_finds_its_own_record_in_the_cloud() {
    let mut session = session(3, 10);
    let hello = connect(&mut session, 0);
    let effects = welcome_with(&mut session, &hello, 6, 6, &message(6, "ours"));
    assert!(
        matches!(
            effects[..],
            [Effect::Peek {
                class: History,
                from: 6,
                max_records: 1,
                ..
            }]
        ),
        "{effects:?}"
    );
    assert!(
        ack(&mut session, 6, 1).is_empty(),
        "nothing is forgotten before the comparison"
    );
    let effects = read(&mut session, vec![message(6, "ours")], 2);
    assert!(
        matches!(
            effects[0],
            Effect::Ack {
                class: History,
                upto: 6
            }
        ),
        "{effects:?}"
    );
    assert_eq!(peeked(&effects), Some(7));
}

#[test]
fn a_device_that_gave_numbers_anew_starts_a_new_stream() {
    let mut session = session(3, 10);
    let hello = connect(&mut session, 0);
    welcome_with(
        &mut session,
        &hello,
        6,
        6,
        &message(6, "of the device's former life"),
    );
    let effects = read(&mut session, vec![message(6, "ours")], 2);
    assert!(matches!(effects[..], [Effect::Remint(History)]), "{effects:?}");
    assert!(ack(&mut session, 6, 3).is_empty(), "the old stream is over");
}

#[test]
fn a_number_above_the_cloud_s_position_that_was_never_given_is_a_restore_too() {
    let mut session = session(3, 10);
    let hello = connect(&mut session, 0);
    let effects = welcome_with(
        &mut session,
        &hello,
        6,
        10,
        &message(10, "of the device's former life"),
    );
    assert!(matches!(effects[..], [Effect::Remint(History)]), "{effects:?}");
}

#[test]
fn what_is_acknowledged_is_not_compared() {
    let mut session = session(3, 10);
    let hello = connect(&mut session, 0);
    let effects = welcome_with(&mut session, &hello, 2, 2, &message(2, "known to both"));
    assert_eq!(peeked(&effects), Some(3));
}

#[test]
fn a_lost_record_that_this_agent_published_is_the_cloud_s() {
    let mut session = session(3, 10);
    open(&mut session);
    read(
        &mut session,
        vec![message(3, "ours"), message(4, "ours"), message(5, "ours")],
        1,
    );
    session.handle(Event::Disconnected, 2);
    let hello = connect(&mut session, 2);
    welcome_with(&mut session, &hello, 5, 5, &message(5, "ours"));
    let effects = read(
        &mut session,
        vec![Item::Hole {
            from: 5,
            to: 5,
            reason: GapReason::Budget,
        }],
        3,
    );
    assert!(
        matches!(
            effects[0],
            Effect::Ack {
                class: History,
                upto: 5
            }
        ),
        "{effects:?}"
    );
}

#[test]
fn a_lost_record_that_an_earlier_run_published_may_be_another_one() {
    let mut session = session(3, 10);
    let hello = connect(&mut session, 0);
    welcome_with(
        &mut session,
        &hello,
        6,
        5,
        &message(5, "of the device's former life"),
    );
    let hole = Item::Hole {
        from: 5,
        to: 5,
        reason: GapReason::Budget,
    };
    let effects = read(&mut session, vec![hole], 2);
    assert!(matches!(effects[..], [Effect::Remint(History)]), "{effects:?}");
}

#[test]
fn a_comparison_waits_for_the_read_before_it_and_survives_a_failed_one() {
    let mut session = session(3, 10);
    open(&mut session);
    session.handle(Event::Disconnected, 0);
    let hello = connect(&mut session, 0);
    assert_eq!(
        peeked(&welcome_with(&mut session, &hello, 6, 6, &message(6, "ours"))),
        None,
        "the first read is under way"
    );
    let effects = read(&mut session, vec![message(3, "x"), message(4, "x")], 1);
    assert_eq!(sent(&effects), [], "it was asked for on the old connection");
    assert_eq!(peeked(&effects), Some(6));
    assert!(session.handle(Event::Read(History, None), 2).is_empty());
    let due = session.deadline_ms().expect("a next attempt");
    assert_eq!(peeked(&session.handle(Event::Timer, due)), Some(6));
}

#[test]
fn a_hello_names_what_is_lost_and_not_yet_told_as_still_here() {
    // Numbers 3 to 6 are a gap unknown to the cloud: it must arrive as the device's gap, not as a restore.
    let mut session = session(3, 10);
    let hello = connect(&mut session, 0);
    assert_eq!((hello.streams[0].oldest, hello.streams[0].next), (3, 10));
    welcome(&mut session, &hello, 2, 0);
    let hole = Item::Hole {
        from: 3,
        to: 6,
        reason: GapReason::Budget,
    };
    assert_eq!(
        sent(&read(&mut session, vec![hole, record(7)], 0)),
        [("gap", 3, 6), ("batch", 7, 1)]
    );
}

/// Welcome of a hostile cloud: a number that was never assigned.
fn beyond(session: &mut Session, hello: &Hello, now_ms: u64) -> Vec<Effect> {
    welcome(session, hello, 1 << 53, now_ms)
}

#[test]
fn a_cloud_gets_one_new_stream_an_hour_and_then_a_dropped_link() {
    let mut session = session(3, 5);
    let mut now_ms = 0;
    let mut minted = 0;
    let mut hellos = 0;
    let mut next = None;
    while now_ms < 10 * MINT_EVERY_MS {
        let said = match next.take() {
            Some(hello) => hello,
            None => connect(&mut session, now_ms),
        };
        now_ms = now_ms.max(session.deadline_ms().expect("a deadline") - WELCOME_MIN_MS);
        hellos += 1;
        let effects = beyond(&mut session, &said, now_ms);
        match effects[..] {
            [Effect::Remint(History)] => {
                minted += 1;
                let fresh = [info(History, 1, 3), session.tracks[1].info];
                next = Some(hello(session.handle(Event::Streams(fresh), now_ms)));
            }
            [Effect::Drop(_)] => {
                assert_eq!(session.state(), LinkState::Offline);
                now_ms = session.deadline_ms().expect("a next attempt");
            }
            _ => panic!("{effects:?}"),
        }
    }
    assert!((9..=11).contains(&minted), "{minted} new streams in ten hours");
    assert!(
        hellos < 10 * 400,
        "{hellos} hellos in ten hours: the pauses do not grow"
    );
}

#[test]
fn a_new_stream_of_the_run_before_counts() {
    let mut session = session(3, 5);
    session.minted([Some(MINT_EVERY_MS - 1_000), None], 0);
    let hello = connect(&mut session, 0);
    assert!(matches!(beyond(&mut session, &hello, 999)[..], [Effect::Drop(_)]));
    let hello = connect(&mut session, 1_000);
    assert!(matches!(
        beyond(&mut session, &hello, 1_000)[..],
        [Effect::Remint(History)]
    ));
}

#[test]
fn a_new_stream_that_did_not_come_about_is_asked_for_again() {
    let mut session = session(3, 5);
    for now_ms in [0, 100_000] {
        let hello = connect(&mut session, now_ms);
        assert!(matches!(
            beyond(&mut session, &hello, now_ms)[..],
            [Effect::Remint(History)]
        ));
        session.handle(Event::Disconnected, now_ms);
    }
}

#[test]
fn a_comparison_that_fails_again_within_the_hour_drops_the_link() {
    let mut session = session(3, 10);
    session.minted([Some(0), None], 0);
    let hello = connect(&mut session, 0);
    welcome_with(&mut session, &hello, 6, 6, &message(6, "of another life"));
    let effects = read(&mut session, vec![message(6, "ours")], 2);
    assert!(matches!(effects[..], [Effect::Drop(_)]), "{effects:?}");
    assert_eq!(session.state(), LinkState::Offline);
}
