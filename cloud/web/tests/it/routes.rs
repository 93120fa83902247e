//! Routes of the dashboard, read from the source of its router, so that a new page or form is found by the tests that go through
//! all of them.

/// Source of the dashboard's router.
const ROUTER: &str = include_str!("../../src/dashboard/mod.rs");
/// Beginnings of parts of the source, and the path that the routes of the part are below.
const PARTS: [(&str, &str); 6] = [
    ("pub(crate) fn pages(", ""),
    ("\nfn screens()", "/p/{project}"),
    ("let group = Router::new()", "/p/{project}/groups/{group}"),
    ("let file = Router::new()", "/p/{project}/code/{branch}/{file}"),
    ("    Router::new()\n        .route(\"/code\"", "/p/{project}"),
    ("\npub(crate) fn streams()", ""),
];
/// Beginning of what comes after the parts.
const END: &str = "\n/// Returns a link that logs one visitor in";
/// Path of the route that the source names by a constant.
const NAMED: (&str, &str) = ("CALLBACK", "/login/provider/callback");

/// Page, form or stream of the dashboard.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Route {
    pub(crate) method: &'static str,
    /// Path with the names of its parameters, such as `{device}`.
    pub(crate) path: String,
}

/// Returns all routes of the dashboard but those of links for people outside, which have a router of their own.
pub(crate) fn routes() -> Vec<Route> {
    let (source, _) = ROUTER.split_once(END).expect("the router ends before the links");
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
            let path = path_of(route.trim_start(), prefix);
            for (method, call) in [("GET", "get("), ("POST", "post(")] {
                let path = path.clone();
                found.extend(route.contains(call).then_some(Route { method, path }));
            }
        }
    }
    let written = source.matches("get(").count() + source.matches("post(").count();
    assert_eq!(found.len(), written, "a route of the source was not read");
    found
}

fn path_of(route: &str, prefix: &str) -> String {
    let quoted = route.strip_prefix('"').and_then(|route| route.split_once('"'));
    let path = quoted.map_or_else(
        || {
            assert!(
                route.starts_with(NAMED.0),
                "a path without quotation marks: {route}"
            );
            NAMED.1
        },
        |(path, _)| path,
    );
    match prefix {
        "" => path.to_owned(),
        _ => format!("{prefix}{}", path.trim_end_matches('/')),
    }
}
