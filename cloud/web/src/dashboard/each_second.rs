//! Events that are looked for each second while a page is open: changed numbers of the project, and refusals near the visitor.

use std::net::IpAddr;

use axum::response::sse::Event;
use iottly_core::model::{Scope, UnixMs};
use iottly_protocol::ProjectId;
use serde_json::json;

use super::events::event_of;
use crate::app::WebServices;
use crate::numbers::Numbers;

/// State of the page that decides which of these events are due.
pub(super) struct Second {
    pub(super) project: ProjectId,
    /// Numbers that the page was sent; none if it shows no numbers.
    pub(super) counts: Option<Option<Numbers>>,
    /// Address of the visitor, if the page waits for a new device.
    pub(super) viewer: Option<IpAddr>,
    /// Time of the refusal near the visitor that the page was notified of.
    pub(super) near: Option<UnixMs>,
    /// Device of the page.
    pub(super) device: Option<Scope>,
}

impl Second {
    /// Returns the events that are due.
    pub(super) async fn look(&mut self, services: &WebServices) -> Vec<Event> {
        let mut events = Vec::new();
        if let Some(told) = &mut self.counts {
            match services.numbers.of(services, self.project).await {
                Ok(numbers) if *told != Some(numbers) => {
                    *told = Some(numbers);
                    events.push(event_of("counts", &json!(numbers)));
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, "failed to read the numbers of a project; its pages keep the ones before");
                }
            }
        }
        let near = self.viewer.and_then(|viewer| services.refusals.near(viewer));
        let near = near.map(|refused| refused.at);
        if near != self.near {
            self.near = near;
            events.push(event_of("changed", &json!({ "parts": ["refusal"] })));
        }
        events
    }
}
