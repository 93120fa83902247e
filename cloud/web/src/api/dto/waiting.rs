//! JSON types for boards that wait for approval.

use iottly_cloud::enrolment::ShownBoard;
use iottly_protocol::GroupId;
use iottly_protocol::enroll::{DeviceKey, EnrollAnswer, ShortCode, Waiting};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{EnrolledDto, OK};

/// Answer to a board: its place, or that it has to wait.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = EnrollAnswer)]
pub(crate) enum EnrollReply {
    /// The board has its place.
    Enrolled(Box<EnrolledDto>),
    /// The board has no place yet.
    Waiting(WaitingDto),
}

/// Answer to a board that has no place yet. The words are those of the device flow of RFC 8628.
#[derive(Serialize, ToSchema)]
pub(crate) struct WaitingDto {
    /// State of the request: `waiting`, `slow_down` if the board asked too early, `denied`, or `expired`: the next request
    /// gets a new code.
    #[schema(value_type = String)]
    state: &'static str,
    /// Code by which people name the board: eight digits such as `7K3M-9PQX`. Left out when the wait is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    short_code: Option<ShortCode>,
    /// Interval in which the board repeats its request, in milliseconds. Left out when the wait is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    poll_ms: Option<u64>,
    /// Time until the request expires, in milliseconds. Left out when the wait is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_ms: Option<u64>,
    /// HTTP status: always 200.
    status: u16,
}

impl WaitingDto {
    fn of(state: &'static str, waiting: Option<&Waiting>) -> EnrollReply {
        EnrollReply::Waiting(Self {
            state,
            short_code: waiting.map(|waiting| waiting.short_code),
            poll_ms: waiting.map(|waiting| waiting.poll_ms),
            expires_ms: waiting.map(|waiting| waiting.expires_ms),
            status: OK,
        })
    }
}

impl From<EnrollAnswer> for EnrollReply {
    fn from(answer: EnrollAnswer) -> Self {
        match answer {
            EnrollAnswer::Enrolled(enrolled) => Self::Enrolled(Box::new(enrolled.into())),
            EnrollAnswer::Waiting(waiting) => WaitingDto::of("waiting", Some(&waiting)),
            EnrollAnswer::SlowDown(waiting) => WaitingDto::of("slow_down", Some(&waiting)),
            EnrollAnswer::Denied => WaitingDto::of("denied", None),
            EnrollAnswer::Expired => WaitingDto::of("expired", None),
        }
    }
}

/// Board that waits for approval. Nothing that it states about itself is proven.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = WaitingBoard)]
pub struct WaitingBoardDto {
    /// Code by which people name the board.
    #[schema(value_type = String)]
    pub code: ShortCode,
    /// Key of the device that the board becomes.
    #[schema(value_type = String)]
    pub device_key: DeviceKey,
    /// Name that the board wants.
    pub name: Option<String>,
    /// MAC address.
    pub mac: Option<String>,
    /// Board profile.
    pub profile: String,
    /// Version of the agent.
    pub agent: String,
    /// Address that the board asks from.
    pub address: String,
    /// Time since the board's first request, in seconds.
    pub waits_s: i64,
    /// True if the board came with an enrolment key of the project.
    pub enrolment_key: bool,
}

impl From<ShownBoard> for WaitingBoardDto {
    fn from(shown: ShownBoard) -> Self {
        let board = shown.request.board();
        Self {
            code: shown.code,
            device_key: shown.request.device_key(),
            name: board.name.clone(),
            mac: board.mac.clone(),
            profile: board.profile.clone(),
            agent: board.agent.clone(),
            address: shown.from,
            waits_s: shown.waits_ms / 1000,
            enrolment_key: shown.has_key,
        }
    }
}

/// Boards that wait with enrolment keys of the project.
#[derive(Serialize, ToSchema)]
pub(crate) struct WaitingBoardList {
    /// Boards, those that wait longest first.
    pub(crate) boards: Vec<WaitingBoardDto>,
    /// HTTP status: always 200.
    pub(crate) status: u16,
}

/// Board that waits, as a whole response.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct OneWaitingBoard {
    /// The board.
    pub board: WaitingBoardDto,
    /// HTTP status: always 200.
    pub status: u16,
}

/// Place for a board that is approved.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Approval)]
pub(crate) struct ApprovalBody {
    /// Name of the device: 1 to 128 bytes; by default the one that the board wants.
    pub(crate) name: Option<String>,
    /// Id of the deployment group; by default the one of the board's enrolment key, or `_orphaned`.
    #[schema(value_type = Option<String>, format = "uuid")]
    pub(crate) deployment_group: Option<GroupId>,
}
