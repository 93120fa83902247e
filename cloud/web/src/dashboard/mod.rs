//! The dashboard: pages rendered by the server and readable without JavaScript; scripts only add live
//! updates.
//!
//! Its handlers use the same project handles and services as the REST API. Pages never contain a token: the
//! browser has an HttpOnly cookie for the login.

mod account;
mod add;
mod alerts;
mod arrival;
mod assets;
mod audit;
mod bulk;
mod code;
mod copies;
mod crashes;
mod definitions;
mod device;
mod devices;
mod each_second;
mod enroll;
mod events;
mod forms;
mod framed;
mod groups;
mod jobs;
mod join;
mod keys;
mod kit;
mod layout;
mod login;
mod logs;
mod machine;
mod members;
mod overview;
mod person;
mod plots;
mod portal;
mod presence_events;
mod provider;
mod releases;
mod revisions;
mod shell;
mod short_code;
mod shortcuts;
mod signing_keys;
mod strayed;
mod stream;
mod suggestions;
mod tables;
mod text;
mod theme;
mod tokens;
mod visitor;
mod webhooks;

use axum::Router;
use axum::middleware;
use axum::routing::{get, post};

use crate::app::App;
use crate::app::WebServices;
use crate::auth::hash_secret;

use crate::error::ApiError;
use crate::oidc::CALLBACK;
use crate::random;

use crate::sessions::{Holder, Login};
use iottly_cloud::clock;
use iottly_core::model::{Actor, Invitation, OrganizationId, Principal, Role, Scopes, UnixMs};
use iottly_store::{Author, PeopleChange};
pub(crate) use strayed::{method_not_allowed, not_found};

/// Validity of the link for the first person, in milliseconds: ten minutes.
const FIRST_LINK_MS: UnixMs = 10 * 60 * 1000;

/// Returns the routes of the pages, which respond within the time limit of requests.
pub(crate) fn pages(app: &App) -> Router<App> {
    let framed = middleware::from_fn_with_state(app.clone(), framed::framed);
    let screens = Router::new()
        .route("/p/{project}/", get(overview::show))
        .nest("/p/{project}", screens())
        .route_layer(framed);
    Router::new()
        .route("/", get(overview::home))
        .merge(screens)
        .route("/login", get(login::show).post(login::log_in))
        .route("/login/machine", get(machine::show).post(machine::decide))
        .route("/login/provider", get(provider::begin))
        .route(CALLBACK, get(provider::end))
        .route("/logout", post(login::log_out))
        .route("/join", get(join::show).post(join::join))
        .route("/account", get(account::show).post(account::change_password))
        .route("/account/machines/{login}/revoke", post(account::revoke_machine))
        .route("/account/logins", post(account::end_logins))
        .route("/project", post(person::choose_project))
        .route("/projects", post(person::create_project))
        .route("/theme", post(theme::choose))
        .route("/shortcuts", post(shortcuts::choose))
        .route("/members/{organization}", get(members::show))
        .route("/members/{organization}/csv", get(members::csv))
        .route("/members/{organization}/audit", get(audit::of_organization))
        .route(
            "/members/{organization}/audit/csv",
            get(audit::csv_of_organization),
        )
        .route("/members/{organization}/invite", post(members::invite))
        .route("/members/{organization}/change", post(members::change))
        .route("/enroll", get(enroll::show).post(enroll::decide))
        .route("/assets/{version}/{name}", get(assets::asset))
        .route("/favicon.ico", get(assets::favicon))
        .layer(middleware::from_fn(layout::security_headers))
        .merge(portal::routes())
}

/// Returns the routes of a project's screens, below the project's path.
fn screens() -> Router<App> {
    Router::new()
        .route("/devices", get(devices::list))
        .route("/devices/move", post(bulk::move_devices))
        .route("/devices/bulk/{kind}", post(bulk::ask))
        .route("/jobs", get(jobs::list))
        .route("/jobs/{job}", get(jobs::show))
        .route("/jobs/{job}/cancel", post(jobs::cancel))
        .route("/jobs/{job}/file", get(jobs::file))
        .route("/devices/add", get(add::show).post(add::create))
        .route("/devices/waiting", get(add::waiting))
        .route("/enroll", get(enroll::show_in_project).post(enroll::decide))
        .route(
            "/devices/{device}/arrival",
            get(arrival::show).post(arrival::again),
        )
        .route("/devices/{device}", get(device::live::show))
        .route("/devices/{device}/commands", get(device::commands::show))
        .route("/devices/{device}/command", post(device::commands::send))
        .route(
            "/devices/{device}/commands/{command}/cancel",
            post(device::commands::cancel),
        )
        .route("/devices/{device}/board", get(device::board::show))
        .route("/devices/{device}/board/inputs", post(device::board::touch))
        .route("/devices/{device}/timeline", get(device::timeline::show))
        .route("/devices/{device}/logs", get(device::logs::show))
        .route("/devices/{device}/history", get(device::history::show))
        .route(
            "/devices/{device}/settings",
            get(device::settings::show).post(device::settings::act),
        )
        .route("/devices/{device}/plots", get(plots::of_device))
        .route("/devices/{device}/keep", post(copies::keep))
        .route("/plots", get(plots::show).post(plots::save))
        .route("/plots/{plot}/delete", post(plots::delete))
        .route("/plots/data", get(plots::data))
        .route("/plots/csv", get(plots::csv))
        .route("/definitions", get(definitions::list).post(definitions::create))
        .route(
            "/definitions/new",
            get(definitions::new).post(definitions::from_sample),
        )
        .route(
            "/definitions/{type}",
            get(definitions::show).post(definitions::update),
        )
        .route("/logs", get(logs::show))
        .route("/stream", get(stream::show))
        .route("/suggestions", get(suggestions::show))
        .route("/webhooks", get(webhooks::list).post(webhooks::create))
        .route("/webhooks/{webhook}", get(webhooks::show).post(webhooks::act))
        .route("/tokens", get(tokens::list).post(tokens::create))
        .route("/tokens/{token}/revoke", post(tokens::revoke))
        .route("/crashes", get(crashes::list))
        .route("/alerts", get(alerts::list))
        .route("/alerts/mails", post(alerts::test_mail))
        .route("/alerts/rules", post(alerts::add))
        .route("/alerts/rules/{rule}/{action}", post(alerts::act_on_rule))
        .route("/alerts/{alert}/{action}", post(alerts::act))
        .route("/audit", get(audit::of_project))
        .route("/audit.jsonl", get(audit::lines_of_project))
        .route("/csv/{table}", get(tables::show))
        .route("/keys", get(keys::show))
        .merge(build_screens())
}

/// Returns the routes of the screens for code, releases and deployment groups.
fn build_screens() -> Router<App> {
    let group = Router::new()
        .route("/", get(groups::show).post(groups::update))
        .route("/policy", post(groups::set_policy))
        .route("/flash", get(groups::ask))
        .route("/flashfw", post(groups::flash))
        .route("/pause", get(groups::ask_pause).post(groups::pause))
        .route("/resume", get(groups::ask_resume).post(groups::resume))
        .route("/cancel", get(groups::ask_cancel).post(groups::cancel))
        .route("/rollback", get(groups::ask_roll_back).post(groups::roll_back))
        .route("/delete", get(groups::ask_delete).post(groups::delete))
        .route("/rollouts/{rollout}", get(groups::of_rollout))
        .route("/rollouts/{rollout}/devices", get(groups::devices_of_rollout));
    let file = Router::new()
        .route("/", get(code::show).post(code::save))
        .route("/check", post(code::check))
        .route("/revision", post(code::revision))
        .route("/run", post(code::run))
        .route("/delete", get(code::ask_delete).post(code::delete))
        .route("/rename", post(code::rename))
        .route("/discard", post(code::discard));
    Router::new()
        .route("/code", get(code::home).post(code::create_branch))
        .route("/code/{branch}", get(code::branch))
        .route("/code/{branch}/restore", post(code::restore))
        .route("/code/{branch}/add", post(code::add_file))
        .nest("/code/{branch}/{file}", file)
        .route(
            "/pushed/{branch}/{revision}",
            get(code::show_pushed).post(code::save_pushed),
        )
        .route("/leases/{lease}/end", post(code::end_lease))
        .route("/groups", get(groups::list).post(groups::create))
        .nest("/groups/{group}", group)
        .route("/releases", get(releases::show))
        .route("/releases/keys", get(signing_keys::show))
        .route("/releases/keys/rotate", post(signing_keys::rotate))
        .route("/releases/keys/revoke", post(signing_keys::revoke))
        .route("/releases/keys/propose", post(signing_keys::propose))
        .route("/releases/keys/publish", post(signing_keys::publish))
}

/// Returns the routes of event streams, which last until the browser disconnects.
pub(crate) fn streams() -> Router<App> {
    Router::new()
        .route("/p/{project}/events", get(events::events))
        .layer(middleware::from_fn(layout::security_headers))
}

/// Returns a link that logs one visitor in to the dashboard of a token's project, within an hour; `base` is
/// the cloud's URL. The login has the scopes of the token and ends with it. Without a valid token, the link
/// is `base`.
pub async fn login_link(services: &WebServices, token: &str, base: &str) -> String {
    match mint_link(services, token).await {
        Ok(Some(key)) => format!("{base}/login?key={key}"),
        Ok(None) => base.to_owned(),
        Err(error) => {
            tracing::error!(
                error = error.message(),
                "failed to create a login link; the dashboard asks for a token"
            );
            base.to_owned()
        }
    }
}

/// Returns a link by which the first person becomes an owner, within ten minutes; `None` if a user exists.
/// `base` is the cloud's URL.
///
/// # Errors
/// If the store fails or the system has no randomness.
pub async fn first_login_link(services: &WebServices, base: &str) -> Result<Option<String>, ApiError> {
    if services.store.has_users().await? {
        return Ok(None);
    }
    let (key, now) = (random::secret()?, clock::now());
    let invitation = Invitation {
        organization: OrganizationId::DEFAULT,
        role: Role::Owner,
        user: None,
        by: "first start".to_owned(),
        created: now,
        expires: now.saturating_add(FIRST_LINK_MS),
    };
    let by = Author {
        actor: Actor::Cloud,
        name: "first start".to_owned(),
        address: None,
    };
    // The links of earlier starts are of no use any more.
    let invite = PeopleChange::Invite(hash_secret(key.as_bytes()), invitation);
    for change in [PeopleChange::WithdrawInvitations, invite] {
        services
            .store
            .change_people(OrganizationId::DEFAULT, &by, change, now)
            .await?;
    }
    Ok(Some(format!("{base}/join?key={key}")))
}

async fn mint_link(services: &WebServices, token: &str) -> Result<Option<String>, ApiError> {
    let now = clock::moment();
    let token = services.store.token(hash_secret(token.as_bytes())).await?;
    let Some(token) = token.filter(|token| token.is_live(now.date) && token.group.is_none()) else {
        return Ok(None);
    };
    let (expires, round, mut principal) = (token.expires, token.logins, Principal::from(token));
    let Some(scopes) = principal.scopes.common(Scopes::PROJECT) else {
        return Ok(None);
    };
    principal.scopes = scopes;
    let login = Login {
        holder: Holder::Token(principal),
        expires,
        round,
    };
    Ok(Some(services.sessions.mint_link(login, now)?))
}
