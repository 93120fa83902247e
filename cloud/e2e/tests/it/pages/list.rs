//! Addresses of all pages.

use serde_json::json;

use super::Visit;

/// Returns the pages of the project, with empty and wrong ones, and those of no project.
pub(super) fn pages(visit: &Visit, devices: &[String]) -> Vec<String> {
    let mut pages: Vec<String> = [
        "/",
        "/devices",
        "/devices?filter=name:nothing",
        "/devices?filter=temp%3E3",
        "/devices/add",
        "/devices/waiting",
        "/groups",
        "/jobs",
        "/code/main/loop",
        "/releases",
        "/releases/keys",
        "/definitions",
        "/definitions/new",
        "/definitions/hostile",
        "/stream",
        "/stream?filter=%3Cimg%20src=x%20onerror=window.hostile=1%3E",
        "/plots",
        "/plots?path=temperature&by=device",
        "/logs?search=%3Cimg%20src=x%20onerror=window.hostile=1%3E",
        "/crashes",
        "/alerts",
        "/webhooks",
        "/tokens",
        "/audit",
        "/keys",
    ]
    .map(str::to_owned)
    .to_vec();
    for device in &devices[..2] {
        let tabs = [
            "",
            "/commands",
            "/timeline",
            "/logs",
            "/history",
            "/board",
            "/settings",
            "/plots",
        ];
        pages.extend(tabs.map(|tab| format!("/devices/{device}{tab}")));
    }
    for group in ids(visit, "/deploymentgroups", "deployment_groups") {
        pages.push(format!("/groups/{group}"));
        pages.extend(
            ["flash", "cancel", "rollback", "delete"].map(|question| format!("/groups/{group}/{question}")),
        );
    }
    for hook in ids(visit, "/webhooks", "webhooks") {
        pages.push(portal(visit, &hook));
        pages.push(format!("/webhooks/{hook}"));
    }
    let tag = json!({"kind": "tag", "filter": "", "add": ["field"]});
    let job = visit.send("POST", "/jobs", &tag);
    pages.push(format!("/jobs/{}", job["job"]["id"].as_str().expect("an id")));
    pages.extend(
        ["/enroll", "/login", "/login/machine", "/account"].map(|path| format!("{}{path}", visit.demo.url())),
    );
    pages
}

/// Returns the pages that show more once a hostile script has run.
pub(super) fn after_a_rollout(visit: &Visit, devices: &[String]) -> Vec<String> {
    let rollouts = visit.get("/rollouts");
    let rollout = &rollouts["rollouts"][0];
    let text = |key: &str| rollout[key].as_str().expect("an id").to_owned();
    let group = format!("/groups/{}", text("deployment_group"));
    vec![
        "/logs".to_owned(),
        format!("/devices/{}/logs", devices[0]),
        format!("/devices/{}/timeline", devices[0]),
        format!("{group}/rollouts/{}", text("id")),
        format!("{group}/flash"),
        "/releases".to_owned(),
    ]
}

/// Opens a link for people outside, as the browser of the visitor, and returns the address of its page.
fn portal(visit: &Visit, hook: &str) -> String {
    let made = visit.send("POST", &format!("/webhooks/{hook}/portals"), &json!({}));
    let path = made["path"].as_str().expect("a path");
    visit.browser.open(&format!("{}{path}", visit.demo.url()));
    visit.browser.click(&visit.browser.find("form button"));
    visit.browser.shows("Deliveries");
    visit.browser.url()
}

fn ids(visit: &Visit, path: &str, list: &str) -> Vec<String> {
    let answer = visit.get(path);
    let found = answer[list].as_array().expect("a list").iter();
    found
        .map(|one| one["id"].as_str().expect("an id").to_owned())
        .collect()
}
