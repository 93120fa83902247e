//! Records that are sent, sent again, acknowledged and refused.

use super::*;

#[test]
fn a_new_connection_starts_behind_the_last_acknowledgement() {
    let mut session = session(1, 6);
    open(&mut session);
    read(&mut session, (1..=5).map(record).collect(), 0);
    let effects = ack(&mut session, 2, 1);
    assert!(
        matches!(
            effects[..],
            [Effect::Ack {
                class: History,
                upto: 2
            }]
        ),
        "{effects:?}"
    );
    session.handle(Event::Disconnected, 2);
    assert_eq!(session.state(), LinkState::Offline);

    let hello = connect(&mut session, 2);
    assert_eq!(hello.streams[0].oldest, 3);
    let effects = welcome(&mut session, &hello, 2, 3);
    assert_eq!(peeked(&effects), Some(3));
    assert_eq!(
        sent(&read(&mut session, (3..=5).map(record).collect(), 4)),
        [("batch", 3, 3)]
    );
}

#[test]
fn a_page_from_before_a_reconnect_is_not_sent_twice() {
    let mut session = session(1, 6);
    open(&mut session);
    session.handle(Event::Disconnected, 1);
    let hello = connect(&mut session, 1);
    // The cloud had stored two records whose acknowledgement was lost.
    let effects = welcome(&mut session, &hello, 2, 2);
    assert_eq!(peeked(&effects), None, "the first read is still under way");
    let effects = read(&mut session, (1..=5).map(record).collect(), 3);
    assert_eq!(sent(&effects), []);
    assert_eq!(peeked(&effects), Some(3));
}

#[test]
fn holes_travel_as_gaps_in_front_of_what_follows() {
    let mut session = session(1, 8);
    open(&mut session);
    let hole = |from, to| Item::Hole {
        from,
        to,
        reason: GapReason::Corruption,
    };
    let effects = read(
        &mut session,
        vec![record(1), hole(2, 4), record(5), record(6), hole(7, 7)],
        0,
    );
    assert_eq!(
        sent(&effects),
        [("batch", 1, 1), ("gap", 2, 4), ("batch", 5, 2), ("gap", 7, 7)]
    );
    let effects = ack(&mut session, 7, 0);
    assert!(
        matches!(effects[..], [Effect::Ack { upto: 7, .. }]),
        "{effects:?}"
    );
}

#[test]
fn the_window_stops_the_stream_and_acknowledgements_move_it() {
    let mut session = session(1, 1000);
    let mut effects = open(&mut session);
    let mut batches = 0;
    while let Some(from) = peeked(&effects) {
        effects = read(&mut session, vec![record(from)], 0);
        batches += 1;
        assert!(batches < 100, "the window never closes");
    }
    let effects = ack(&mut session, 1, 0);
    assert_eq!(peeked(&effects), Some(batches + 1));
}

#[test]
fn without_an_acknowledgement_everything_is_sent_again() {
    let mut session = session(1, 3);
    open(&mut session);
    read(&mut session, vec![record(1), record(2)], 100);
    let due = session.deadline_ms().expect("a deadline");
    assert!(session.handle(Event::Timer, due - 1).is_empty());
    let effects = session.handle(Event::Timer, due);
    assert_eq!(peeked(&effects), Some(1));
    assert_eq!(
        sent(&read(&mut session, vec![record(1), record(2)], due)),
        [("batch", 1, 2)]
    );
}

#[test]
fn an_acknowledgement_of_a_number_that_was_never_given_starts_a_new_stream() {
    let mut session = session(1, 3);
    open(&mut session);
    let effects = ack(&mut session, 3, 0);
    assert!(matches!(effects[..], [Effect::Remint(History)]), "{effects:?}");
    assert!(
        ack(&mut session, u64::MAX, 0).is_empty(),
        "a new stream is on its way"
    );
}

#[test]
fn a_page_may_be_newer_than_the_queue_s_notice() {
    let mut session = session(1, 3);
    open(&mut session);
    let effects = read(&mut session, vec![record(1), record(2), record(3), record(4)], 0);
    assert_eq!(sent(&effects), [("batch", 1, 4)]);
    let effects = ack(&mut session, 4, 0);
    assert!(
        matches!(
            effects[..],
            [Effect::Ack {
                class: History,
                upto: 4
            }]
        ),
        "{effects:?}"
    );
    // The notice of an earlier moment arrives now.
    let streams = [session.tracks[0].info, session.tracks[1].info].map(|info| StreamInfo {
        next: info.next.min(4),
        ..info
    });
    assert!(session.handle(Event::Streams(streams), 0).is_empty());
    assert_eq!(session.queued(), 0);
}

#[test]
fn an_acknowledgement_of_an_unknown_stream_is_ignored() {
    let mut session = session(1, 3);
    open(&mut session);
    let unknown = StreamPosition {
        stream: StreamId::random(),
        upto: 1,
    };
    assert!(session.handle(Event::Down(Down::Ack(unknown)), 0).is_empty());
}

#[test]
fn a_refused_record_becomes_a_dead_letter_and_blocks_nothing() {
    let mut session = session(1, 4);
    open(&mut session);
    read(&mut session, vec![record(1), record(2), record(3)], 0);
    let refuse = |session: &mut Session, seq| {
        let refuse = Refuse {
            stream: history(session).stream,
            seq,
            reason: "payload: not an object".into(),
        };
        session.handle(Event::Down(Down::Refuse(refuse)), 0)
    };
    let effects = refuse(&mut session, 2);
    assert!(
        matches!(
            &effects[..],
            [Effect::DeadLetter {
                class: History,
                seq: 2,
                ..
            }]
        ),
        "{effects:?}"
    );
    assert_eq!(session.refused(), 1);
    assert!(matches!(
        ack(&mut session, 3, 0)[..],
        [Effect::Ack { upto: 3, .. }]
    ));
    assert!(refuse(&mut session, 2).is_empty(), "it is gone already");
}

#[test]
fn a_failed_read_is_tried_again() {
    let mut session = session(1, 2);
    open(&mut session);
    assert!(session.handle(Event::Read(History, None), 10).is_empty());
    let due = session.deadline_ms().expect("a next attempt");
    assert!(due > 10);
    assert_eq!(peeked(&session.handle(Event::Timer, due)), Some(1));
}
