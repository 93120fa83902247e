//! Connecting, hello and welcome.

use super::*;

#[test]
fn nothing_is_sent_before_the_welcome() {
    let mut session = session(1, 4);
    let hello = connect(&mut session, 0);
    assert_eq!(hello.streams, [history(&session), session.tracks[1].info]);
    assert_eq!(session.state(), LinkState::Connecting);
    let effects = session.handle(
        Event::Streams(session.tracks.each_ref().map(|track| track.info)),
        1,
    );
    assert!(effects.is_empty(), "{effects:?}");

    let mut foreign = hello.clone();
    foreign.conn = ConnId::random();
    assert!(
        welcome(&mut session, &foreign, 0, 2).is_empty(),
        "a welcome for another connection is ignored"
    );
    assert_eq!(session.state(), LinkState::Connecting);

    let effects = welcome(&mut session, &hello, 0, 3);
    assert_eq!(session.state(), LinkState::Online);
    assert_eq!(peeked(&effects), Some(1));
    let effects = read(&mut session, vec![record(1), record(2), record(3)], 4);
    assert_eq!(sent(&effects), [("batch", 1, 3)]);
    assert_eq!(peeked(&effects), None, "all is sent");
}

#[test]
fn a_welcome_moves_the_device_forward() {
    let mut session = session(1, 10);
    let hello = connect(&mut session, 0);
    let effects = welcome(&mut session, &hello, 6, 0);
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
fn an_unanswered_hello_is_repeated() {
    let mut session = session(1, 3);
    let first = connect(&mut session, 0);
    let due = session.deadline_ms().expect("a deadline");
    let second = hello(session.handle(Event::Timer, due));
    assert_eq!(first, second);
    assert!(
        session.deadline_ms().expect("a deadline") - due > due,
        "patience grows"
    );
}

#[test]
fn a_silent_broker_is_left() {
    let mut session = session(1, 1);
    session.handle(Event::Timer, 0);
    let due = session.deadline_ms().expect("a deadline");
    assert!(matches!(session.handle(Event::Timer, due)[..], [Effect::Drop(_)]));
    assert_eq!(session.state(), LinkState::Offline);
    assert!(session.deadline_ms().expect("a next attempt") > due);
}

#[test]
fn connections_that_do_not_last_are_made_less_and_less_often() {
    let pause = |session: &mut Session, lasted_ms: u64| {
        let hello = connect(session, 0);
        let now_ms = 1_000_000_000;
        welcome(session, &hello, 0, now_ms);
        session.handle(Event::Disconnected, now_ms + lasted_ms);
        let pause = session.deadline_ms().expect("a next attempt") - now_ms - lasted_ms;
        session.phase = Phase::Waiting { until_ms: 0 };
        pause
    };
    let mut session = session(1, 1);
    let short: Vec<_> = (0..20).map(|_| pause(&mut session, 10)).collect();
    // Each is random, up to a limit that grows to half a minute.
    assert!(
        short[0] <= 200 && short[10..].iter().sum::<u64>() >= 75_000,
        "{short:?}"
    );
    assert!(pause(&mut session, STABLE_MS) <= 200);
}

#[test]
fn a_device_for_which_there_is_no_room_waits_as_the_cloud_asks() {
    let mut session = session(1, 1);
    session.handle(Event::Timer, 0);
    session.handle(
        Event::Busy {
            after_ms: Some(5_000),
        },
        100,
    );
    assert_eq!(session.state(), LinkState::Offline);
    let due = session.deadline_ms().expect("a next attempt");
    assert!((5_100..=35_100).contains(&due), "{due}");
    // Each further refusal doubles the time over which the devices of a fleet spread.
    let pauses = (0..20).map(|_| {
        let due = session.deadline_ms().expect("a next attempt");
        session.handle(Event::Timer, due);
        session.handle(Event::Busy { after_ms: None }, due);
        session.deadline_ms().expect("a next attempt") - due
    });
    let pauses: Vec<_> = pauses.collect();
    assert!(pauses.iter().all(|pause| *pause <= 300_000), "{pauses:?}");
    assert!(pauses.iter().any(|pause| *pause > 60_000), "{pauses:?}");
}

#[test]
fn only_a_cloud_that_asks_for_it_gets_the_device_s_health() {
    for (names, asked) in [(vec!["health"], true), (vec!["later"], false), (vec![], false)] {
        let mut session = session(1, 1);
        let hello = connect(&mut session, 0);
        let welcome = Welcome {
            conn: hello.conn,
            time_ms: 77,
            streams: Vec::new(),
            checks: Vec::new(),
            enroll: None,
            capabilities: names.into_iter().map(str::to_owned).collect(),
        };
        let effects = session.handle(Event::Down(Down::Welcome(welcome)), 5);
        let takes = effects.iter().any(|effect| matches!(effect, Effect::TakesHealth));
        assert_eq!(takes, asked, "{effects:?}");
    }
}

#[test]
fn the_cloud_s_time_comes_with_how_long_ago_it_was_asked_for() {
    let mut session = session(1, 1);
    let hello = connect(&mut session, 1_000);
    let due = session.deadline_ms().expect("a deadline");
    session.handle(Event::Timer, due);
    let welcome = Welcome {
        conn: hello.conn,
        time_ms: 77,
        streams: Vec::new(),
        checks: Vec::new(),
        enroll: None,
        capabilities: Vec::new(),
    };
    let effects = session.handle(Event::Down(Down::Welcome(welcome)), due + 5);
    let asked_ms = due + 5 - 1_000;
    assert!(
        matches!(effects[..], [Effect::Time { cloud_ms: 77, asked_ms: asked }] if asked == asked_ms),
        "{effects:?}"
    );
}
