//! Every page, form and stream of the dashboard's router, asked for by a second person: one who may only read, and strangers.
//!
//! The routes are read from the source of the router ([`routes`]), so a new one is asked for as soon as it is there.

use std::collections::BTreeMap;

use iottly_core::model::{Invitation, Role, Scopes, SecretHash};
use iottly_store::{Author, PeopleChange};
use iottly_web::auth::mint_token;

use crate::matrix::{SECRET, ask, filled, furnish, operations, state};
use crate::pages::with_ids;
use crate::routes::{Route, routes};
use crate::support::{Answer, TestCloud, start, tenant};
use crate::twins::{FORMS, Twin};

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";
const PROJECT: &str = "/p/{project}";
/// Fields of the forms that are refused for their fields before the object is looked up.
const FIELDS: &[(&str, &str)] = &[
    ("/devices/move", "group={group}&device={device}&filter=&sure=yes"),
    (
        "/devices/bulk/{kind}",
        "device={device}&add=x&cmd_type=echo&confirm=1&sure=yes",
    ),
    ("/devices/add", "name=intruder&group={group}"),
    (
        "/alerts/rules",
        "name=intruder&condition=offline&after=5&group={group}",
    ),
    ("/alerts/mails", "to=intruder%40example.org"),
    ("/definitions", "type=intruder&key0=a"),
    ("/definitions/{type}", "do=delete&sure=yes"),
    ("/webhooks", "url=https://example.com/"),
    ("/webhooks/{webhook}", "do=delete&sure=yes"),
    ("/plots", "name=intruder&path=a&since=24h&device={device}"),
    ("/tokens", "name=intruder&scope=read"),
    ("/devices/{device}/settings", "do=remove&sure=yes"),
    ("/devices/{device}/command", "cmd_type=sesame_type"),
    ("/devices/{device}/keep", "copy=1"),
    ("/devices/{device}/board/inputs", "button=button"),
    ("/enroll", "code=7K3M-9PQX&do=approve"),
    ("/pushed/{branch}/{revision}", "file=main.js&text=x"),
    ("/code", "name=intruder"),
    ("/code/{branch}/add", "name=intruder.js"),
    ("/code/{branch}/{file}/rename", "name=intruder.js"),
    ("/code/{branch}/restore", "revision=1"),
    ("/groups", "name=intruder"),
    ("/groups/{group}", "name=intruder"),
];
/// Queries of pages that need one, or name an object in it.
const QUERIES: &[(&str, &str)] = &[
    ("/plots/data", "path=temperature&device={device}"),
    ("/plots/csv", "path=temperature&device={device}"),
    ("/groups/{group}/rollouts/{rollout}/devices", "place=waiting"),
    ("/suggestions", "of=devices"),
    ("/events", "device={device}"),
];
/// Words in the place of parameters that name no object.
const WORDS: [(&str, &str); 3] = [("kind", "tag"), ("table", "groups"), ("action", "mute")];
/// Actions that a person who may only read has: those on the own login, and copies of what can be read.
const OF_READERS: [&str; 7] = [
    "/logout",
    "/theme",
    "/shortcuts",
    "/project",
    "/account",
    "/account/logins",
    "/devices/bulk/export",
];

fn fields_of(route: &Route) -> &'static str {
    let below = route.path.strip_prefix(PROJECT).unwrap_or(&route.path);
    let table = if route.method == "POST" { FIELDS } else { QUERIES };
    let known = table.iter().find(|(path, _)| *path == below);
    known.map_or("sure=yes", |(_, fields)| fields)
}

fn with_words(ids: &BTreeMap<&'static str, String>) -> BTreeMap<&'static str, String> {
    let words = WORDS.iter().map(|(name, word)| (*name, (*word).to_owned()));
    ids.clone().into_iter().chain(words).collect()
}

/// Asks for a route with ids in the places of its parameters; the fields of a page are its query.
async fn visit(cloud: &TestCloud, route: &Route, ids: &BTreeMap<&str, String>, cookie: &str) -> Answer {
    let (path, fields) = (filled(&route.path, ids), with_ids(fields_of(route), ids));
    let headers = [cookie, FORM, "Connection: close"];
    if route.method == "POST" {
        return cloud.request("POST", &path, &headers, fields.as_bytes()).await;
    }
    cloud
        .request("GET", &format!("{path}?{fields}"), &headers, b"")
        .await
}

/// Makes a person who owns an organisation of its own, and returns the cookie of the login.
async fn stranger(cloud: &TestCloud, by: &Author) -> String {
    let store = &cloud.services.store;
    let organization = iottly_core::model::OrganizationId::random();
    let invitation = Invitation {
        organization,
        role: Role::Owner,
        user: None,
        by: "test".to_owned(),
        created: 1,
        expires: i64::MAX,
    };
    let own = PeopleChange::CreateOrganization {
        name: "of a stranger".to_owned(),
        owner: None,
    };
    for change in [own, PeopleChange::Invite(SecretHash::of(b"stranger"), invitation)] {
        store
            .change_people(organization, by, change, 1)
            .await
            .expect("applies");
    }
    let body = "key=stranger&name=eve&password=correct horse&again=correct horse";
    let joined = cloud.request("POST", "/join", &[FORM], body.as_bytes()).await;
    assert_eq!(joined.status, 303, "{}", joined.text);
    joined.cookie()
}

#[tokio::test]
async fn no_route_of_the_dashboard_reaches_another_tenant() {
    let cloud = start().await;
    let other = tenant(&cloud.services, SECRET).await;
    let theirs = with_words(&furnish(&cloud, &other).await);
    let mut mixed = theirs.clone();
    mixed.insert("project", cloud.tenant.scope.project.to_string());
    let token = cloud.login(&cloud.tenant.token).await;
    let by = Author {
        actor: iottly_core::model::Actor::Cloud,
        name: "test".to_owned(),
        address: None,
    };
    let person = stranger(&cloud, &by).await;
    let before = state(&cloud, other.scope).await;
    let (mut asked, mut defects) = (0, Vec::new());
    let mut check = |route: &Route, who: &str, answer: &Answer| {
        asked += 1;
        let refused = matches!(answer.status, 403 | 404);
        // An error may repeat what the address says, and nothing else.
        let own_words = route.path.contains("{branch}") || route.path.contains("{type}");
        if !refused || (answer.text.contains(SECRET) && !own_words) {
            let text: String = answer.text.chars().take(300).collect();
            defects.push(format!("{who}: {route:?}: {} {text}", answer.status));
        }
    };
    for route in routes() {
        let of_project = route.path.starts_with(PROJECT);
        if of_project {
            let foreign = visit(&cloud, &route, &theirs, &token).await;
            check(&route, "a token, the other project", &foreign);
        }
        if of_project || route.path.contains("{organization}") {
            let foreign = visit(&cloud, &route, &theirs, &person).await;
            check(&route, "a person, the other project", &foreign);
        }
        let named = route.path.matches('{').count() - usize::from(of_project);
        let in_fields = fields_of(&route).contains('{');
        // Tables of the own project are no other's; their queries are in `pages`.
        if of_project && (named > 0 || in_fields) && !route.path.contains("{table}") {
            let partly = visit(&cloud, &route, &mixed, &token).await;
            check(&route, "a token, the other's object", &partly);
        }
    }
    assert!(defects.is_empty(), "{defects:#?}");
    assert!(asked > 250, "the routes were read: {asked}");
    assert_eq!(state(&cloud, other.scope).await, before);
    cloud.shutdown().await;
}

/// Makes a token of the own project and logs in with it.
async fn login_of(cloud: &TestCloud, scopes: Scopes) -> (String, String) {
    let minted = mint_token(cloud.tenant.scope.project, "second", scopes, None, 1).expect("randomness");
    let store = &cloud.services.store;
    store
        .create_token(minted.hash, &minted.token)
        .await
        .expect("created");
    let text = minted.text.expose();
    (cloud.login(text).await, format!("Authorization: Bearer {text}"))
}

/// Button that a page offers, and the path that it posts to.
struct Button {
    posts_to: String,
    is_disabled: bool,
}

fn attribute<'t>(tag: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    rest.split('"').next()
}

/// Returns the buttons of a page's forms, without those that search or open a page.
fn buttons(page: &str) -> Vec<Button> {
    let mut found = Vec::new();
    for form in page.split("<form").skip(1) {
        let form = form.split("</form>").next().unwrap_or(form);
        let (tag, content) = form.split_once('>').expect("the tag of a form ends");
        let tag = format!(" {tag}");
        if attribute(&tag, "method") != Some("post") {
            continue;
        }
        let action = attribute(&tag, "action").expect("a form has an address");
        for button in content.split("<button").skip(1) {
            let tag = button.split('>').next().unwrap_or(button);
            if attribute(tag, "type") == Some("button") {
                continue;
            }
            found.push(Button {
                posts_to: attribute(tag, "formaction").unwrap_or(action).to_owned(),
                is_disabled: tag.split_whitespace().any(|word| word == "disabled"),
            });
        }
    }
    found
}

#[tokio::test]
async fn a_person_who_may_only_read_is_offered_no_act_that_would_be_refused() {
    let cloud = start().await;
    let ids = with_words(&furnish(&cloud, &cloud.tenant).await);
    let base = format!("/p/{}", cloud.tenant.scope.project);
    let (reader, _) = login_of(&cloud, Scopes::READ).await;
    let owner = cloud.login(&cloud.tenant.token).await;
    let (mut defects, mut of_owner) = (Vec::new(), 0);
    for route in routes() {
        let is_page = route.method == "GET" && route.path.starts_with(PROJECT);
        if !is_page || route.path.ends_with("/events") {
            continue;
        }
        let shown = visit(&cloud, &route, &ids, &reader).await;
        let reason = shown.text.contains("lacks the scope");
        if !(matches!(shown.status, 200 | 303 | 404) || (shown.status == 403 && reason)) {
            defects.push(format!("{}: {} {}", route.path, shown.status, shown.text));
        }
        let below = |path: &str| path.strip_prefix(&base).unwrap_or(path).to_owned();
        for button in buttons(&shown.text) {
            let act = below(button.posts_to.split('?').next().unwrap_or_default());
            if !button.is_disabled && !OF_READERS.contains(&act.as_str()) {
                defects.push(format!("{} offers {act}", route.path));
            }
            if button.is_disabled && !(shown.text.contains("may not") || shown.text.contains("needs")) {
                defects.push(format!("{} does not say why {act} is disabled", route.path));
            }
        }
        // The owner's page is the same page with its acts, so that the check above has something to find.
        let page = visit(&cloud, &route, &ids, &owner).await;
        of_owner += buttons(&page.text)
            .iter()
            .filter(|button| !button.is_disabled && !OF_READERS.contains(&below(&button.posts_to).as_str()))
            .count();
    }
    defects.sort();
    defects.dedup();
    assert!(defects.is_empty(), "{defects:#?}");
    assert!(of_owner > 40, "the owner is offered {of_owner} acts");
    cloud.shutdown().await;
}

#[tokio::test]
async fn an_address_that_cannot_be_read_is_answered_in_the_frame_of_the_project() {
    let cloud = start().await;
    let ids = with_words(&furnish(&cloud, &cloud.tenant).await);
    let owner = cloud.login(&cloud.tenant.token).await;
    let (mut defects, mut refused) = (Vec::new(), 0);
    for route in routes() {
        let is_page = route.method == "GET" && route.path.starts_with(PROJECT);
        if !is_page || route.path.ends_with("/events") {
            continue;
        }
        let path = filled(&route.path, &ids);
        let path = format!("{path}?before=%FF&after=x&page=x&since=x&until=x&of=x&points=x");
        let headers = [owner.as_str(), "Connection: close"];
        let answer = cloud.request("GET", &path, &headers, b"").await;
        let kind = answer.header("content-type").unwrap_or_default();
        let is_framed = answer.text.contains("class=\"side\"");
        // What scripts of pages ask for is answered in JSON.
        let is_well = is_framed || kind.starts_with("application/json");
        if answer.status >= 500 || (answer.status == 400 && !is_well) {
            defects.push(format!("{path}: {} {kind} {}", answer.status, answer.text));
        }
        refused += usize::from(answer.status == 400);
    }
    assert!(defects.is_empty(), "{defects:#?}");
    assert!(refused > 3, "{refused} pages were refused");
    cloud.shutdown().await;
}

/// Returns the right that an answer says is missing.
fn missing_right(answer: &Answer) -> Option<String> {
    let (_, after) = answer.text.split_once("lacks the scope ")?;
    let words = after.split(|c: char| !(c.is_ascii_lowercase() || c == ',' || c == ' '));
    words.into_iter().next().map(|right| right.trim().to_owned())
}

#[tokio::test]
async fn a_form_and_its_twin_refuse_a_reader_for_the_same_reason() {
    let cloud = start().await;
    let ids = with_words(&furnish(&cloud, &cloud.tenant).await);
    let (cookie, bearer) = login_of(&cloud, Scopes::READ).await;
    let before = state(&cloud, cloud.tenant.scope).await;
    let operations = operations(&cloud).await;
    let mut defects = Vec::new();
    for (form, twin) in FORMS {
        let route = Route {
            method: "POST",
            path: format!("{PROJECT}{form}"),
        };
        let page = visit(&cloud, &route, &ids, &cookie).await;
        let Twin::Operation(method, path) = twin else {
            continue;
        };
        let path = format!("/v1.0/project/{{project}}{path}");
        let method = method.to_uppercase();
        let operation = operations
            .iter()
            .find(|known| known.method == method && known.path == path)
            .unwrap_or_else(|| panic!("{method} {path} is not described"));
        let answer = ask(&cloud, operation, &filled(&path, &ids), &[&bearer]).await;
        let (on_page, in_api) = (missing_right(&page), missing_right(&answer));
        if (page.status, answer.status) != (403, 403) || on_page.is_none() || on_page != in_api {
            defects.push(format!(
                "{form}: {} {on_page:?}; {path}: {} {in_api:?}",
                page.status, answer.status
            ));
        }
    }
    assert!(defects.is_empty(), "{defects:#?}");
    assert_eq!(state(&cloud, cloud.tenant.scope).await, before);
    cloud.shutdown().await;
}
