use iottly_protocol::MessageKind;

use super::watcher::{QUEUE_MESSAGES, QUEUE_PRESENCES};
use super::*;
use iottly_core::ingest::ObservedRecord;
use iottly_core::model::MessageId;
use iottly_core::presence::Shown;

fn message(project: u8, device: DeviceId, number: i64) -> StoredMessage {
    StoredMessage {
        id: MessageId([0; 12]),
        scope: Scope {
            project: ProjectId::from_bytes([project; 12]),
            device,
        },
        kind: MessageKind::UserDefined,
        timestamp: number,
        device_timestamp: 0,
        channel: None,
        payload: serde_json::value::to_raw_value(&number).expect("a number"),
        origin: None,
        firmware: None,
    }
}

#[tokio::test]
async fn watchers_see_their_own_scope_only() {
    let hub = LiveHub::default();
    let (mine, other) = (DeviceId::random(), DeviceId::random());
    let project = ProjectId::from_bytes([1; 12]);
    let mut device = hub
        .watch(Watch {
            project,
            device: Some(mine),
        })
        .expect("admitted");
    let mut all = hub
        .watch(Watch {
            project,
            device: None,
        })
        .expect("admitted");
    hub.publish(&message(1, other, 1));
    hub.publish(&message(2, mine, 2));
    hub.publish(&message(1, mine, 3));
    assert!(matches!(device.recv().await, LiveEvent::Message(m) if m.timestamp == 3));
    assert!(matches!(all.recv().await, LiveEvent::Message(m) if m.timestamp == 1));
    assert!(matches!(all.recv().await, LiveEvent::Message(m) if m.timestamp == 3));
}

#[tokio::test]
async fn a_slow_watcher_is_told_what_it_missed() {
    let hub = LiveHub::default();
    let device = DeviceId::random();
    let mut stream = hub
        .watch(Watch {
            project: ProjectId::from_bytes([1; 12]),
            device: None,
        })
        .expect("admitted");
    for number in 0..300 {
        hub.publish(&message(1, device, number));
    }
    assert!(matches!(stream.recv().await, LiveEvent::Lagged(44)));
    assert!(matches!(stream.recv().await, LiveEvent::Message(m) if m.timestamp == 44));
}

fn presence(device: DeviceId, online: bool) -> PresenceChange {
    PresenceChange {
        scope: Scope {
            project: ProjectId::from_bytes([1; 12]),
            device,
        },
        online,
        view: View {
            shown: Shown::Offline { since: None },
            proof: None,
        },
    }
}

#[tokio::test]
async fn messages_drive_no_presence_out_and_of_each_device_the_latest_is_told() {
    let hub = LiveHub::default();
    let device = DeviceId::random();
    let mut page = hub.watch(of_project(1)).expect("admitted");
    let mut list = hub.watch_presence(of_project(1).project).expect("admitted");
    hub.publish_presence(presence(device, true));
    for number in 0..300 {
        hub.publish(&message(1, device, number));
    }
    hub.publish_presence(presence(device, false));
    for stream in [&mut page, &mut list] {
        assert!(matches!(stream.ready(), Some(LiveEvent::Presence(change)) if !change.online));
    }
    assert!(matches!(page.ready(), Some(LiveEvent::Lagged(44))));
    assert!(list.ready().is_none(), "it gets no messages");
    let twice = DeviceId::random();
    hub.publish_presence(presence(twice, true));
    for _ in 0..QUEUE_PRESENCES {
        hub.publish_presence(presence(DeviceId::random(), true));
    }
    hub.publish_presence(presence(twice, false));
    assert!(matches!(list.ready(), Some(LiveEvent::PresenceSkipped)));
    assert!(matches!(list.ready(), Some(LiveEvent::Presence(change)) if !change.online));
    assert!(list.ready().is_none());
}

#[test]
fn a_watcher_of_some_devices_gets_theirs_alone() {
    let hub = LiveHub::default();
    let (mine, other) = (DeviceId::random(), DeviceId::random());
    let mut stream = hub.watch_some(of_project(1).project, &[mine]).expect("admitted");
    hub.publish(&message(1, other, 1));
    hub.publish_presence(presence(other, true));
    hub.publish(&message(1, mine, 2));
    assert!(matches!(stream.ready(), Some(LiveEvent::Message(m)) if m.timestamp == 2));
    assert!(stream.ready().is_none());
    let scope = |device| presence(device, true).scope;
    assert!(hub.is_watched(scope(mine)) && !hub.is_watched(scope(other)));
    drop(stream);
    assert!(!hub.is_watched(scope(mine)));
}

#[tokio::test]
async fn a_developer_sees_the_log_of_the_chosen_devices_and_takes_one_place() {
    let hub = LiveHub::default();
    let project = ProjectId::from_bytes([1; 12]);
    let devices: Vec<_> = (1..=16u8).map(|n| DeviceId::from_bytes([n; 16])).collect();
    let mut held: Vec<_> = (0..MAX_PER_PROJECT - 1)
        .map(|_| hub.watch(of_project(1)).expect("admitted"))
        .collect();
    let mut stream = hub.watch_devices(project, devices.clone()).expect("admitted");
    assert!(hub.watch(of_project(1)).is_err(), "all places are taken");
    let line = |project: u8, device: DeviceId, text: &str| Observed {
        scope: Scope {
            project: ProjectId::from_bytes([project; 12]),
            device,
        },
        received: 1,
        what: ObservedRecord::Log(iottly_protocol::LogLine {
            level: iottly_protocol::Level::Info,
            text: text.into(),
            at_ms: 1,
            firmware: None,
        }),
    };
    hub.publish_observed(&line(2, devices[0], "of another project"));
    hub.publish_observed(&line(1, DeviceId::from_bytes([99; 16]), "of another device"));
    hub.publish_observed(&line(1, devices[15], "mine"));
    hub.publish(&message(1, devices[0], 7));
    let LiveEvent::Observed(seen) = stream.recv().await else {
        panic!("a line")
    };
    assert!(matches!(&seen.what, ObservedRecord::Log(line) if line.text == "mine"));
    assert!(matches!(stream.recv().await, LiveEvent::Message(m) if m.timestamp == 7));
    for _ in 0..QUEUE_MESSAGES + 3 {
        hub.publish_observed(&line(1, devices[1], "again"));
    }
    assert!(matches!(stream.recv().await, LiveEvent::Lagged(3)));
    assert!(
        matches!(held[0].recv().await, LiveEvent::Message(m) if m.timestamp == 7),
        "others get messages alone"
    );
    assert!(held[0].watcher.pop().is_none());
}

fn of_project(project: u8) -> Watch {
    Watch {
        project: ProjectId::from_bytes([project; 12]),
        device: None,
    }
}

#[test]
fn a_project_has_its_share_and_gets_it_back() {
    let hub = LiveHub::default();
    let mut held: Vec<_> = (0..MAX_PER_PROJECT)
        .map(|_| hub.watch(of_project(1)).expect("admitted"))
        .collect();
    let one_device = Watch {
        device: Some(DeviceId::random()),
        ..of_project(1)
    };
    for refused in [of_project(1), one_device] {
        assert_eq!(hub.watch(refused).expect_err("full"), TooManyWatchers::Project);
    }
    assert!(hub.watch(of_project(2)).is_ok(), "others are not concerned");
    held.pop();
    assert!(hub.watch(one_device).is_ok());
}

#[tokio::test]
async fn when_all_places_are_taken_the_busiest_project_gives_one_up() {
    let hub = LiveHub::default();
    let share = MAX_WATCHERS / 8;
    let wanted = (0..8u8).flat_map(|project| (0..share).map(move |_| of_project(project)));
    let held: Vec<_> = wanted.map(|what| hub.watch(what).expect("admitted")).collect();
    let mut late = hub.watch(of_project(9)).expect("at the cost of another");
    assert_eq!(held.len(), MAX_WATCHERS);
    let mut ended = 0;
    for stream in &held {
        ended += usize::from(
            stream
                .watcher
                .pop()
                .is_some_and(|event| matches!(event, LiveEvent::Ended)),
        );
    }
    assert_eq!(ended, 1, "one place was needed");
    hub.publish(&message(9, DeviceId::random(), 5));
    assert!(matches!(late.recv().await, LiveEvent::Message(m) if m.timestamp == 5));
}

#[test]
fn where_all_have_as_much_nobody_gives_way() {
    let hub = LiveHub::default();
    let held: Vec<_> = (0..=255u8)
        .map(|project| hub.watch(of_project(project)).expect("admitted"))
        .collect();
    assert_eq!(hub.watch(of_project(3)).expect_err("full"), TooManyWatchers::All);
    drop(held);
    assert!(hub.watch(of_project(3)).is_ok());
}

#[tokio::test]
async fn pages_learn_once_which_parts_have_changed() {
    let hub = LiveHub::default();
    let (mine, other) = (DeviceId::random(), DeviceId::random());
    let project = ProjectId::from_bytes([1; 12]);
    let of = |device| Watch { project, device };
    let mut page = hub.watch(of(Some(mine))).expect("admitted").for_page();
    let mut all = hub.watch(of(None)).expect("admitted").for_page();
    let mut feed = hub.watch(of(None)).expect("admitted");
    for _ in 0..QUEUE_MESSAGES * 2 {
        hub.changed(project, Some(mine), Parts::COMMAND);
    }
    hub.changed(project, Some(mine), Parts::DEVICE);
    hub.changed(project, Some(other), Parts::CRASH);
    hub.changed(ProjectId::from_bytes([2; 12]), None, Parts::ALERT);
    let both = Parts::COMMAND | Parts::DEVICE;
    assert!(matches!(page.recv().await, LiveEvent::Changed(parts) if parts == both));
    assert!(page.ready().is_none());
    assert!(matches!(all.recv().await, LiveEvent::Changed(parts) if parts == both | Parts::CRASH));
    assert!(feed.ready().is_none(), "programs get what the API describes");
    hub.changed(project, None, Parts::GROUP);
    assert!(matches!(page.recv().await, LiveEvent::Changed(parts) if parts == Parts::GROUP));
}
