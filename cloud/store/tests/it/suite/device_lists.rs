//! Lists of devices: pages, counts, and what filters get.

use iottly_core::model::{Device, Scope, SecretHash};
use iottly_protocol::{DeviceId, GroupId, ProjectId};
use iottly_store::{Attention, DeviceCounts, DeviceNeeds, DevicePlace, GroupCounts, NewDevice};

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
    add(&setup, &["b", "a", "a", "a", "Ä", "c"], SecretHash::NONE).await;
    let all = setup.store.devices(setup.scope.project).await.expect("reads");
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
    add(&setup, &["b", "a"], SecretHash::NONE).await;
    setup
        .vandalise(r#"UPDATE devices SET firmware = '{"state":"running","digest":"5d","at_ms":1}', tags = '["x"]' WHERE name = 'a'"#)
        .await;
    let all = setup.store.devices(setup.scope.project).await.expect("reads");
    for (firmware, legacy) in [(false, false), (true, false), (true, true)] {
        let needs = DeviceNeeds { firmware, legacy };
        let mut found = setup
            .store
            .devices_for_filter(setup.scope.project, needs)
            .await
            .expect("reads");
        found.sort_by_key(DevicePlace::of);
        let mut expected = all.clone();
        for device in &mut expected {
            device.legacy &= legacy;
            device.firmware.take_if(|_| !firmware);
        }
        assert_eq!(found, expected, "{needs:?}");
    }
}
