//! REST API under `/v1.0`. Handlers extract parameters, call a service and form the response; authorisation
//! is part of extracting.

pub(crate) mod absence;
pub(crate) mod alert_mails;
pub(crate) mod alerts;
pub(crate) mod audit;
pub(crate) mod board;
pub(crate) mod body;
pub(crate) mod branches;
mod checks;
pub(crate) mod code_files;
mod command;
mod components;
pub(crate) mod copies;
pub(crate) mod crashes;
pub(crate) mod definitions;
pub(crate) mod device;
mod device_filter;
pub(crate) mod device_list;
mod device_search;
pub(crate) mod device_settings;
mod drafts;
pub(crate) mod dto;
mod enrolment;
mod enrolment_keys;
pub(crate) mod event_feed;
mod events;
mod group_members;
mod groups;
pub(crate) mod health;
mod history;
mod inspect;
pub(crate) mod jobs;
mod lease_events;
mod leases;
mod limits;
pub(crate) mod logs;
pub(crate) mod machine_login;
pub(crate) mod message_filter;
mod names;
pub(crate) mod openapi;
mod organizations;
mod paged;
mod pair_codes;
mod ping;
pub(crate) mod plots;
pub(crate) mod portals;
pub(crate) mod projects;
pub(crate) mod query;
pub(crate) mod release_keys;
mod releases;
pub(crate) mod rollouts;
pub(crate) mod series;
pub(crate) mod spaced;
pub(crate) mod timeline;
pub(crate) mod tokens;
pub(crate) mod waiting;
pub(crate) mod webhook_deliveries;
pub(crate) mod webhook_settings;
pub(crate) mod webhooks;
mod whoami;

use axum::routing::post;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::error::ApiError;

pub(crate) use device_filter::DeviceFilter;
pub(crate) use history::{Page, page};
pub(crate) use names::{device_name, name as checked_name, word as checked_word};

/// Maximum size of a request's body, in bytes.
pub(crate) const MAX_BODY_BYTES: usize = 256 << 10;

/// Return type of handlers.
type Answer<T> = Result<spaced::Spaced<T>, ApiError>;

/// Returns the routes below `/v1.0` with their descriptions.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(ping::ping))
        .routes(routes!(ping::project_ping))
        .routes(routes!(projects::all, projects::create))
        .routes(routes!(limits::set))
        .routes(routes!(enrolment::enrol))
        .routes(routes!(enrolment::legacy))
        .routes(routes!(enrolment::short_code))
        .routes(routes!(enrolment::challenge))
        .routes(routes!(enrolment::secret))
        .routes(routes!(
            machine_login::show,
            machine_login::ask,
            machine_login::end
        ))
        .routes(routes!(machine_login::token))
        .routes(routes!(organizations::all, organizations::create))
        .nest("/organization/{organization}", organization_routes())
        .nest(
            "/project/{project}",
            project_routes()
                .merge(device_routes())
                .merge(code_routes())
                .merge(webhook_routes()),
        )
}

/// Returns the routes that need no token.
pub(crate) fn open_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
}

fn organization_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(organizations::rename))
        .routes(routes!(organizations::members))
        .routes(routes!(organizations::set_role, organizations::remove))
        .routes(routes!(organizations::invite, organizations::withdraw))
        .routes(routes!(organizations::audit))
}

fn project_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(projects::show, projects::update, projects::delete))
        .routes(routes!(whoami::whoami))
        .routes(routes!(inspect::inspect))
        .routes(routes!(events::of_project))
        .routes(routes!(logs::of_project))
        .routes(routes!(pair_codes::all))
        .routes(routes!(pair_codes::one))
        .routes(routes!(enrolment_keys::all, enrolment_keys::create))
        .routes(routes!(enrolment_keys::delete))
        .routes(routes!(waiting::all))
        .routes(routes!(copies::all))
        .routes(routes!(waiting::show, waiting::approve, waiting::reject))
        .routes(routes!(tokens::all, tokens::create))
        .routes(routes!(tokens::revoke))
        .routes(routes!(tokens::end_logins))
        .routes(routes!(audit::list))
        .routes(routes!(audit::export))
        .routes(routes!(limits::show))
        .routes(routes!(definitions::all, definitions::create))
        .routes(routes!(definitions::from_sample))
        .routes(routes!(
            definitions::one,
            definitions::update,
            definitions::delete
        ))
        .routes(routes!(groups::all, groups::create))
        .routes(routes!(groups::show, groups::update, groups::delete))
        .routes(routes!(groups::move_devices))
        .routes(routes!(groups::remove_device))
        .routes(routes!(rollouts::flash))
        .routes(routes!(rollouts::rollback))
        .routes(routes!(rollouts::pause))
        .routes(routes!(rollouts::resume))
        .routes(routes!(rollouts::cancel))
        .routes(routes!(rollouts::policy, rollouts::set_policy))
        .routes(routes!(rollouts::all))
        .routes(routes!(rollouts::show))
        .routes(routes!(rollouts::devices))
        .routes(routes!(rollouts::end))
        .routes(routes!(releases::all))
        .routes(routes!(releases::show))
        .routes(routes!(series::all))
        .routes(routes!(series::points))
        .routes(routes!(plots::all, plots::save))
        .routes(routes!(plots::delete))
        .routes(routes!(release_keys::all))
        .routes(routes!(release_keys::rotate))
        .routes(routes!(release_keys::revoke))
        .routes(routes!(release_keys::propose))
        .routes(routes!(release_keys::publish))
        .routes(routes!(jobs::all, jobs::create))
        .routes(routes!(jobs::show))
        .routes(routes!(jobs::cancel))
        .routes(routes!(jobs::events))
        .routes(routes!(jobs::file))
        .routes(routes!(leases::all, leases::open))
        .routes(routes!(leases::show, leases::end))
        .routes(routes!(leases::run))
        .routes(routes!(leases::run_branch))
        .routes(routes!(lease_events::events))
        .routes(routes!(leases::allow))
}

fn device_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(device::all_props))
        .routes(routes!(device::create))
        // The installer's script sends the path with a trailing slash.
        .route("/device/", post(device::create))
        .routes(routes!(device::delete))
        .routes(routes!(device::replace))
        .routes(routes!(copies::keep))
        .routes(routes!(device::props, device::set_props))
        .routes(routes!(absence::plan, absence::end))
        .routes(routes!(device_settings::show, device_settings::set))
        .routes(routes!(board::show))
        .routes(routes!(board::events))
        .routes(routes!(board::touch))
        .routes(routes!(command::send))
        .routes(routes!(command::list))
        .routes(routes!(command::show))
        .routes(routes!(command::cancel))
        .routes(routes!(logs::logs))
        .routes(routes!(timeline::show))
        .routes(routes!(events::of_device))
        .routes(routes!(history::paginated::messages))
        .routes(routes!(history::export::messages))
        .routes(routes!(history::list::messages))
}

fn code_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(branches::all, branches::create))
        .routes(routes!(branches::show, branches::delete))
        .routes(routes!(branches::save))
        .routes(routes!(branches::add_file))
        .routes(routes!(drafts::all))
        .routes(routes!(drafts::show, drafts::keep, drafts::delete))
        .routes(routes!(checks::check))
        .routes(routes!(branches::save_manifest, branches::delete_manifest))
        .routes(routes!(branches::delete_snippet))
        .routes(routes!(branches::revisions, branches::save_version))
        .routes(routes!(branches::revision))
        .routes(routes!(branches::restore))
        .routes(routes!(branches::diff))
        .routes(routes!(components::upload))
}

fn webhook_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(webhooks::all, webhooks::create))
        .routes(routes!(webhooks::show, webhooks::update, webhooks::delete))
        .routes(routes!(webhooks::rotate))
        .routes(routes!(alerts::all))
        .routes(routes!(alert_mails::mails, alert_mails::test))
        .routes(routes!(crashes::crashes))
        .routes(routes!(alerts::rules, alerts::create))
        .routes(routes!(alerts::delete))
        .routes(routes!(alerts::mute_rule, alerts::unmute_rule))
        .routes(routes!(alerts::show))
        .routes(routes!(alerts::mute, alerts::unmute))
        .routes(routes!(webhook_deliveries::log))
        .routes(routes!(webhook_deliveries::test))
        .routes(routes!(webhook_deliveries::replay))
        .routes(routes!(portals::all, portals::open))
        .routes(routes!(portals::close))
}
