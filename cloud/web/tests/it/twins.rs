//! Every form of the dashboard has a twin in the API: the routes are read from the router's source, so that a new form without one
//! is found here.

use std::collections::BTreeMap;

use crate::support::start;

/// Source of the dashboard's router.
const ROUTER: &str = include_str!("../../src/dashboard/mod.rs");
/// Beginnings of parts of the source, and the path that the routes of the part are below.
const PARTS: [(&str, &str); 5] = [
    ("pub(crate) fn pages(", ""),
    ("\nfn screens()", "/p/{project}"),
    ("let group = Router::new()", "/p/{project}/groups/{group}"),
    ("let file = Router::new()", "/p/{project}/code/{branch}/{file}"),
    ("    Router::new()\n        .route(\"/code\"", "/p/{project}"),
];
/// Beginning of what comes after the parts.
const END: &str = "\npub(crate) fn streams()";

/// Operation of the API that does the same as a form, or the reason for which there is none.
enum Twin {
    Operation(&'static str, &'static str),
    None(&'static str),
}

use Twin::{None as Without, Operation};

/// Path of a project in the API.
const PROJECT: &str = "/v1.0/project/{project}";

/// Forms below a project's path, each with its twins below the project's path in the API.
const FORMS: &[(&str, Twin)] = &[
    ("/alerts/mails", Operation("post", "/alerts/mails")),
    ("/alerts/rules", Operation("post", "/alerts/rules")),
    (
        "/alerts/rules/{rule}/{action}",
        Operation("post", "/alerts/rules/{rule}/mute"),
    ),
    (
        "/alerts/{alert}/{action}",
        Operation("post", "/alerts/{alert}/mute"),
    ),
    ("/code", Operation("post", "/branches")),
    (
        "/code/{branch}/restore",
        Operation("post", "/branches/{branch}/restore"),
    ),
    (
        "/code/{branch}/add",
        Operation("post", "/branches/{branch}/files"),
    ),
    (
        "/code/{branch}/{file}/rename",
        Operation("put", "/branches/{branch}/snippets"),
    ),
    (
        "/code/{branch}/{file}",
        Operation("put", "/branches/{branch}/snippets"),
    ),
    (
        "/code/{branch}/{file}/check",
        Operation("post", "/branches/{branch}/check"),
    ),
    (
        "/code/{branch}/{file}/delete",
        Operation("delete", "/branches/{branch}/snippets/{snippet}"),
    ),
    (
        "/code/{branch}/{file}/discard",
        Operation("delete", "/branches/{branch}/drafts/{file}"),
    ),
    (
        "/code/{branch}/{file}/revision",
        Operation("post", "/branches/{branch}/revisions"),
    ),
    (
        "/code/{branch}/{file}/run",
        Operation("put", "/leases/{lease}/branch"),
    ),
    ("/definitions", Operation("post", "/messagedefinitions")),
    (
        "/definitions/new",
        Operation("post", "/messagedefinition/from-sample"),
    ),
    (
        "/definitions/{type}",
        Operation("put", "/messagedefinitions/{type}"),
    ),
    ("/devices/add", Operation("post", "/device")),
    ("/devices/bulk/{kind}", Operation("post", "/jobs")),
    ("/devices/move", Operation("post", "/jobs")),
    (
        "/devices/{device}/arrival",
        Operation("post", "/device/{device}/replace"),
    ),
    (
        "/devices/{device}/board/inputs",
        Operation("post", "/device/{device}/board/inputs"),
    ),
    (
        "/devices/{device}/command",
        Operation("post", "/device/{device}/command"),
    ),
    (
        "/devices/{device}/commands/{command}/cancel",
        Operation("post", "/device/{device}/commands/{command}/cancel"),
    ),
    (
        "/devices/{device}/keep",
        Operation("post", "/device/{device}/copies/{copy}/keep"),
    ),
    (
        "/devices/{device}/settings",
        Operation("put", "/device/{device}/props"),
    ),
    ("/groups", Operation("post", "/deploymentgroups")),
    ("/groups/{group}", Operation("put", "/deploymentgroups/{group}")),
    (
        "/groups/{group}/cancel",
        Operation("post", "/deploymentgroups/{group}/cancel"),
    ),
    (
        "/groups/{group}/delete",
        Operation("delete", "/deploymentgroups/{group}"),
    ),
    (
        "/groups/{group}/flashfw",
        Operation("post", "/deploymentgroups/{group}/flashfw"),
    ),
    (
        "/groups/{group}/pause",
        Operation("post", "/deploymentgroups/{group}/pause"),
    ),
    (
        "/groups/{group}/policy",
        Operation("put", "/deploymentgroups/{group}/policy"),
    ),
    ("/enroll", Operation("post", "/waiting/{code}")),
    (
        "/groups/{group}/resume",
        Operation("post", "/deploymentgroups/{group}/resume"),
    ),
    (
        "/groups/{group}/rollback",
        Operation("post", "/deploymentgroups/{group}/rollback"),
    ),
    ("/jobs/{job}/cancel", Operation("post", "/jobs/{job}/cancel")),
    ("/leases/{lease}/end", Operation("delete", "/leases/{lease}")),
    (
        "/pushed/{branch}/{revision}",
        Operation("post", "/branches/{branch}/component"),
    ),
    ("/plots", Operation("post", "/plots")),
    ("/plots/{plot}/delete", Operation("delete", "/plots/{plot}")),
    ("/releases/keys/propose", Operation("post", "/keys/propose")),
    ("/releases/keys/publish", Operation("post", "/keys/publish")),
    ("/releases/keys/revoke", Operation("post", "/keys/revoke")),
    ("/releases/keys/rotate", Operation("post", "/keys/rotate")),
    ("/tokens", Operation("post", "/tokens")),
    ("/tokens/{token}/revoke", Operation("delete", "/tokens/{token}")),
    ("/webhooks", Operation("post", "/webhooks")),
    ("/webhooks/{webhook}", Operation("put", "/webhooks/{webhook}")),
];

/// Forms of no project, each with its twin's whole path.
const OTHERS: &[(&str, Twin)] = &[
    ("/account", Without("a password is typed into the dashboard only")),
    (
        "/account/logins",
        Without("the logins of the browser are ended in the browser"),
    ),
    (
        "/account/machines/{login}/revoke",
        Without("`iottly logout` revokes the login of its own machine"),
    ),
    (
        "/enroll",
        Operation("post", "/v1.0/project/{project}/waiting/{code}"),
    ),
    (
        "/join",
        Without("an invitation is accepted by choosing a password, in a browser"),
    ),
    ("/login", Operation("post", "/v1.0/login")),
    (
        "/login/machine",
        Without("a person approves a machine's login in a browser, where the person is logged in"),
    ),
    (
        "/logout",
        Without("ends the login of the browser; `iottly logout` ends that of a machine"),
    ),
    (
        "/members/{organization}/change",
        Operation("put", "/v1.0/organization/{organization}/members/{user}"),
    ),
    (
        "/members/{organization}/invite",
        Operation("post", "/v1.0/organization/{organization}/invitations"),
    ),
    ("/project", Without("chooses what the browser shows")),
    ("/projects", Operation("post", "/v1.0/projects")),
    ("/theme", Without("chooses what the browser shows")),
    ("/shortcuts", Without("chooses what the browser does")),
];

/// Returns the paths of all forms, with `/p/{project}` before those of a project.
fn forms() -> Vec<String> {
    let (source, _) = ROUTER.split_once(END).expect("the streams come after the forms");
    let mut places: Vec<_> = PARTS
        .iter()
        .map(|(beginning, prefix)| {
            (
                source.find(beginning).unwrap_or_else(|| panic!("no {beginning}")),
                *prefix,
            )
        })
        .collect();
    places.sort_unstable();
    let mut found = Vec::new();
    for (index, (from, prefix)) in places.iter().enumerate() {
        let to = places.get(index + 1).map_or(source.len(), |(next, _)| *next);
        for route in source[*from..to].split(".route(").skip(1) {
            let (path, rest) = route
                .trim_start()
                .strip_prefix('"')
                .and_then(|route| route.split_once('"'))
                .unwrap_or(("", route));
            if rest.contains("post(") {
                found.push(format!(
                    "{prefix}{}",
                    if prefix.is_empty() {
                        path
                    } else {
                        path.trim_end_matches('/')
                    }
                ));
            }
        }
    }
    assert_eq!(
        found.len(),
        source.matches("post(").count(),
        "a form of the source was not read"
    );
    found
}

#[tokio::test]
async fn every_form_of_the_dashboard_is_an_operation_of_the_api() {
    let cloud = start().await;
    let document = cloud.request("GET", "/openapi.json", &[], b"").await.ok();
    let below = FORMS
        .iter()
        .map(|(path, twin)| (format!("/p/{{project}}{path}"), twin, PROJECT));
    let others = OTHERS.iter().map(|(path, twin)| ((*path).to_owned(), twin, ""));
    let mut known: BTreeMap<String, (&Twin, &str)> = below
        .chain(others)
        .map(|(path, twin, prefix)| (path, (twin, prefix)))
        .collect();
    for form in forms() {
        let (twin, prefix) = known
            .remove(&form)
            .unwrap_or_else(|| panic!("{form} has no twin in the API and no reason"));
        match twin {
            Operation(method, path) => {
                let path = format!("{prefix}{path}");
                assert!(
                    document["paths"][&path][*method].is_object(),
                    "{form}: {method} {path} is not in the API"
                );
            }
            Without(reason) => assert!(reason.len() > 20, "{form}"),
        }
    }
    assert!(known.is_empty(), "{:?} are no forms", known.keys());
    cloud.shutdown().await;
}
