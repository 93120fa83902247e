#![doc = include_str!("../README.md")]

mod api;
mod app;
pub mod auth;
mod client;
mod cookies;
mod csv;
mod dashboard;
mod device_names;
mod error;
mod front;
pub mod http;
mod numbers;
mod oidc;
mod random;
mod rate;
mod sessions;

/// Answers of the REST API, for programs that read them: the types that the handlers write.
pub mod answers {
    pub use crate::api::dto::{
        Accepted, AlertDto, AlertRuleDto, AttemptDto, AuditEntryDto, CopyDto, CreatedDevice, CreatedToken,
        Date, DeletedDevice, DeviceRefusalDto, FlashDto, GroupDto, JobDto, MailDto, MailList, Moved,
        OneAlertRule, OneGroup, OneJob, OneRollout, OneWaitingBoard, OpenedPortal, PortalDto, PresenceDto,
        ProjectDto, Props, Replayed, RolloutDeviceDto, RolloutDevices, RolloutDto, TokenDto, WaitingBoardDto,
        WebhookDto, WebhookTest, WebhookWithSecret,
    };
}

pub use app::WebServices;
pub use dashboard::{first_login_link, login_link};
pub use error::ApiError;
pub use front::Front;
pub use oidc::{OidcSettings, SettingsError, SetupError};
pub use sessions::STREAMS_PER_SESSION;
