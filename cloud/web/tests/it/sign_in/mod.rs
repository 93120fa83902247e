//! Signing in with an identity provider that tells the truth, and with one that does not.

mod lies;
mod provider;

use std::collections::HashMap;

use iottly_core::model::OrganizationId;
use serde_json::{Value, json};
use url::Url;

use crate::support::{Answer, TestCloud, start_provider};
use iottly_web::OidcSettings;
use provider::{CLIENT, FakeProvider, SECRET};

/// Cloud with a provider whose answers the test decides.
struct Setup {
    cloud: TestCloud,
    provider: FakeProvider,
}

/// Browser that the cloud has sent to the provider.
struct Away {
    /// Header with the cookie of the attempt.
    cookie: String,
    /// Parameters of the provider's page.
    asked: HashMap<String, String>,
}

impl Away {
    fn state(&self) -> &str {
        &self.asked["state"]
    }
}

async fn setup() -> Setup {
    let provider = FakeProvider::start().await;
    let roles = ["owners=owner", "staff=viewer"].map(str::to_owned);
    let settings = OidcSettings::new(&provider.issuer(), CLIENT, "groups", &roles).expect("valid");
    let cloud = start_provider(settings.with_secret(&iottly_protocol::Secret::new(SECRET))).await;
    Setup { cloud, provider }
}

impl Setup {
    async fn begin(&self) -> Away {
        let answer = self.cloud.request("GET", "/login/provider", &[], b"").await;
        assert_eq!(answer.status, 303, "{}", answer.text);
        let to = Url::parse(answer.header("location").expect("a location")).expect("a URL");
        assert_eq!(
            to.origin().ascii_serialization(),
            self.provider.issuer().trim_end_matches('/')
        );
        let asked: HashMap<_, _> = to.query_pairs().into_owned().collect();
        self.provider
            .expect(&asked["nonce"], &asked["code_challenge"], &asked["redirect_uri"]);
        Away {
            cookie: answer.cookie(),
            asked,
        }
    }

    async fn end(&self, cookie: &str, query: &str) -> Answer {
        let path = format!("/login/provider/callback?{query}");
        self.cloud.request("GET", &path, &[cookie], b"").await
    }

    /// Signs in as the person that the provider names now.
    async fn sign_in(&self) -> Answer {
        let away = self.begin().await;
        self.end(&away.cookie, &format!("code=c&state={}", away.state()))
            .await
    }

    /// Returns the status of a request to the project with a login cookie.
    async fn reads(&self, cookie: &str) -> u16 {
        let path = "/v1.0/project/<project id>/inspect";
        self.cloud.request("GET", path, &[cookie], b"").await.status
    }

    async fn people(&self) -> Vec<(String, String)> {
        let members = self
            .cloud
            .services
            .store
            .members(OrganizationId::DEFAULT)
            .await
            .expect("reads");
        let pair =
            |member: iottly_core::model::Member| (member.user.name.to_string(), member.role.to_string());
        members.into_iter().map(pair).collect()
    }
}

fn is_login(answer: &Answer) -> bool {
    answer
        .header("set-cookie")
        .is_some_and(|cookie| cookie.starts_with("iottly-session-id="))
}

fn member(name: &str, role: &str) -> (String, String) {
    (name.to_owned(), role.to_owned())
}

#[tokio::test]
async fn groups_decide_on_the_role_at_every_sign_in() {
    let setup = setup().await;
    let page = setup.cloud.request("GET", "/login", &[], b"").await;
    assert!(page.text.contains("Sign in with 127.0.0.1"), "{}", page.text);

    setup.provider.says("ada", json!(["staff", "other"]));
    let answer = setup.sign_in().await;
    assert!(answer.status == 200 && is_login(&answer), "{}", answer.text);
    assert!(
        answer
            .text
            .contains(r#"<meta http-equiv="refresh" content="0; url=/">"#),
        "{}",
        answer.text
    );
    assert!(
        answer
            .header("set-cookie")
            .expect("a cookie")
            .ends_with("HttpOnly; SameSite=Strict")
    );
    let viewer = answer.cookie();
    assert_eq!(setup.people().await, [member("ada", "viewer")]);
    assert_eq!(setup.reads(&viewer).await, 200);
    let path = "/v1.0/project/<project id>/device/<device id>/command";
    let command = setup
        .cloud
        .request("POST", path, &[&viewer, "Content-Type: application/json"], b"{}")
        .await;
    assert_eq!(command.status, 403, "a viewer sends no commands");

    setup.provider.says("ada", json!(["staff", "owners"]));
    assert!(is_login(&setup.sign_in().await));
    assert_eq!(setup.people().await, [member("ada", "owner")], "the same account");

    setup.provider.says("ada", json!(["staff"]));
    assert!(is_login(&setup.sign_in().await));
    assert_eq!(
        setup.people().await,
        [member("ada", "viewer")],
        "also the last owner"
    );

    setup.provider.says("ada", json!(["other"]));
    let refused = setup.sign_in().await;
    assert!(refused.status == 403 && !is_login(&refused), "{}", refused.text);
    assert!(refused.text.contains("none of your groups has a role here"));
    assert_eq!(setup.people().await, []);
    assert_eq!(setup.reads(&viewer).await, 401, "earlier logins have ended");

    let log = setup
        .cloud
        .services
        .store
        .organization_audit(OrganizationId::DEFAULT, None, 10)
        .await
        .expect("reads");
    let actions: Vec<_> = log
        .iter()
        .rev()
        .map(|entry| (entry.action.as_str(), entry.actor.as_str()))
        .collect();
    assert_eq!(
        actions,
        [
            ("member.join", "ada"),
            ("member.role", "ada"),
            ("member.role", "ada"),
            ("member.remove", "ada")
        ]
    );
}

#[tokio::test]
async fn an_account_is_found_by_its_subject_and_never_by_its_name() {
    let setup = setup().await;
    setup.provider.says("ada", json!(["owners"]));
    assert!(is_login(&setup.sign_in().await));
    setup.provider.set("sub", json!("another person"));
    setup.provider.set("groups", json!(["staff"]));
    assert!(is_login(&setup.sign_in().await));
    let people = setup.people().await;
    assert_eq!(people.len(), 2, "{people:?}");
    assert_eq!(people[0], member("ada", "owner"));
    assert!(
        people[1].0.starts_with("ada~") && people[1].1 == "viewer",
        "{people:?}"
    );
    // The same person under a new name keeps the account.
    setup.provider.set("preferred_username", json!("grace"));
    assert!(is_login(&setup.sign_in().await));
    assert_eq!(setup.people().await, people);
    for nameless in [json!("has a space"), json!("x".repeat(200)), Value::Null] {
        setup.provider.set("preferred_username", nameless.clone());
        setup.provider.set("sub", json!(format!("nameless {nameless}")));
        assert!(is_login(&setup.sign_in().await), "{nameless}");
    }
    assert_eq!(
        setup
            .people()
            .await
            .iter()
            .filter(|(name, _)| name.starts_with("user-"))
            .count(),
        3
    );
}

#[tokio::test]
async fn a_user_of_the_provider_gets_no_password() {
    let setup = setup().await;
    setup.provider.says("ada", json!(["owners"]));
    let owner = setup.sign_in().await.cookie();
    let account = setup.cloud.request("GET", "/account", &[&owner], b"").await;
    assert!(account.status == 200 && !account.text.contains("Change the password"));
    let members = setup
        .cloud
        .services
        .store
        .members(OrganizationId::DEFAULT)
        .await
        .expect("reads");
    let body = json!({"role": "owner", "member": members[0].user.id}).to_string();
    let path = format!("/v1.0/organization/{}/invitations", OrganizationId::DEFAULT);
    let headers = [owner.as_str(), "Content-Type: application/json"];
    let refused = setup
        .cloud
        .request("POST", &path, &headers, body.as_bytes())
        .await;
    assert!(refused.status >= 400, "{}", refused.text);
    let form = ["Content-Type: application/x-www-form-urlencoded"];
    let wrong = setup
        .cloud
        .request("POST", "/login", &form, b"name=ada&password=")
        .await;
    assert_eq!(wrong.status, 403);
}

#[tokio::test]
async fn without_a_provider_there_is_nothing_to_sign_in_with() {
    let cloud = crate::support::start().await;
    for path in ["/login/provider", "/login/provider/callback?code=c&state=s"] {
        assert_eq!(cloud.request("GET", path, &[], b"").await.status, 404, "{path}");
    }
    assert!(
        !cloud
            .request("GET", "/login", &[], b"")
            .await
            .text
            .contains("Sign in with")
    );
}
