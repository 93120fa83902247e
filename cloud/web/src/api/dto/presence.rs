//! JSON types for the presence of devices.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Date;
use iottly_core::model::{Proof, UnixMs};
use iottly_core::presence::{Shown, View};

/// Presence of a device, with the last proof of its link.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Presence)]
pub struct PresenceDto {
    /// `online`, `silent` (connected, but nothing was sent for three times its usual pause), `offline` or `absent` (offline
    /// as planned).
    #[schema(value_type = String)]
    pub state: Cow<'static, str>,
    /// Time since which it is so; null for a device that was never connected. Of a silent device, its last message.
    pub since: Option<Date>,
    /// Last packet of the device that the cloud received; null before the first.
    pub proof: Option<ProofDto>,
    /// Plan of an absence; left out unless the state is `absent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub planned: Option<PlanDto>,
}

/// Packet that proves that a link worked.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = PresenceProof)]
pub struct ProofDto {
    /// Kind of the MQTT packet: `connect`, `publish`, `puback`, `subscribe`, `ping`, `disconnect` or `other`.
    #[schema(value_type = String)]
    pub packet: Cow<'static, str>,
    /// Time of its receipt.
    pub at: Date,
}

/// Planned absence.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = PlannedAbsence)]
pub struct PlanDto {
    /// Start of the absence.
    pub from: Date,
    /// End of the absence.
    pub until: Date,
    /// Reason, in the words of the person who planned it.
    pub reason: String,
}

/// Absence to plan.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AbsenceSettings)]
pub(crate) struct AbsenceBody {
    /// End of the absence in Unix milliseconds: within 366 days.
    #[schema(value_type = i64)]
    pub(crate) until: UnixMs,
    /// Reason for people: 1 to 128 bytes without control characters.
    pub(crate) reason: String,
    /// Start of the absence in Unix milliseconds; now by default.
    #[schema(value_type = Option<i64>)]
    pub(crate) from: Option<UnixMs>,
}

impl From<View> for PresenceDto {
    fn from(view: View) -> Self {
        let (state, since) = (view.shown.as_str(), view.shown.since().map(Into::into));
        let planned = match view.shown {
            Shown::Absent { planned, .. } => Some(PlanDto {
                from: planned.from.into(),
                until: planned.until.into(),
                reason: planned.reason,
            }),
            Shown::Online { .. } | Shown::Silent { .. } | Shown::Offline { .. } => None,
        };
        Self {
            state: state.into(),
            since,
            proof: view.proof.map(|Proof { packet, at }| ProofDto {
                packet: packet.as_str().into(),
                at: at.into(),
            }),
            planned,
        }
    }
}
