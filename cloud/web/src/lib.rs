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
        Accepted, AlertDto, AlertRuleDto, AllProps, AttemptDto, AuditEntryDto, BoardDto, BranchDto,
        BranchList, CheckAnswer, Code, CopyDto, CrashDevice, CrashDto, CrashList, CreatedDevice,
        CreatedEnrolmentKey, CreatedProject, CreatedToken, Date, DefinitionList, DeletedDevice, Desired,
        DeviceHealthDto, DeviceLogDto, DeviceRefusalDto, DraftList, DraftSummary, EnrolmentKeyDto,
        EnrolmentKeyList, FirmwareHealthDto, FlashDto, GroupDto, Health, HistoryPage, JobDto, LaggedEvent,
        LeaseDeviceDto, LeaseDto, LeaseKey, LeaseList, LeaseOrderDto, LeaseReportDto, LineDto, LogDto,
        LogEvent, LogList, LoginFacts, LoginShown, LoginToken, LoginWaits, MailDto, MailList, MessageDto,
        MessageEvent, Moved, Oid, OneAlertRule, OneBranch, OneDefinition, OneGroup, OneJob, OneLease,
        OnePlot, OneProject, OneRollout, OneWaitingBoard, OpenedPortal, PartsDto, PathDto, PinDto, PlotList,
        PointDto, PointsDto, PortalDto, PresenceDto, PresenceSpanDto, ProblemDto, ProjectDto, ProjectList,
        ProjectLogs, ProposedDefinition, Props, PwmDto, ReleaseDto, ReleaseList, ReleaseSpanDto, Replayed,
        Reported, RevisionDto, RevisionList, RolloutDeviceDto, RolloutDevices, RolloutDto, RolloutList,
        SampleBody, SavedPlotDto, SavedVersion, Section, SensorDto, SeriesDto, SettingsDto, SkippedDto,
        SnippetDto, TimelineDto, TimelineEventDto, TokenDto, UndecidedEvent, WaitingBoardDto, WebhookDto,
        WebhookTest, WebhookWithSecret, WhoAmI,
    };
    pub use crate::api::release_keys::{
        KeyDto, KeyList, ProposedRoot, PublishedRootDto, RoleKeyDto, RootDto, RootPointDto,
    };
}

pub use app::WebServices;
pub use dashboard::{first_login_link, login_link};
pub use error::ApiError;
pub use front::Front;
pub use oidc::{OidcSettings, SettingsError, SetupError};
pub use sessions::STREAMS_PER_SESSION;
