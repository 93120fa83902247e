//! Events about the presence of devices, as pages get them.

use axum::response::sse::Event;
use iottly_core::model::Device;
use iottly_core::presence::View;
use iottly_protocol::{DeviceId, ProjectId};
use serde::Serialize;
use serde_json::json;

use super::events::event_of;
use crate::api::dto::PresenceDto;
use crate::app::WebServices;

/// Event about the presence of a device.
#[derive(Serialize)]
struct PresenceNow {
    device: DeviceId,
    online: bool,
    #[serde(flatten)]
    presence: PresenceDto,
}

/// Returns the events about the presence of devices as they are now.
pub(super) async fn presences(
    services: &WebServices,
    project: ProjectId,
    devices: &[DeviceId],
) -> iottly_store::Result<Vec<Event>> {
    let devices = services.store.devices_with_ids(project, devices).await?;
    let event =
        |device: &Device| presence(device.scope.device, device.online, services.presence.view(device));
    Ok(devices.iter().map(event).collect())
}

pub(super) fn presence(device: DeviceId, online: bool, view: View) -> Event {
    let now = PresenceNow {
        device,
        online,
        presence: view.into(),
    };
    event_of("presence", &json!(now))
}
