//! Lists of devices: pages, counts, and what filters get.

use iottly_core::model::{Device, Scope, SecretHash};
use iottly_protocol::{DeviceId, GroupId, ProjectId};
use iottly_store::{Attention, DeviceCounts, DeviceNeeds, DevicePlace, DigestCount, GroupCounts, NewDevice};

use super::Setup;

/// Adds devices to the project, with the ids 2, 3 and so on.
async fn add(setup: &Setup, names: &[&str], secret: SecretHash) {
    let known = setup
        .store
        .devices(setup.scope.project)
        .await
        .expect("reads")
        .len();
    for (number, name) in names.iter().enumerate() {
        let id = u8::try_from(known + 1 + number).expect("a few");
        let new = NewDevice {
            scope: Scope {
                project: setup.scope.project,
                device: DeviceId::from_bytes([id; 16]),
            },
            name: (*name).to_owned(),
            group: GroupId::from_bytes([1; 16]),
            secret,
        };
        setup.store.create_device(&new).await.expect("created");
    }
}

fn ids(devices: &[Device]) -> Vec<u8> {
    devices
        .iter()
        .map(|device| device.scope.device.as_bytes()[0])
        .collect()
}

/// Devices of the same name are neither repeated nor left out at the end of a page.
pub(crate) async fn pages_of_devices_have_each_device_once(setup: Setup) {
    let names = ["b", "a", "a", "a", "Ä", "c", "a-10", "a-2", "a-02"];
    add(&setup, &names, SecretHash::NONE).await;
    let all = setup.store.devices(setup.scope.project).await.expect("reads");
    let place = |wanted: &str| all.iter().position(|device| device.name == wanted);
    assert!(place("a-2") < place("a-10"), "in natural order");
    for size in 1..=all.len() {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = setup
                .store
                .device_page(setup.scope.project, after.as_ref(), size)
                .await
                .expect("reads");
            let Some(last) = page.last() else { break };
            let place = DevicePlace::of(last);
            seen.extend(page);
            let until = setup.store.devices_until(setup.scope.project, &place).await;
            assert_eq!(until.expect("counts"), seen.len());
            after = Some(place);
        }
        assert_eq!(seen, all, "pages of {size}");
    }
    let wanted = [3, 1, 200].map(|id| DeviceId::from_bytes([id; 16]));
    let found = setup
        .store
        .devices_with_ids(setup.scope.project, &wanted)
        .await
        .expect("reads");
    assert_eq!(ids(&found), [3, 1], "by name; a strange id is left out");
    let stranger = ProjectId::from_bytes([9; 12]);
    for found in [
        setup.store.device_page(stranger, None, 10).await,
        setup.store.devices_with_ids(stranger, &wanted).await,
    ] {
        assert!(found.expect("reads").is_empty(), "another project");
    }
}

pub(crate) async fn devices_are_counted_as_they_are(setup: Setup) {
    add(&setup, &["2", "3", "4", "5"], SecretHash::NONE).await;
    add(&setup, &["6"], SecretHash::of(b"lasts")).await;
    let report = |state: &str, detail: &str| {
        format!(r#"{{"state":"{state}","digest":"","detail":"{detail}","at_ms":1}}"#)
    };
    let quoted = r#"\"state\":\"quarantined\""#;
    setup
        .vandalise(&format!(
            "UPDATE devices SET online = true, absent_from = 0, absent_until = 9000 WHERE name = '2'; \
             UPDATE devices SET absent_from = 100, absent_until = 200, firmware = '{}' WHERE name = '3'; \
             UPDATE devices SET firmware = '{}' WHERE name = '4'",
            report("running", quoted),
            report("quarantined", "")
        ))
        .await;
    let counts = DeviceCounts {
        total: 6,
        online: 1,
        absent: 1,
        quarantined: 1,
        legacy: 2,
    };
    let counted = async |now| {
        setup
            .store
            .device_counts(setup.scope.project, now)
            .await
            .expect("counts")
    };
    assert_eq!(counted(100).await, counts);
    for now in [99, 200] {
        assert_eq!(counted(now).await, DeviceCounts { absent: 0, ..counts }, "{now}");
    }
    let stranger = ProjectId::from_bytes([9; 12]);
    let none = setup.store.device_counts(stranger, 100).await.expect("counts");
    assert_eq!(none, DeviceCounts::default());
    let groups = setup
        .store
        .group_counts(setup.scope.project)
        .await
        .expect("counts");
    let one = GroupCounts {
        group: GroupId::from_bytes([1; 16]),
        total: 6,
        online: 1,
    };
    assert_eq!(groups, [one]);
    let failed = setup.store.quarantined_devices(setup.scope.project, 5).await;
    assert_eq!(ids(&failed.expect("reads")), [4]);
    let attention = setup.store.attention(setup.scope.project).await.expect("counts");
    assert_eq!(attention, Attention::default());
}

/// A filter gets what it needs as it is, and nothing else of what is costly.
pub(crate) async fn filters_get_what_they_need(setup: Setup) {
    add(&setup, &["b \"q\" \\ \u{202e}ä", "a"], SecretHash::NONE).await;
    setup
        .vandalise(
            r#"UPDATE devices SET firmware = '{"state":"running","digest":"5d","at_ms":1}', tags = '["x","\"y"]', mac = 'b8:27',
            agent_version = '1.4.0', online = true, online_since = 7, proof_packet = 'ping', proof_at = 9, absent_from = 1,
            absent_until = 99, absent_reason = 'a "reason"', root_version = 3 WHERE name = 'a';
            INSERT INTO licences (project, code, device, created, expires, paired)
            SELECT project, 'used', id, 1, 2, 1 FROM devices WHERE name = 'a'"#,
        )
        .await;
    let all = setup.store.devices(setup.scope.project).await.expect("reads");
    assert!(all.iter().any(|device| device.proof.is_some()), "{all:?}");
    assert!(all.iter().any(|device| device.pair_code.is_some()), "{all:?}");
    for listed in &all {
        let one = setup.store.device(listed.scope).await.expect("reads");
        assert_eq!(one.as_ref(), Some(listed), "read as one row");
    }
    for bits in 0..128_u8 {
        let is = |bit: u8| bits & (1 << bit) != 0;
        let needs = DeviceNeeds {
            board: is(0),
            tags: is(1),
            presence: is(2),
            firmware: is(3),
            legacy: is(4),
            pair_code: is(5),
            root: is(6),
        };
        let mut found = setup
            .store
            .devices_with(setup.scope.project, needs)
            .await
            .expect("reads");
        found.sort_by_key(DevicePlace::of);
        let mut expected = all.clone();
        for device in &mut expected {
            device.legacy &= needs.legacy;
            device.firmware.take_if(|_| !needs.firmware);
            device.mac_address.take_if(|_| !needs.board);
            device.agent_version.take_if(|_| !needs.board);
            device.pair_code.take_if(|_| !needs.pair_code);
            device.root_version.take_if(|_| !needs.root);
            if !needs.tags {
                device.tags.clear();
            }
            if !needs.presence {
                (device.online, device.online_since) = (false, None);
                (device.proof, device.absence) = (None, None);
            }
        }
        assert_eq!(found, expected, "{needs:?}");
    }
    let stranger = ProjectId::from_bytes([9; 12]);
    let none = setup.store.devices_with(stranger, DeviceNeeds::default()).await;
    assert!(none.expect("reads").is_empty());
}

/// Adds a group with the next device in it, which reports a digest, and connects it.
async fn group_of_one(setup: &Setup, group: GroupId, name: &str, digest: &str) -> Scope {
    let project = setup.scope.project;
    setup
        .store
        .create_group(project, group, name, None)
        .await
        .expect("creates");
    let scope = Scope {
        project,
        device: DeviceId::from_bytes([200; 16]),
    };
    let new = NewDevice {
        scope,
        name: name.to_owned(),
        group,
        secret: SecretHash::NONE,
    };
    setup.store.create_device(&new).await.expect("created");
    setup
        .vandalise(&format!(
            "UPDATE devices SET online = true, online_since = 50, digest = '{digest}' WHERE name = '{name}'; \
             UPDATE devices SET online_since = 70, digest = 'aa' WHERE name = 'b'; \
             UPDATE devices SET digest = 'aa' WHERE name = 'c'"
        ))
        .await;
    scope
}

pub(crate) async fn members_and_firmware_of_groups_are_counted_and_paged(setup: Setup) {
    add(&setup, &["b", "c", "d"], SecretHash::NONE).await;
    let (store, project) = (setup.store.as_ref(), setup.scope.project);
    let (all, own) = (GroupId::from_bytes([1; 16]), GroupId::from_bytes([2; 16]));
    let alone = group_of_one(&setup, own, "own", "bb").await.device;
    let id = |byte: u8| DeviceId::from_bytes([byte; 16]);

    let mut seen = Vec::new();
    while let Ok(page) = store.group_members(project, all, seen.last().copied(), 3).await
        && !page.is_empty()
    {
        seen.extend(page);
    }
    assert_eq!(seen, [1, 2, 3, 4].map(id), "sorted, each once");
    assert_eq!(
        store.group_members(project, own, None, 3).await.expect("reads"),
        [alone]
    );
    let members = store.all_members(project).await.expect("reads");
    assert_eq!(members.len(), 5);
    assert_eq!(members[4], (own, alone));
    for (group, size) in [(all, 4), (own, 1), (GroupId::from_bytes([3; 16]), 0)] {
        assert_eq!(store.group_size(project, group).await.expect("counts"), size);
    }
    let counts = store.group_counts(project).await.expect("counts");
    let numbers: Vec<_> = counts
        .iter()
        .map(|counts| (counts.group, counts.total, counts.online))
        .collect();
    assert_eq!(numbers, [(all, 4, 0), (own, 1, 1)]);

    let count = |group, digest: &str, total| DigestCount {
        group,
        digest: digest.to_owned(),
        total,
    };
    let digests = store.group_digests(project, all, 5).await.expect("counts");
    assert_eq!(digests, [count(all, "", 2), count(all, "aa", 2)]);
    let digests = store.group_digests(project, all, 1).await.expect("counts");
    assert_eq!(digests.len(), 1, "the limit");
    let digests = store
        .digest_counts(project, &["bb", "aa", "cc"])
        .await
        .expect("counts");
    assert_eq!(digests, [count(all, "aa", 2), count(own, "bb", 1)]);

    assert_eq!(store.connected_devices(project, 9).await.expect("reads"), [alone]);
    assert_eq!(store.online_count().await.expect("counts"), 1);
    let latest = store.latest_devices(project, 3).await.expect("reads");
    assert_eq!(
        ids(&latest)[..2],
        [2, 200],
        "the latest first; devices that never connected last"
    );
    assert_eq!(latest.len(), 3);

    let stranger = ProjectId::from_bytes([9; 12]);
    assert!(
        store
            .group_members(stranger, all, None, 9)
            .await
            .expect("reads")
            .is_empty()
    );
    assert!(store.all_members(stranger).await.expect("reads").is_empty());
    assert!(
        store
            .group_digests(stranger, all, 9)
            .await
            .expect("reads")
            .is_empty()
    );
    assert!(
        store
            .digest_counts(stranger, &["aa"])
            .await
            .expect("reads")
            .is_empty()
    );
    assert!(
        store
            .connected_devices(stranger, 9)
            .await
            .expect("reads")
            .is_empty()
    );
    assert!(store.latest_devices(stranger, 9).await.expect("reads").is_empty());
    assert_eq!(store.group_size(stranger, all).await.expect("counts"), 0);
    assert_eq!(store.group(stranger, all).await.expect("reads"), None);
    let known = store
        .group(project, own)
        .await
        .expect("reads")
        .expect("the group");
    assert!(store.groups(project).await.expect("reads").contains(&known));
}
