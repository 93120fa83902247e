//! The pages for code, deployment groups and releases, and their forms, as a browser without JavaScript uses them.

use std::collections::{BTreeMap, BTreeSet};

use crate::board::{Board, act, cloud, group, save, until};
use crate::device::eventually;
use crate::matrix::{SECRET, furnish};
use crate::support::{Answer, TestCloud, start, tenant};
use serde_json::json;

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";
const HOSTILE: &str = "<img src=x onerror=alert(1)>";

/// Actions of the pages, each with the operation of the API that does the same.
const TWINS: &[(&str, &str, &str)] = &[
    ("/code/main/loop", "put", "/branches/{branch}/snippets"),
    ("/code/main/firmware.toml", "put", "/branches/{branch}/manifest"),
    ("/code/main/loop/check", "post", "/branches/{branch}/check"),
    ("/code/main/loop/revision", "post", "/branches/{branch}/revisions"),
    ("/code/main/loop/run", "put", "/leases/{lease}/branch"),
    (
        "/code/main/loop/discard",
        "delete",
        "/branches/{branch}/drafts/{file}",
    ),
    (
        "/code/main/firmware.toml/delete",
        "delete",
        "/branches/{branch}/manifest",
    ),
    ("/code/main/add", "post", "/branches/{branch}/files"),
    ("/code/main/loop/rename", "put", "/branches/{branch}/snippets"),
    ("/code/main/restore", "post", "/branches/{branch}/restore"),
    ("/pushed/main/1", "post", "/branches/{branch}/component"),
    ("/code", "post", "/branches"),
    ("/leases/{lease}/end", "delete", "/leases/{lease}"),
    ("/groups", "post", "/deploymentgroups"),
    ("/groups/{group}", "put", "/deploymentgroups/{group}"),
    (
        "/groups/{group}/policy",
        "put",
        "/deploymentgroups/{group}/policy",
    ),
    (
        "/groups/{group}/flashfw",
        "post",
        "/deploymentgroups/{group}/flashfw",
    ),
    ("/groups/{group}/pause", "post", "/deploymentgroups/{group}/pause"),
    (
        "/groups/{group}/resume",
        "post",
        "/deploymentgroups/{group}/resume",
    ),
    (
        "/groups/{group}/cancel",
        "post",
        "/deploymentgroups/{group}/cancel",
    ),
    (
        "/groups/{group}/rollback",
        "post",
        "/deploymentgroups/{group}/rollback",
    ),
    ("/groups/{group}/delete", "delete", "/deploymentgroups/{group}"),
];

async fn get(cloud: &TestCloud, path: &str, cookie: &str) -> Answer {
    let answer = cloud
        .request("GET", &format!("/p/<project id>{path}"), &[cookie], b"")
        .await;
    assert!(
        !answer.text.contains("style=") && !answer.text.contains("<script>"),
        "nothing inline"
    );
    assert!(!answer.text.contains(HOSTILE), "{}", answer.text);
    answer
}

async fn post(cloud: &TestCloud, path: &str, cookie: &str, fields: &[(&str, &str)]) -> Answer {
    let body: Vec<_> = fields
        .iter()
        .map(|(key, value)| format!("{key}={}", escaped(value)))
        .collect();
    cloud
        .request(
            "POST",
            &format!("/p/<project id>{path}"),
            &[cookie, FORM],
            body.join("&").as_bytes(),
        )
        .await
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Returns the value of a hidden field of a page.
fn hidden(page: &str, name: &str) -> String {
    let from = page.find(&format!("name=\"{name}\" value=\"")).expect("a field") + name.len() + 15;
    let text = &page[from..][..page[from..].find('"').expect("an end")];
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&amp;", "&")
}

#[tokio::test]
async fn every_action_of_these_pages_is_an_operation_of_the_api() {
    let cloud = start().await;
    let document = cloud.request("GET", "/openapi.json", &[], b"").await.ok();
    let cookie = cloud.login(&cloud.tenant.token).await;
    let mut asked = BTreeSet::new();
    for (page, method, operation) in TWINS {
        let path = format!("/v1.0/project/{{project}}{operation}");
        assert!(
            document["paths"][&path][method].is_object(),
            "{page}: {method} {path}"
        );
        let answer = post(&cloud, page, &cookie, &[("from", "none")]).await;
        assert_ne!(answer.status, 405, "{page} takes no form");
        assert!(
            answer.text.contains("That did not work") || answer.status < 400,
            "{page}: {}",
            answer.text
        );
        assert!(asked.insert(page), "{page} is named twice");
    }
    cloud.shutdown().await;
}

#[tokio::test]
async fn files_are_added_renamed_and_deleted_without_scripts() {
    let cloud = start().await;
    let cookie = cloud.login(&cloud.tenant.token).await;
    let to = |answer: &Answer, end: &str| {
        assert_eq!(answer.status, 303, "{}", answer.text);
        let to = answer.header("location").expect("a page");
        assert!(to.ends_with(end), "{to}");
    };
    let page = get(&cloud, "/code/main/loop", &cookie).await.text;
    assert!(
        page.contains("Add the file") && !page.contains("Rename the file"),
        "{page}"
    );
    let added = post(&cloud, "/code/main/add", &cookie, &[("name", " filters ")]).await;
    to(&added, "/code/main/filters.js");
    let again = post(&cloud, "/code/main/add", &cookie, &[("name", "filters.js")]).await;
    assert_eq!(again.status, 409, "{}", again.text);
    let bad = post(&cloud, "/code/main/add", &cookie, &[("name", HOSTILE)]).await;
    assert_eq!(bad.status, 400, "{}", bad.text);
    assert!(
        bad.text.contains("&lt;img") && !bad.text.contains("<img src"),
        "{}",
        bad.text
    );
    let page = get(&cloud, "/code/main/filters.js", &cookie).await.text;
    assert!(
        page.contains("Rename the file") && page.contains("Delete this file…"),
        "{page}"
    );
    let section = post(&cloud, "/code/main/loop/rename", &cookie, &[("name", "a.js")]).await;
    assert_eq!(section.status, 409, "{}", section.text);
    let renamed = post(
        &cloud,
        "/code/main/filters.js/rename",
        &cookie,
        &[("name", "tools.js")],
    )
    .await;
    to(&renamed, "/code/main/tools.js");
    let deleted = post(&cloud, "/code/main/tools.js/delete", &cookie, &[("sure", "yes")]).await;
    to(&deleted, "/code/main/loop");
    assert_eq!(get(&cloud, "/code/main/tools.js", &cookie).await.status, 404);
    cloud.shutdown().await;
}

#[tokio::test]
async fn handlers_of_commands_with_the_names_of_actions_have_pages() {
    let cloud = start().await;
    let cookie = cloud.login(&cloud.tenant.token).await;
    for name in ["add", "restore", "files", "check"] {
        let definition = json!({name: {"value": {"type": "FreeValue"}}});
        let path = "/v1.0/project/<project id>/messagedefinitions";
        cloud.post(path, &definition.to_string()).await.ok();
        let page = get(&cloud, "/code/main/loop", &cookie).await.text;
        let end = format!("\">{name}</a>");
        let begin = page.split(&end).next().expect("a text");
        let address = begin.rsplit("href=\"").next().expect("a link");
        let address = &address[address.find("/code/").expect("a page of code")..];
        let handler = get(&cloud, address, &cookie).await;
        assert_eq!(handler.status, 200, "{name}: {address}");
        assert!(
            handler.text.contains(&format!("<title>{name}")),
            "{name}: {}",
            handler.text
        );
    }
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_file_is_edited_checked_saved_and_flashed_without_scripts() {
    let cloud = cloud().await;
    let (group, ids) = group(&cloud, 1).await;
    let cookie = cloud.login(&cloud.tenant.token).await;
    let home = get(&cloud, "/code", &cookie).await;
    assert!(
        home.header("location")
            .is_some_and(|to| to.ends_with("/code/main/loop")),
        "{}",
        home.text
    );
    let page = get(&cloud, "/code/main/loop", &cookie).await.text;
    assert!(
        page.contains("disabled aria-describedby=\"why-not\">Flash…"),
        "{page}"
    );
    let base = hidden(&page, "base");
    let with = |text: &'static str| {
        [
            ("text", text),
            ("base", base.as_str()),
            ("base_text", ""),
            ("message", HOSTILE),
        ]
    };

    let checked = post(&cloud, "/code/main/loop/check", &cookie, &with("broken")).await;
    assert_eq!(checked.status, 200);
    assert!(
        checked.text.contains("The code does not build") && checked.text.contains("global"),
        "{}",
        checked.text
    );
    assert!(
        checked.text.contains("broken</textarea>"),
        "what was typed stays: {}",
        checked.text
    );

    let saved = post(&cloud, "/code/main/loop", &cookie, &with("line\r\nloop")).await;
    assert_eq!(saved.status, 303, "{}", saved.text);
    let page = get(&cloud, "/code/main/loop", &cookie).await.text;
    assert!(
        page.contains("\nline\nloop</textarea>"),
        "line ends are as before: {page}"
    );
    assert!(page.contains("Flash waits"), "not a revision yet");
    let base = hidden(&page, "base");
    let fields = [
        ("text", "line\nloop"),
        ("base", base.as_str()),
        ("message", HOSTILE),
    ];
    assert_eq!(
        post(&cloud, "/code/main/loop/revision", &cookie, &fields)
            .await
            .status,
        303
    );
    let page = get(&cloud, "/code/main/loop", &cookie).await.text;
    assert!(
        page.contains(&format!("/groups/{group}/flash?revision=1")),
        "{page}"
    );

    let ask = get(&cloud, &format!("/groups/{group}/flash?revision=1"), &cookie)
        .await
        .text;
    assert!(
        ask.contains("This affects <b>1 device</b>") && ask.contains("have not said yet"),
        "{ask}"
    );
    let nothing = cloud.get("/v1.0/project/<project id>/rollouts").await.ok();
    assert_eq!(nothing["rollouts"], json!([]), "a question sends nothing");
    let unsure = post(
        &cloud,
        &format!("/groups/{group}/flashfw"),
        &cookie,
        &[("revision", "1")],
    )
    .await;
    assert_eq!(unsure.status, 400);
    let mut board = Board::connect(&cloud, ids[0]).await;
    let begun = post(
        &cloud,
        &format!("/groups/{group}/flashfw"),
        &cookie,
        &[("revision", "1"), ("sure", "yes")],
    )
    .await;
    let rollout = begun.header("location").expect("a page").to_owned();
    assert!(rollout.contains("/rollouts/"), "{rollout}");
    let directive = board.directive(&cloud).await;
    board.tell(&directive, "trial", None).await;
    board.tell(&directive, "rolled_back", Some("crash_loop")).await;
    until(&cloud, &group, "halted").await;
    let page = cloud.request("GET", &rollout, &[&cookie], b"").await.text;
    for shown in [
        "The rollout halted itself",
        "crash_loop",
        "rolled back",
        "data-state=\"bad\"",
        "Resume",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    let revisions = get(&cloud, "/releases", &cookie).await.text;
    assert!(revisions.contains("&lt;img src=x"), "{revisions}");
    assert!(revisions.contains(&directive.sha256[..12]), "{revisions}");
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_pushed_script_is_read_on_the_page_of_the_code() {
    let cloud = cloud().await;
    let (group, ids) = group(&cloud, 1).await;
    let cookie = cloud.login(&cloud.tenant.token).await;
    let script = iottly_manifest::Script {
        engine: "script 1".to_owned(),
        exact: None,
        files: BTreeMap::from([
            ("main.js".to_owned(), format!("import './a.js'; // {HOSTILE}")),
            ("a.js".to_owned(), "x".repeat(600 << 10)),
        ]),
        sections: Vec::new(),
    };
    let component = script
        .component("name = \"pushed\"\nlang = \"js\"\n")
        .expect("a script");
    let path = "/v1.0/project/<project id>/branches/main/component";
    cloud
        .request("POST", path, &[&cloud.bearer()], &component)
        .await
        .ok();
    let mut board = Board::connect(&cloud, ids[0]).await;
    let sure = [("revision", "1"), ("sure", "yes")];
    post(&cloud, &format!("/groups/{group}/flashfw"), &cookie, &sure).await;
    let directive = board.directive(&cloud).await;
    board.tell(&directive, "committed", None).await;
    until(&cloud, &group, "deployed").await;
    let page = get(&cloud, "/code/main/loop", &cookie).await.text;
    for shown in [
        "pushed from a folder",
        "import './a.js'; // &lt;img",
        "Too long to show here",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }

    // A file is edited as the next revision; the others stay.
    let edit = get(&cloud, "/pushed/main/1", &cookie).await.text;
    assert!(edit.contains("import './a.js'; // &lt;img"), "{edit}");
    let long = get(&cloud, "/pushed/main/1?file=a.js", &cookie).await.text;
    assert!(long.contains("too long to be changed"), "{long}");
    let fields = [("file", "main.js"), ("text", "import './a.js';\r\n// edited")];
    let saved = post(&cloud, "/pushed/main/1", &cookie, &fields).await;
    let address = saved.header("location").expect("a page").to_owned();
    assert!(address.ends_with("/pushed/main/2?file=main.js"), "{address}");
    let edited = cloud.request("GET", &address, &[&cookie], b"").await.text;
    assert!(edited.contains("import './a.js';\n// edited"), "{edited}");
    assert!(edited.contains("?file=a.js"), "{edited}");
    let wrong = [("file", "b.js"), ("text", "x")];
    assert_eq!(post(&cloud, "/pushed/main/1", &cookie, &wrong).await.status, 400);
    save(&cloud, "snippets").await;
    assert_eq!(get(&cloud, "/pushed/main/3", &cookie).await.status, 404);
    cloud.shutdown().await;
}

#[tokio::test]
async fn two_people_change_one_file_and_nothing_is_lost() {
    let cloud = start().await;
    let cookie = cloud.login(&cloud.tenant.token).await;
    let write = async |code: &str| {
        let body = json!({"snippets": [{"name": "loop", "code": code}]}).to_string();
        let path = "/v1.0/project/<project id>/branches/main/snippets";
        cloud
            .request("PUT", path, &[&cloud.bearer()], body.as_bytes())
            .await
            .ok();
    };
    write("a\nb\nc\nd\n").await;
    let page = get(&cloud, "/code/main/loop", &cookie).await.text;
    let (base, base_text) = (hidden(&page, "base"), hidden(&page, "base_text"));
    let send = async |text: &str| {
        let fields = [
            ("text", text),
            ("base", base.as_str()),
            ("base_text", base_text.as_str()),
        ];
        post(&cloud, "/code/main/loop", &cookie, &fields).await
    };
    // Changes of other lines come together, and saving them is up to the reader.
    write("a\nb\nc\nD of theirs\n").await;
    let clash = send("A of mine\nb\nc\nd\n").await;
    assert_eq!(clash.status, 409);
    assert!(
        clash.text.contains("\nA of mine\nb\nc\nD of theirs\n</textarea>"),
        "{}",
        clash.text
    );
    for side in [
        "What they changed",
        "What you changed",
        "clash-base",
        "clash-theirs",
        "clash-yours",
    ] {
        assert!(clash.text.contains(side), "{side}: {}", clash.text);
    }
    // The same lines: what was typed stays in the editor, and in a draft if the tab is closed.
    write("x of theirs\nb\nc\nd\n").await;
    let clash = send("x of mine\nb\nc\nd\n").await;
    assert_eq!(clash.status, 409);
    assert!(
        clash.text.contains("\nx of mine\nb\nc\nd\n</textarea>"),
        "{}",
        clash.text
    );
    let again = get(&cloud, "/code/main/loop", &cookie).await;
    assert_eq!(again.status, 200);
    assert!(
        again.text.contains("x of mine") && again.text.contains("x of theirs"),
        "{}",
        again.text
    );
    let now = hidden(&again.text, "base");
    assert_ne!(now, base, "the next save is based on theirs");
    let fields = [("text", "x of both\n"), ("base", now.as_str())];
    assert_eq!(
        post(&cloud, "/code/main/loop", &cookie, &fields).await.status,
        303
    );
    let page = get(&cloud, "/code/main/loop", &cookie).await.text;
    assert!(
        page.contains("\nx of both\n</textarea>") && !page.contains("Drop the draft"),
        "{page}"
    );
    cloud.shutdown().await;
}

#[tokio::test]
async fn groups_have_their_forms_and_their_states() {
    let cloud = cloud().await;
    let cookie = cloud.login(&cloud.tenant.token).await;
    let empty = get(&cloud, "/groups", &cookie).await.text;
    assert!(empty.contains("No group yet"), "{empty}");
    let made = post(
        &cloud,
        "/groups",
        &cookie,
        &[("name", HOSTILE), ("branch", "main")],
    )
    .await;
    let own = made.header("location").expect("a page").to_owned();
    let path = own
        .split_once("/groups/")
        .map(|(_, id)| format!("/groups/{id}"))
        .expect("an id");
    let page = get(&cloud, &path, &cookie).await;
    assert!(page.text.contains("Nothing was deployed yet"), "{}", page.text);
    assert!(get(&cloud, "/groups", &cookie).await.text.contains("0 devices"));
    let policy = |canary: &'static str| {
        let numbers = [
            "canary_failures",
            "concurrency",
            "failure_percent",
            "sample",
            "retries",
            "soak_s",
            "grace_ms",
        ];
        let mut fields: Vec<_> = numbers.into_iter().map(|name| (name, "3")).collect();
        fields.extend([("canary", canary), ("deadline_s", "60"), ("waves", "25% 50%")]);
        fields
    };
    assert_eq!(
        post(&cloud, &format!("{path}/policy"), &cookie, &policy("2"))
            .await
            .status,
        303
    );
    assert_eq!(
        post(&cloud, &format!("{path}/policy"), &cookie, &policy("many"))
            .await
            .status,
        400
    );
    let id = path.rsplit('/').next().expect("an id");
    let stored = cloud
        .get(&format!(
            "/v1.0/project/<project id>/deploymentgroups/{id}/policy"
        ))
        .await
        .ok();
    assert_eq!(
        (
            &stored["policy"]["canary"],
            &stored["policy"]["waves"],
            &stored["policy"]["silence_s"]
        ),
        (
            &json!(2),
            &json!([{"percent": 25}, {"percent": 50}]),
            &json!(7200)
        )
    );
    let broken = get(&cloud, &format!("{path}/flash"), &cookie).await.text;
    assert!(broken.contains("has no saved version"), "{broken}");
    save(&cloud, "one\n// uses gpio:led").await;
    let wider = get(&cloud, &format!("{path}/flash"), &cookie).await.text;
    assert!(
        wider.contains("asks for more") && wider.contains("gpio:led"),
        "{wider}"
    );
    for question in ["rollback", "cancel", "delete", "pause", "resume"] {
        let page = get(&cloud, &format!("{path}/{question}"), &cookie).await.text;
        // Nothing was rolled out yet, so there is nothing to resume.
        assert!(
            question == "resume" || page.contains("0 devices") && page.contains("Back, change nothing"),
            "{page}"
        );
        assert_eq!(
            post(&cloud, &format!("{path}/{question}"), &cookie, &[])
                .await
                .status,
            400,
            "{question}"
        );
    }
    assert_eq!(
        post(&cloud, &format!("{path}/delete"), &cookie, &[("sure", "yes")])
            .await
            .status,
        303
    );
    assert_eq!(get(&cloud, &path, &cookie).await.status, 404);
    cloud.shutdown().await;
}

#[tokio::test]
async fn while_the_cloud_builds_the_question_before_a_flash_says_so() {
    let cloud = cloud().await;
    let (group, _) = group(&cloud, 1).await;
    save(&cloud, "slow").await;
    let cookie = cloud.login(&cloud.tenant.token).await;
    let question = format!("/groups/{group}/flash?revision=1");
    let building = get(&cloud, &question, &cookie).await.text;
    assert!(building.contains("Building r1 of main"), "{building}");
    eventually("it is built", async || {
        let page = get(&cloud, &question, &cookie).await.text;
        page.contains("Flash r1 of main")
    })
    .await;
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_flash_waits_for_drafts_of_other_files_and_a_manifest_can_be_deleted() {
    let cloud = cloud().await;
    group(&cloud, 1).await;
    save(&cloud, "one").await;
    let cookie = cloud.login(&cloud.tenant.token).await;
    let draft = "/v1.0/project/<project id>/branches/main/drafts/init";
    let bearer = cloud.bearer();
    let typed = br#"{"text": "// typed in another file"}"#;
    cloud.request("PUT", draft, &[&bearer], typed).await.ok();
    let page = get(&cloud, "/code/main/loop", &cookie).await.text;
    let waits = "Flash waits until your draft of init is saved as a revision.";
    assert!(page.contains(waits), "{page}");
    cloud.request("DELETE", draft, &[&bearer], b"").await.ok();
    let page = get(&cloud, "/code/main/loop", &cookie).await.text;
    assert!(!page.contains("Flash waits"), "{page}");

    let file = "/code/main/firmware.toml";
    let manifest = "/v1.0/project/<project id>/branches/main/manifest";
    let text = br#"{"manifest": "name = \"fan\"\n"}"#;
    cloud.request("PUT", manifest, &[&bearer], text).await.ok();
    let page = get(&cloud, file, &cookie).await.text;
    assert!(page.contains("Delete this file…"), "{page}");
    let question = get(&cloud, &format!("{file}/delete"), &cookie).await.text;
    assert!(question.contains("Delete firmware.toml?"), "{question}");
    let path = format!("{file}/delete");
    assert_eq!(post(&cloud, &path, &cookie, &[]).await.status, 400);
    assert_eq!(post(&cloud, &path, &cookie, &[("sure", "yes")]).await.status, 303);
    let page = get(&cloud, file, &cookie).await.text;
    assert!(!page.contains("Delete this file…"), "{page}");
    let other = get(&cloud, "/code/main/loop/delete", &cookie).await.text;
    assert!(other.contains("This file belongs to the branch"), "{other}");
    cloud.shutdown().await;
}

#[tokio::test]
async fn the_code_is_compared_with_each_revision_that_a_group_runs() {
    let cloud = cloud().await;
    let (group, ids) = group(&cloud, 1).await;
    save(&cloud, "one").await;
    let mut board = Board::connect(&cloud, ids[0]).await;
    act(&cloud, &group, "flashfw", "{}").await.ok();
    let directive = board.directive(&cloud).await;
    board.tell(&directive, "committed", None).await;
    until(&cloud, &group, "deployed").await;
    let body = r#"{"name": "second", "branch": "main"}"#;
    let groups = "/v1.0/project/<project id>/deploymentgroups";
    let second = cloud.post(groups, body).await.ok();
    let second = second["deployment_group"]["id"].as_str().expect("an id");
    save(&cloud, "two").await;
    act(&cloud, second, "flashfw", "{}").await.ok();
    until(&cloud, second, "deployed").await;

    let cookie = cloud.login(&cloud.tenant.token).await;
    let page = get(&cloud, "/code/main/init", &cookie).await.text;
    let at = |number: u32| {
        let mark = format!("data-deployed=\"{number}\"");
        let part = page.split(&mark).nth(1);
        part.and_then(|part| part.split("</section>").next())
    };
    let (one, two) = (at(1).expect("of the first group"), at(2).expect("of the second"));
    assert!(
        one.contains("Changed since: <a class=\"mono break\"") && one.contains("/code/main/global"),
        "{one}"
    );
    assert!(
        two.contains("No file differs.") && two.contains("second runs"),
        "{two}"
    );
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_reader_sees_all_and_changes_nothing() {
    let cloud = cloud().await;
    let (group, _) = group(&cloud, 1).await;
    save(&cloud, "one").await;
    act(&cloud, &group, "flashfw", "{}").await.ok();
    let scopes = json!({"name": "reader", "scopes": ["read"]}).to_string();
    let reader = cloud
        .post("/v1.0/project/<project id>/tokens", &scopes)
        .await
        .ok();
    let cookie = cloud.login(reader["token"].as_str().expect("a token")).await;
    let code = get(&cloud, "/code/main/loop", &cookie).await.text;
    assert!(
        code.contains("you need the right “write”") && !code.contains("data-key=\"save\""),
        "{code}"
    );
    let page = get(&cloud, &format!("/groups/{group}"), &cookie).await.text;
    assert!(
        page.contains("you need the right “deploy”") && !page.contains("/pause\""),
        "{page}"
    );
    let ask = get(&cloud, &format!("/groups/{group}/flash"), &cookie).await.text;
    assert!(ask.contains("You may look, but not deploy"), "{ask}");
    for (path, ..) in TWINS {
        let path = path.replace("{group}", &group).replace("{lease}", "x");
        let answer = post(&cloud, &path, &cookie, &[("sure", "yes")]).await;
        assert_eq!(answer.status, 403, "{path}: {}", answer.text);
    }
    cloud.shutdown().await;
}

#[tokio::test]
async fn what_another_project_has_is_not_found_here() {
    let cloud = start().await;
    let other = tenant(&cloud.services, SECRET).await;
    let theirs = furnish(&cloud, &other).await;
    let cookie = cloud.login(&cloud.tenant.token).await;
    let (group, branch, rollout) = (&theirs["group"], &theirs["branch"], &theirs["rollout"]);
    for path in [
        format!("/groups/{group}"),
        format!("/groups/{group}/flash"),
        format!("/groups/{group}/rollouts/{rollout}"),
        format!("/groups/{}/rollouts/{rollout}", cloud.tenant.group),
        format!("/code/{branch}"),
        format!("/code/{branch}/loop"),
        format!("/code/main/{}", theirs["snippet"]),
    ] {
        let answer = get(&cloud, &path, &cookie).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(!answer.text.contains(SECRET), "{path}: {}", answer.text);
    }
    let releases = get(&cloud, &format!("/releases?branch={branch}"), &cookie)
        .await
        .text;
    assert!(!releases.contains(SECRET), "{releases}");
    cloud.shutdown().await;
}
