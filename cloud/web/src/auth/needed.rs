//! Scope that a request to a project needs, by its method and route. One table, so that no endpoint can omit it.

use axum::http::Method;
use iottly_core::model::Scopes;

/// Endings of routes that send commands, or act on a virtual board.
const COMMAND: [&str; 3] = ["/command", "/commands/{command}/cancel", "/board/inputs"];
/// Endings of routes of jobs: their handlers ask for the scope that the job's action needs.
const JOBS: [&str; 3] = ["/jobs", "/jobs/{job}/cancel", "/devices/bulk/{kind}"];
/// Parts of routes that decide which firmware devices run.
const DEPLOY: [&str; 4] = ["/flashfw", "/rollout", "/leases", "/leasekey"];
/// Endings of further routes of that kind.
const DEPLOY_ENDINGS: [&str; 5] = ["/rollback", "/pause", "/resume", "/cancel", "/policy"];

/// Returns the scope for a method on a route, as the router names it: `read` for methods that change nothing, `command`,
/// `deploy` or `write` for the others; none where the handler asks for it.
pub(crate) fn needed(method: &Method, route: &str) -> Scopes {
    if method.is_safe() {
        return Scopes::READ;
    }
    let route = route.trim_end_matches('/');
    if JOBS.iter().any(|ending| route.ends_with(ending)) {
        return Scopes::NONE;
    }
    let device = route.contains("/device/") || route.contains("/devices/{device}/");
    if device && COMMAND.iter().any(|ending| route.ends_with(ending)) {
        return Scopes::COMMAND;
    }
    let deploys = DEPLOY.iter().any(|part| route.contains(part))
        || ((route.contains("/deploymentgroups/") || route.contains("/groups/{group}/"))
            && DEPLOY_ENDINGS.iter().any(|ending| route.ends_with(ending)))
        || (route.contains("/code/{branch}/{file}/") && route.ends_with("/run"));
    if deploys { Scopes::DEPLOY } else { Scopes::WRITE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_change_has_its_scope() {
        let project = "/v1.0/project/{project}";
        for (method, route, scope) in [
            (Method::GET, "/device/{device}/command", Scopes::READ),
            (Method::POST, "/device/{device}/command", Scopes::COMMAND),
            (
                Method::POST,
                "/device/{device}/commands/{command}/cancel",
                Scopes::COMMAND,
            ),
            (Method::POST, "/device/{device}/board/inputs", Scopes::COMMAND),
            (Method::GET, "/device/{device}/board", Scopes::READ),
            (Method::POST, "/leasekey", Scopes::DEPLOY),
            (Method::POST, "/jobs", Scopes::NONE),
            (Method::POST, "/jobs/{job}/cancel", Scopes::NONE),
            (Method::POST, "/code/{branch}/{file}/run", Scopes::DEPLOY),
            (Method::POST, "/code/{branch}/{file}/check", Scopes::WRITE),
            (Method::POST, "/deploymentgroups/{group}/flashfw", Scopes::DEPLOY),
            (Method::POST, "/deploymentgroups/{group}/pause", Scopes::DEPLOY),
            (Method::PUT, "/deploymentgroups/{group}/policy", Scopes::DEPLOY),
            (Method::PUT, "/deploymentgroups/{group}", Scopes::WRITE),
            (Method::POST, "/leases", Scopes::DEPLOY),
            (Method::PUT, "/leases/{lease}/script", Scopes::DEPLOY),
            (Method::DELETE, "/rollouts/{rollout}", Scopes::DEPLOY),
            (Method::POST, "/device/", Scopes::WRITE),
            (Method::PUT, "/device/{device}/props", Scopes::WRITE),
            (Method::POST, "/branches/{branch}/revisions", Scopes::WRITE),
        ] {
            assert_eq!(
                needed(&method, &format!("{project}{route}")),
                scope,
                "{method} {route}"
            );
        }
        assert_eq!(
            needed(&Method::POST, "/p/{project}/devices/{device}/command"),
            Scopes::COMMAND
        );
        assert_eq!(
            needed(&Method::POST, "/p/{project}/groups/{group}/pause"),
            Scopes::DEPLOY
        );
    }
}
