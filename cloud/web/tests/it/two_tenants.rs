//! A cloud with two projects of one device each: one device is hostile, the other has to be served.

use std::path::Path;

use iottly_cloud::{Cloud, CloudConfig, Services};
use iottly_core::command::seeded_definitions;
use iottly_core::model::{Project, Scope, SecretHash};
use iottly_protocol::{DeviceId, GroupId, ProjectId};
use iottly_store::NewDevice;

use crate::device::Raw;

const SECRET: &str = "a-secret-of-a-device";

/// Running cloud and its two devices.
pub(crate) struct Setup {
    pub(crate) cloud: Cloud,
    pub(crate) services: Services,
    pub(crate) hostile: Scope,
    pub(crate) other: Scope,
}

pub(crate) async fn setup(data: &Path, database_url: Option<String>) -> Setup {
    let mut config = CloudConfig::new(data.to_owned(), "127.0.0.1:0".parse().expect("an address"));
    config.database_url = database_url;
    let cloud = Cloud::start(config).await.expect("the cloud starts");
    let services = cloud.services();
    let hostile = tenant(&services, 1).await;
    let other = tenant(&services, 2).await;
    Setup {
        cloud,
        services,
        hostile,
        other,
    }
}

async fn tenant(services: &Services, byte: u8) -> Scope {
    let id = ProjectId::from_bytes([byte; 12]);
    let project = Project {
        id,
        name: format!("project {byte}"),
        created: 0,
        retention_days: None,
    };
    services
        .store
        .create_project(&project, GroupId::from_bytes([byte; 16]), &seeded_definitions())
        .await
        .expect("created");
    new_device(services, id).await
}

pub(crate) async fn new_device(services: &Services, project: ProjectId) -> Scope {
    let scope = Scope {
        project,
        device: DeviceId::random(),
    };
    let group = GroupId::from_bytes([project.as_bytes()[0]; 16]);
    let device = NewDevice {
        scope,
        name: "device".into(),
        group,
        secret: SecretHash::of(SECRET.as_bytes()),
    };
    services.store.create_device(&device).await.expect("created");
    scope
}

impl Setup {
    pub(crate) async fn connect(&self, scope: Scope) -> Raw {
        Raw::connect(self.cloud.mqtt_addr().expect("a listener"), scope.device, SECRET).await
    }
}
