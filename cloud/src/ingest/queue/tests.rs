use std::time::Duration;

use iottly_protocol::{BootId, ConnId, Hello, Versions};

use super::*;

fn scope(project: u8, device: u8) -> Scope {
    Scope {
        project: ProjectId::from_bytes([project; 12]),
        device: DeviceId::from_bytes([device; 16]),
    }
}

async fn push(queue: &Queue, scope: Scope, at: UnixMs, what: What) {
    let room = queue.room(scope, 100).await;
    queue.push(Job {
        scope,
        at,
        what,
        room,
    });
}

fn bad() -> What {
    What::Publish(Err("bad".into()))
}

fn hello() -> What {
    let versions = Versions {
        agent: "1".into(),
        runtime: "1".into(),
        firmware_abi: "1".into(),
    };
    let (boot, conn) = (BootId::random(), ConnId::random());
    let hello = Hello {
        boot,
        conn,
        versions,
        capabilities: Vec::new(),
        directive_counter: 0,
        hardware: None,
        streams: Vec::new(),
    };
    What::Publish(Ok(Decoded::Hello(hello)))
}

fn order(queue: &Queue) -> Vec<(u8, u8, UnixMs)> {
    let name = |job: Job| {
        (
            job.scope.project.as_bytes()[0],
            job.scope.device.as_bytes()[0],
            job.at,
        )
    };
    std::iter::from_fn(|| queue.pop()).map(name).collect()
}

#[tokio::test]
async fn projects_take_turns_and_so_do_their_devices() {
    let queue = Queue::default();
    for at in 0..4 {
        push(&queue, scope(1, 1), at, bad()).await;
    }
    push(&queue, scope(1, 2), 10, bad()).await;
    push(&queue, scope(2, 3), 20, bad()).await;
    push(&queue, scope(2, 3), 21, bad()).await;
    assert_eq!(queue.depth().0, 7);
    assert_eq!(
        order(&queue),
        [
            (1, 1, 0),
            (2, 3, 20),
            (1, 2, 10),
            (2, 3, 21),
            (1, 1, 1),
            (1, 1, 2),
            (1, 1, 3)
        ],
        "no other device waits behind the four jobs of one device"
    );
    assert_eq!(queue.depth(), (0, 0));
}

#[tokio::test]
async fn only_the_newest_hello_of_a_device_waits() {
    let queue = Queue::default();
    push(&queue, scope(1, 1), 1, hello()).await;
    push(&queue, scope(1, 1), 2, bad()).await;
    push(&queue, scope(1, 2), 3, hello()).await;
    for at in 4..2000 {
        push(&queue, scope(1, 1), at, hello()).await;
    }
    assert_eq!(order(&queue), [(1, 1, 2), (1, 2, 3), (1, 1, 1999)]);
}

#[tokio::test]
async fn a_device_that_sends_too_much_waits_and_nobody_else_does() {
    let queue = Queue::default();
    let mut held = Vec::new();
    while let Ok(room) =
        tokio::time::timeout(Duration::from_millis(50), queue.room(scope(1, 1), 1 << 20)).await
    {
        held.push(room);
    }
    assert_eq!(held.len(), DEVICE_BYTES >> 20);
    held.push(queue.room(scope(1, 2), 1 << 20).await);
    for device in 3..30 {
        while let Ok(room) =
            tokio::time::timeout(Duration::from_millis(5), queue.room(scope(1, device), 1 << 20)).await
        {
            held.push(room);
        }
    }
    assert_eq!(held.len(), PROJECT_BYTES >> 20, "a project has its share");
    held.push(queue.room(scope(2, 1), 2 << 20).await);
    drop(held);
    assert_eq!(queue.depth(), (0, 0));
}

#[tokio::test]
async fn budgets_of_devices_that_are_gone_are_forgotten() {
    let queue = Queue::default();
    for n in 0..10_000u16 {
        let [high, low] = n.to_be_bytes();
        let mut device = [0; 16];
        (device[0], device[1]) = (high, low);
        drop(
            queue
                .room(
                    Scope {
                        device: DeviceId::from_bytes(device),
                        ..scope(1, 0)
                    },
                    1,
                )
                .await,
        );
    }
    assert!(queue.budgets.lock().expect("unpoisoned").of.len() <= SPARE_BUDGETS + 1);
}

#[tokio::test]
async fn a_closed_queue_takes_nothing_and_ends_when_it_is_empty() {
    let queue = Queue::default();
    push(&queue, scope(1, 1), 1, bad()).await;
    queue.close();
    push(&queue, scope(1, 1), 2, bad()).await;
    assert!(queue.ready().await);
    assert_eq!(order(&queue), [(1, 1, 1)]);
    assert!(!queue.ready().await);
}

#[tokio::test]
async fn a_change_of_a_device_counts_as_several_records() {
    let queue = Queue::default();
    push(&queue, scope(1, 1), 1, hello()).await;
    push(&queue, scope(1, 1), 2, What::Disconnected).await;
    let rows: Vec<usize> = std::iter::from_fn(|| queue.pop()).map(|job| job.rows()).collect();
    assert_eq!(rows, [OWN_STATEMENTS, OWN_STATEMENTS]);
}
