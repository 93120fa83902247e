//! Clocks that step under a running link. The session knows no date, so the cloud may send any time.

use iottly_protocol::{Command, CommandId};

use super::*;

/// Three hours and ten years in both directions from a date in 2026, and invalid dates, in unix milliseconds.
const DATES: [u64; 7] = {
    const NOW: u64 = 1_790_000_000_000;
    const HOURS_3: u64 = 3 * 3_600_000;
    const YEARS_10: u64 = 10 * 365 * 86_400_000;
    [
        NOW,
        NOW + HOURS_3,
        NOW - HOURS_3,
        NOW + YEARS_10,
        NOW - YEARS_10,
        0,
        u64::MAX,
    ]
};

/// A day of a link: records, acknowledgements, a lost connection, silence, a command. The welcomes carry the
/// dates.
fn day(dates: [u64; 2]) -> (Vec<String>, Vec<u64>) {
    let mut said = Vec::new();
    let mut told = Vec::new();
    let mut session = Session::new(identity(), [info(History, 1, 10), info(Control, 1, 1)], 1, 0);
    let mut note = |effects: Vec<Effect>| {
        for effect in effects {
            match effect {
                Effect::Time { cloud_ms, .. } => told.push(cloud_ms),
                Effect::Publish(bytes) => match Up::decode(&bytes).expect("own bytes") {
                    Up::Batch(batch) => said.push(format!("batch {} {}", batch.first, batch.records.len())),
                    Up::Gap(gap) => said.push(format!("gap {} {}", gap.from, gap.to)),
                    Up::Hello(hello) => said.push(format!("hello {}", hello.streams[0].oldest)),
                },
                Effect::Connect(_) => said.push("connect".to_owned()),
                other => said.push(format!("{other:?}")),
            }
        }
    };
    let mut now_ms = 0;
    for (round, time_ms) in (0..).zip(dates) {
        let hello = connect(&mut session, now_ms);
        now_ms += 1_000;
        let stream = history(&session).stream;
        let upto = history(&session).oldest - 1;
        let streams = vec![StreamPosition { stream, upto }];
        let welcome = Welcome {
            conn: hello.conn,
            time_ms,
            streams,
            checks: Vec::new(),
            enroll: None,
            capabilities: Vec::new(),
        };
        note(session.handle(Event::Down(Down::Welcome(welcome)), now_ms));
        let from = upto + 1;
        note(read(&mut session, (from..from + 3).map(record).collect(), now_ms));
        note(ack(&mut session, from, now_ms + 10));
        let values = serde_json::value::RawValue::from_string("{}".to_owned()).expect("json");
        let id = CommandId::from_bytes([round; 16]);
        let command = Command {
            id,
            cmd_type: "echo".to_owned(),
            values,
            ttl_ms: 60_000,
        };
        note(session.handle(Event::Down(Down::Command(command)), now_ms + 20));
        now_ms = session.deadline_ms().expect("an acknowledgement is due");
        note(session.handle(Event::Timer, now_ms));
        assert_eq!(session.state(), LinkState::Online, "silence costs a repetition");
        session.handle(Event::Disconnected, now_ms);
    }
    (said, told)
}

#[test]
fn what_a_link_does_is_the_same_whatever_the_dates() {
    let (expected, _) = day([DATES[0]; 2]);
    assert!(
        expected.iter().any(|said| said.starts_with("batch 1")),
        "{expected:?}"
    );
    for first in DATES {
        for second in DATES {
            let (said, told) = day([first, second]);
            assert_eq!(told, [first, second], "the date is handed on as it was told");
            assert_eq!(said, expected, "dates {first} and {second}");
        }
    }
}
