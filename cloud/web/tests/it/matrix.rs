//! Calls every operation of the API's own description with a token of another project. A new endpoint is
//! included as soon as it is described.

use crate::support;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use iottly_cloud::command::CommandRequest;
use iottly_cloud::random;
use iottly_core::alerts::Effect;
use iottly_core::model::Policy;
use iottly_core::model::{
    Actor, AlertFilter, AlertRule, AlertRuleId, AlertSubject, AlertTarget, Change, Condition, Definition,
    DefinitionOption, Direction, EnrolmentKey, EnrolmentKeyId, Invitation, JobFilter, JobId, JobTask,
    NewEnrolmentKey, NewJob, NewPortal, NewRollout, OptionFacts, OptionKind, OrganizationId, PlotSettings,
    Portal, PortalId, Principal, Role, RolloutId, RolloutKind, SavedPlot, SavedPlotId, Scope, Scopes,
    SecretHash, SnippetEdit, StoredMessage, StoredRelease, UserId, Webhook, WebhookId, WebhookKey,
    WebhookKind,
};
use iottly_core::webhooks::sign::Secret;
use iottly_core::webhooks::{sealed_headers, sealed_secret};
use iottly_protocol::enroll::{
    BoardFacts, DeviceSigner, EnrollAnswer, EnrollRequest, PairCode, SealingSecret,
};
use iottly_protocol::{DeviceId, ProjectId};
use iottly_store::{Author, PeopleChange, ScanBounds};
use iottly_web::auth::mint_token;
use serde_json::{Map, Value, json};
use support::{Tenant, TestCloud, start, tenant};

/// Part of every name and payload of the other tenant; never in a response to the caller.
pub(crate) const SECRET: &str = "sesame";

/// Operation of the description.
pub(crate) struct Operation {
    pub(crate) method: String,
    pub(crate) path: String,
    body: Option<Value>,
    pub(crate) open: bool,
}

impl Operation {
    /// Returns true if its answer is a stream that does not end by itself.
    pub(crate) fn is_stream(&self) -> bool {
        self.path.ends_with("/events")
    }
}

pub(crate) async fn operations(cloud: &TestCloud) -> Vec<Operation> {
    let document = cloud.request("GET", "/openapi.json", &[], b"").await.ok();
    assert_eq!(document["openapi"], "3.1.0");
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            operations.push(Operation {
                method: method.to_uppercase(),
                path: path.clone(),
                body: (!schema.is_null()).then(|| example(schema, &document)),
                open: operation["security"] == json!([{}]),
            });
        }
    }
    operations
}

/// Returns the smallest value that fits a schema.
fn example(schema: &Value, document: &Value) -> Value {
    if let Some(name) = schema["$ref"].as_str() {
        return example(
            document.pointer(name.trim_start_matches('#')).expect("a schema"),
            document,
        );
    }
    match schema["type"].as_str() {
        Some("object") => {
            let required = schema["required"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str);
            let fields =
                required.map(|name| (name.to_owned(), example(&schema["properties"][name], document)));
            let fields: Map<_, _> = fields.collect();
            // A message definition has the shape of its type.
            if schema.get("properties").is_none() {
                json!({"echo": {"k": {"type": "FreeValue"}}})
            } else {
                fields.into()
            }
        }
        Some("array") => json!([]),
        Some("integer") => json!(1),
        Some("boolean") => json!(false),
        // Several types: null is one of them.
        None if schema["type"].is_array() => Value::Null,
        _ if schema["example"].is_string() => schema["example"].clone(),
        _ => json!("echo"),
    }
}

/// Puts ids into a path.
pub(crate) fn filled(path: &str, ids: &BTreeMap<&str, String>) -> String {
    let part = |part: &str| match part.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
        Some(name) => ids
            .get(name)
            .unwrap_or_else(|| panic!("no example for {name} of {path}"))
            .clone(),
        None => part.to_owned(),
    };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// Returns a webhook that sends nothing, so that its state does not change by itself.
fn webhook(cloud: &TestCloud, scope: Scope) -> Webhook {
    let (seal, hook) = (cloud.services.webhooks.seal(), WebhookId::random());
    let headers = vec![("X-Key".to_owned(), SECRET.to_owned())];
    let nonce = || random::nonce().expect("random bytes");
    Webhook {
        key: WebhookKey {
            project: scope.project,
            hook,
        },
        description: SECRET.into(),
        url: format!("https://{SECRET}.example/hook"),
        kind: WebhookKind::All,
        channel: Some(SECRET.into()),
        filter: Some(format!(r#"{{"{SECRET}":1}}"#)),
        payload_only: false,
        ordered: false,
        enabled: false,
        reason: SECRET.into(),
        headers: sealed_headers(seal, hook, &headers, nonce()).expect("sealed"),
        secret: sealed_secret(seal, hook, &Secret::new([7; 32]), nonce()).expect("sealed"),
        former: None,
        created: 1,
        changed: 1,
    }
}

/// Fills a project with one object of every kind and returns the ids, by their names in paths.
pub(crate) async fn furnish(cloud: &TestCloud, tenant: &Tenant) -> BTreeMap<&'static str, String> {
    let (store, scope) = (&cloud.services.store, tenant.scope);
    let minted = mint_token(scope.project, SECRET, Scopes::READ, None, 1).expect("randomness");
    let by: Principal = minted.token.clone().into();
    let (branch, cmd_type) = (format!("{SECRET}-branch"), format!("{SECRET}_type"));
    let option = DefinitionOption {
        key: "k".into(),
        kind: OptionKind::FreeValue,
        optional: true,
        facts: OptionFacts::default(),
    };
    let definition = Definition {
        cmd_type: cmd_type.clone(),
        description: SECRET.into(),
        direction: Direction::Command,
        options: vec![option],
    };
    let (code, paired) = ("0123456789abcdef0123456789abcdef".to_owned(), DeviceId::random());
    let create_device = Change::CreateDevice {
        device: paired,
        name: SECRET.into(),
        group: None,
        secret: SecretHash([1; 32]),
        code: code.clone().into(),
        expires: i64::MAX,
    };
    let rule = AlertRuleId::random();
    let alert_rule = AlertRule {
        id: rule,
        project: scope.project,
        name: SECRET.into(),
        condition: Condition::Offline(1000),
        target: AlertTarget::Project,
        mails: vec![format!("{SECRET}@example.org")],
        muted_until: Some(i64::MAX),
        created: 1,
        unexamined: 0,
    };
    let hook = webhook(cloud, scope);
    let hook_id = hook.key.hook;
    let (portal, plot) = (PortalId::random(), SavedPlotId::random());
    let new_portal = NewPortal {
        portal: Portal {
            id: portal,
            key: hook.key,
            author: SECRET.into(),
            created: iottly_cloud::clock::now(),
            expires: i64::MAX,
            used: None,
        },
        link: SecretHash::of(portal.as_bytes()),
        cookie: SecretHash::of(plot.as_bytes()),
    };
    let saved_plot = SavedPlot {
        id: plot,
        project: scope.project,
        name: SECRET.into(),
        settings: PlotSettings {
            path: SECRET.into(),
            agg: "avg".into(),
            by: "none".into(),
            since: "24h".into(),
            devices: Vec::new(),
            groups: Vec::new(),
        },
        author: SECRET.into(),
        created: 1,
    };
    let changes = [
        Change::CreateWebhook(Box::new(hook)),
        Change::OpenPortal(Box::new(new_portal)),
        Change::SavePlot(Box::new(saved_plot)),
        Change::CreateAlertRule(Box::new(alert_rule)),
        Change::CreateToken(minted.hash, minted.token.clone()),
        Change::CreateDefinition(definition),
        Change::CreateBranch {
            name: branch.clone(),
            from: None,
        },
        create_device,
        Change::UpdateDevice {
            device: scope.device,
            group: None,
            name: None,
            tags: Some(vec![SECRET.into()]),
        },
    ];
    for change in changes {
        store
            .change(scope.project, &by, change, 1)
            .await
            .expect("applies");
    }
    let snippet = store
        .working_copy(scope.project, &branch)
        .await
        .expect("reads")
        .expect("exists")
        .snippets[0]
        .id;
    let edit = SnippetEdit {
        name: None,
        id: snippet,
        code: Some(format!("// {SECRET}")),
        description: None,
        base: None,
    };
    let save = Change::SaveVersion {
        branch: branch.clone(),
        message: SECRET.into(),
    };
    let manifest = Change::SaveManifest {
        branch: branch.clone(),
        manifest: Some(format!("name = \"a\" # {SECRET}")),
        base: None,
    };
    for change in [Change::SaveSnippets(branch.clone(), vec![edit]), manifest, save] {
        store
            .change(scope.project, &by, change, 1)
            .await
            .expect("applies");
    }
    let lease = cloud
        .services
        .leases
        .open(&by, vec![scope.device], 1, vec![SECRET.into()])
        .await
        .expect("opened")
        .id;
    let (enrolment_key, key_text) = (EnrolmentKeyId::random(), PairCode::from_bytes([7; 16]));
    let new = NewEnrolmentKey {
        hash: SecretHash::of(key_text.to_string().as_bytes()),
        key: EnrolmentKey {
            id: enrolment_key,
            name: SECRET.into(),
            prefix: SECRET.into(),
            created: 1,
            expires: None,
            uses: 0,
            max_uses: 1,
            group: None,
            tags: vec![SECRET.into()],
            ephemeral_ms: None,
            waiting: true,
        },
    };
    store
        .change(scope.project, &by, Change::CreateEnrolmentKey(Box::new(new)), 1)
        .await
        .expect("created");
    let waiting = EnrollRequest::signed(
        Some(key_text),
        &DeviceSigner::from_secret(&[7; 32]),
        &SealingSecret::from_secret([7; 32]),
        BoardFacts {
            name: Some(SECRET.into()),
            ..BoardFacts::default()
        },
        None,
    );
    let waiting = waiting.proven().expect("signed");
    let from = Ipv4Addr::LOCALHOST.into();
    let told = cloud
        .services
        .enrolment
        .enrol(&waiting, from)
        .await
        .expect("answers");
    let EnrollAnswer::Waiting(told) = told else {
        panic!("{told:?}");
    };
    let rollout = RolloutId::random();
    for change in rollout_of(tenant, rollout, &branch) {
        store
            .change(scope.project, &by, change, 1)
            .await
            .expect("applies");
    }
    cloud
        .store(scope, 1_492_597_597_019, &[&format!(r#"{{"{SECRET}":1}}"#)])
        .await;
    let request = CommandRequest {
        cmd_type: cmd_type.clone(),
        values: Map::new(),
        ttl_ms: None,
    };
    let now = iottly_cloud::clock::now();
    let command = cloud
        .services
        .commands
        .submit(scope, &request, now)
        .await
        .expect("accepted")
        .id;
    let raise = Effect::Raise {
        rule,
        subject: AlertSubject::Device(scope.device),
        detail: SECRET.into(),
    };
    store
        .apply_alerts(scope.project, vec![raise], 1)
        .await
        .expect("raised");
    let filter = AlertFilter::default();
    let alerts = store.alerts(scope.project, filter, 1).await.expect("reads");
    let job = job(cloud, tenant, &by).await;
    let (organization, user) = organization(cloud).await;
    BTreeMap::from([
        ("alert", alerts[0].id.to_string()),
        ("rule", rule.to_string()),
        ("job", job.to_string()),
        ("organization", organization.to_string()),
        ("user", user.to_string()),
        ("project", scope.project.to_string()),
        ("device", scope.device.to_string()),
        ("member", scope.device.to_string()),
        ("group", tenant.group.to_string()),
        ("token", minted.token.id.to_string()),
        ("command", command.to_string()),
        ("snippet", snippet.to_string()),
        ("webhook", hook_id.to_string()),
        ("portal", portal.to_string()),
        ("plot", plot.to_string()),
        ("licence", code),
        ("type", cmd_type),
        ("branch", branch),
        ("file", "firmware.toml".to_owned()),
        ("revision", "1".to_owned()),
        ("release", "1".to_owned()),
        ("rollout", rollout.to_string()),
        ("lease", lease.to_string()),
        ("enrolmentkey", enrolment_key.to_string()),
        ("code", told.short_code.to_string()),
        ("copy", "1".to_owned()),
    ])
}

/// Starts a job that its token has no right to, and waits for its end, so that it changes nothing later.
async fn job(cloud: &TestCloud, tenant: &Tenant, by: &Principal) -> JobId {
    let (store, project) = (&cloud.services.store, tenant.scope.project);
    let new = NewJob {
        id: JobId::random(),
        task: JobTask::Tag {
            add: vec![SECRET.into()],
            remove: Vec::new(),
        },
        devices: vec![tenant.scope.device],
        key: None,
    };
    let (id, mut by) = (new.id, by.clone());
    by.group = Some(tenant.group);
    store
        .change(project, &by, Change::StartJob(Box::new(new)), 1)
        .await
        .expect("started");
    cloud.services.jobs.started();
    support::eventually("the job has ended", async || {
        let job = store.job(project, id).await.expect("reads").expect("a job");
        job.progress.state.is_final()
    })
    .await;
    id
}

/// Creates an organisation with one member, who is its owner.
async fn organization(cloud: &TestCloud) -> (OrganizationId, UserId) {
    let (organization, user) = (OrganizationId::random(), UserId::random());
    let by = Author {
        actor: Actor::Cloud,
        name: SECRET.into(),
        address: None,
    };
    let invitation = SecretHash::of(user.as_bytes());
    let changes = [
        PeopleChange::CreateOrganization {
            name: format!("{SECRET} {organization}"),
            owner: None,
        },
        PeopleChange::Invite(
            invitation,
            Invitation {
                organization,
                role: Role::Owner,
                user: None,
                by: SECRET.into(),
                created: 1,
                expires: i64::MAX,
            },
        ),
        PeopleChange::Join {
            invitation,
            user,
            name: format!("{SECRET}-{user}").parse().expect("a name"),
            password: SECRET.into(),
        },
    ];
    for change in changes {
        let done = cloud.services.store.change_people(organization, &by, change, 1);
        done.await.expect("applies");
    }
    (organization, user)
}

/// Returns the changes that create a release and a rollout of it.
fn rollout_of(tenant: &Tenant, id: RolloutId, branch: &str) -> [Change; 2] {
    let release = StoredRelease {
        seq: 1,
        path: format!("app/{branch}/1.wasm"),
        branch: branch.to_owned(),
        revision: 1,
        sha256: SECRET.into(),
        size: 1,
        source: SECRET.into(),
        capabilities: vec![SECRET.into()],
        grace_ms: 1,
        author: SECRET.into(),
        created: 1,
    };
    let rollout = NewRollout {
        id,
        group: tenant.group,
        release: 1,
        kind: RolloutKind::Install,
        policy: Policy::default(),
        approved: vec![SECRET.into()],
        force: false,
        note: SECRET.into(),
    };
    [
        Change::AddRelease(Box::new(release)),
        Change::StartRollout(Box::new(rollout)),
    ]
}

/// Returns the open portals of a project's webhooks.
async fn portals(cloud: &TestCloud, project: ProjectId) -> Vec<Portal> {
    let (store, mut all) = (&cloud.services.store, Vec::new());
    for state in store.webhooks(project).await.expect("reads") {
        all.extend(store.portals(state.hook.key, 0).await.expect("reads"));
    }
    all
}

/// Returns everything that a request could have changed.
pub(crate) async fn state(cloud: &TestCloud, scope: Scope) -> String {
    let (store, project) = (&cloud.services.store, scope.project);
    let tokens = store.tokens(project).await.expect("reads");
    let rollouts = store.rollouts(project, None, 100).await.expect("reads");
    let history = store
        .scan(scope, ScanBounds::default(), 100)
        .await
        .expect("reads");
    // The cloud itself clears the alert when it looks at the rule.
    let is_alert = |message: &&StoredMessage| message.payload.get().starts_with("{\"alert\"");
    let entries = history.iter().filter(|message| !is_alert(message)).count();
    format!(
        "{:?}",
        (
            (
                store.project(project).await.expect("reads"),
                store.limits(project).await.expect("reads")
            ),
            (
                store.devices(project).await.expect("reads"),
                store.groups(project).await.expect("reads")
            ),
            (
                store.definitions(project).await.expect("reads"),
                store.branches(project).await.expect("reads")
            ),
            (
                tokens.len(),
                store.pair_codes(project).await.expect("reads"),
                store.webhooks(project).await.expect("reads"),
                store.saved_plots(project).await.expect("reads"),
                portals(cloud, project).await
            ),
            (
                store.releases(project, None, 100).await.expect("reads"),
                rollouts.len(),
                rollouts.first().map(|first| first.progress.intent)
            ),
            store.leases(project).await.expect("reads"),
            store.enrolment_keys(project).await.expect("reads"),
            store
                .jobs(project, JobFilter::default(), 100)
                .await
                .expect("reads"),
            cloud.services.enrolment.waiting(project).len(),
            (store.open_commands(scope).await.expect("reads"), entries),
            store.audit(project, None, 100).await.expect("reads"),
        )
    )
}

pub(crate) async fn ask(
    cloud: &TestCloud,
    operation: &Operation,
    path: &str,
    headers: &[&str],
) -> support::Answer {
    let body = operation.body.as_ref().map(Value::to_string).unwrap_or_default();
    cloud
        .request(&operation.method, path, headers, body.as_bytes())
        .await
}

#[tokio::test]
async fn no_operation_reaches_another_tenant() {
    let cloud = start().await;
    let other = tenant(&cloud.services, SECRET).await;
    let theirs = furnish(&cloud, &other).await;
    let mine = BTreeMap::from([("project", cloud.tenant.scope.project.to_string())]);
    let before = state(&cloud, other.scope).await;
    let token = cloud.bearer();
    let mut asked = 0;
    for operation in operations(&cloud)
        .await
        .iter()
        .filter(|operation| operation.path.contains('{'))
    {
        let mut mixed = theirs.clone();
        mixed.extend(mine.clone());
        let foreign = filled(&operation.path, &theirs);
        // The caller's own project with ids of the other's objects is refused as well.
        let partly = filled(&operation.path, &mixed);
        let named = operation.path.matches('{').count() > 1;
        for path in [Some(foreign), named.then_some(partly)].into_iter().flatten() {
            let answer = ask(&cloud, operation, &path, &[&token]).await;
            let what = format!("{} {path}: {} {}", operation.method, answer.status, answer.text);
            assert!(matches!(answer.status, 403 | 404), "{what}");
            // An error may repeat the texts of the request, and nothing else.
            let said = answer.text.matches(SECRET).count();
            assert!(said == 0 || path.contains(SECRET) && said == 1, "{what}");
            asked += 1;
        }
    }
    assert!(asked > 60, "the description holds the API: {asked}");
    assert_eq!(
        state(&cloud, other.scope).await,
        before,
        "nothing of the other tenant is different"
    );
    cloud.shutdown().await;
}

#[tokio::test]
async fn lists_hold_the_own_project_only() {
    let cloud = start().await;
    let other = tenant(&cloud.services, SECRET).await;
    furnish(&cloud, &other).await;
    let mine = BTreeMap::from([
        ("project", cloud.tenant.scope.project.to_string()),
        ("device", cloud.tenant.scope.device.to_string()),
        ("group", cloud.tenant.group.to_string()),
        ("branch", "main".to_owned()),
        ("type", "echo".to_owned()),
    ]);
    let token = cloud.bearer();
    for operation in operations(&cloud)
        .await
        .iter()
        .filter(|operation| operation.method == "GET" && !operation.is_stream())
    {
        let known = |part: &str| !part.starts_with('{') || mine.contains_key(part.trim_matches(['{', '}']));
        if operation.path.split('/').all(known) {
            let mut path = filled(&operation.path, &mine);
            if path.ends_with("/series/points") {
                path += "?path=temperature";
            }
            let answer = ask(&cloud, operation, &path, &[&token]).await;
            // Organisations are listed for people and operators.
            let refused = answer.status == 403 && path == "/v1.0/organizations";
            assert!(
                refused || matches!(answer.status, 200 | 404),
                "{path}: {}",
                answer.text
            );
            assert!(!answer.text.contains(SECRET), "{path}: {}", answer.text);
            assert!(
                !answer.text.contains(&other.scope.device.to_string()),
                "{path}: {}",
                answer.text
            );
        }
    }
    cloud.shutdown().await;
}

#[tokio::test]
async fn without_a_valid_token_nothing_but_the_open_operations_answers() {
    let cloud = start().await;
    let theirs = furnish(&cloud, &cloud.tenant).await;
    let mut open = Vec::new();
    for operation in operations(&cloud).await {
        let path = filled(&operation.path, &theirs);
        if operation.open {
            // Requests of boards are refused for their bodies. A machine may ask for a login.
            let status = ask(&cloud, &operation, &path, &[]).await.status;
            let is_refused = operation.body.is_some() && path != "/v1.0/login";
            assert_eq!(status, if is_refused { 400 } else { 200 }, "{path}");
            open.push(operation.path);
            continue;
        }
        for header in [
            "X-None: 1",
            "Authorization: Bearer nonsense",
            "Authentication: bearer",
            "Cookie: iottly-session-id=guess",
        ] {
            let answer = ask(&cloud, &operation, &path, &[header]).await;
            answer.error(401);
            assert!(answer.header("www-authenticate").is_some(), "{path}");
        }
    }
    open.sort();
    assert_eq!(
        open,
        [
            "/healthz",
            "/readyz",
            "/v1.0/enroll",
            "/v1.0/enroll/challenge",
            "/v1.0/enroll/legacy",
            "/v1.0/enroll/secret",
            "/v1.0/enroll/short-code",
            "/v1.0/login",
            "/v1.0/login/token"
        ]
    );
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_token_that_reads_changes_nothing() {
    let cloud = start().await;
    let theirs = furnish(&cloud, &cloud.tenant).await;
    let minted = mint_token(cloud.tenant.scope.project, "reader", Scopes::READ, None, 1).expect("randomness");
    cloud
        .services
        .store
        .create_token(minted.hash, &minted.token)
        .await
        .expect("created");
    let before = state(&cloud, cloud.tenant.scope).await;
    let reader = format!("Authorization: Bearer {}", minted.text.expose());
    for operation in operations(&cloud)
        .await
        .iter()
        .filter(|operation| operation.method != "GET" && !operation.open)
        // A token may end itself.
        .filter(|operation| operation.path != "/v1.0/login")
    {
        ask(&cloud, operation, &filled(&operation.path, &theirs), &[&reader])
            .await
            .error(403);
    }
    assert_eq!(state(&cloud, cloud.tenant.scope).await, before);
    cloud.shutdown().await;
}
