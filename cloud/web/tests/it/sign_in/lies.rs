//! Answers that sign no person in.

use axum::http::StatusCode;
use iottly_cloud::clock;
use serde_json::{Value, json};

use super::provider::Signature;
use super::{Setup, is_login, setup};

/// Signs in and expects a refusal with a text.
async fn refused(setup: &Setup, what: &str, text: &str) {
    let answer = setup.sign_in().await;
    assert!(
        answer.status == 403 && !is_login(&answer),
        "{what}: {} {}",
        answer.status,
        answer.text
    );
    assert!(answer.text.contains(text), "{what}: {}", answer.text);
}

/// Sends the browser away, changes the claims, and expects a refusal.
async fn refused_claims(setup: &Setup, what: &str, claims: &[(&str, Value)]) {
    let away = setup.begin().await;
    for (claim, value) in claims {
        setup.provider.set(claim, value.clone());
    }
    let answer = setup
        .end(&away.cookie, &format!("code=c&state={}", away.state()))
        .await;
    assert!(
        answer.status == 403 && !is_login(&answer),
        "{what}: {} {}",
        answer.status,
        answer.text
    );
    assert!(
        answer.text.contains("cannot be trusted"),
        "{what}: {}",
        answer.text
    );
}

#[tokio::test]
async fn a_token_that_is_not_for_this_sign_in_signs_nobody_in() {
    let setup = setup().await;
    setup.provider.says("ada", json!(["owners"]));
    let now = clock::now() / 1000;
    for (what, claims) in [
        ("another nonce", vec![("nonce", json!("another"))]),
        ("no nonce", vec![("nonce", Value::Null)]),
        ("another issuer", vec![("iss", json!("https://id.example"))]),
        ("another client", vec![("aud", json!("another"))]),
        (
            "another client as well",
            vec![("aud", json!([super::CLIENT, "another"]))],
        ),
        ("expired", vec![("exp", json!(now - 120))]),
        ("from the future", vec![("iat", json!(now + 300))]),
        ("old", vec![("iat", json!(now - 3600))]),
        ("no subject", vec![("sub", Value::Null)]),
    ] {
        refused_claims(&setup, what, &claims).await;
    }
    assert_eq!(setup.people().await, []);
    setup.provider.says("ada", json!(["owners"]));
    let late = setup.begin().await;
    setup.provider.set("exp", json!(now - 30));
    let answer = setup
        .end(&late.cookie, &format!("code=c&state={}", late.state()))
        .await;
    assert!(
        is_login(&answer),
        "clocks may differ by a minute: {}",
        answer.text
    );
}

#[tokio::test]
async fn a_token_that_the_provider_did_not_sign_signs_nobody_in() {
    let setup = setup().await;
    setup.provider.says("ada", json!(["staff"]));
    for signature in [
        Signature::OtherKey,
        Signature::None,
        Signature::Shared,
        Signature::Changed,
    ] {
        setup.provider.told().signature = signature;
        refused(&setup, &format!("{signature:?}"), "cannot be trusted").await;
    }
    setup.provider.told().signature = Signature::Right;
    for (what, status, body) in [
        ("no tokens", StatusCode::OK, "{}".to_owned()),
        (
            "no ID token",
            StatusCode::OK,
            r#"{"access_token": "a", "token_type": "Bearer"}"#.to_owned(),
        ),
        ("no JSON", StatusCode::OK, "<html>".to_owned()),
        (
            "refused",
            StatusCode::BAD_REQUEST,
            r#"{"error": "invalid_grant"}"#.to_owned(),
        ),
        ("too long", StatusCode::OK, " ".repeat(300_000)),
        ("a redirect", StatusCode::FOUND, String::new()),
    ] {
        setup.provider.told().instead = Some((status, body));
        refused(&setup, what, "cannot be trusted").await;
    }
    assert_eq!(setup.people().await, []);
}

#[tokio::test]
async fn an_answer_belongs_to_one_attempt_of_one_browser() {
    let setup = setup().await;
    setup.provider.says("ada", json!(["owners"]));
    let (one, other) = (setup.begin().await, setup.begin().await);
    let stale = "please begin again";
    for (what, cookie, state) in [
        ("no cookie", "X: y", one.state()),
        ("another browser's state", one.cookie.as_str(), other.state()),
    ] {
        let answer = setup.end(cookie, &format!("code=c&state={state}")).await;
        assert!(
            answer.status == 403 && answer.text.contains(stale),
            "{what}: {}",
            answer.text
        );
    }
    assert_eq!(setup.provider.told().redeemed, 0, "no code was redeemed");
    let answer = setup
        .end(&one.cookie, &format!("code=c&state={}", one.state()))
        .await;
    assert!(
        answer.text.contains(stale),
        "the attempt was used up: {}",
        answer.text
    );

    let away = setup.begin().await;
    let query = format!("code=c&state={}", away.state());
    assert!(is_login(&setup.end(&away.cookie, &query).await));
    let again = setup.end(&away.cookie, &query).await;
    assert!(
        again.status == 403 && !is_login(&again),
        "an attempt is good once"
    );
    assert_eq!(setup.provider.told().redeemed, 1);

    let away = setup.begin().await;
    let mixed = setup
        .end(
            &away.cookie,
            &format!("code=c&state={}&iss=https://evil.example", away.state()),
        )
        .await;
    assert!(mixed.text.contains("another identity provider"), "{}", mixed.text);
    let away = setup.begin().await;
    let query = format!(
        "error=access_denied&error_description=Not+you+%3Cb%3E&state={}",
        away.state()
    );
    let denied = setup.end(&away.cookie, &query).await;
    assert!(
        denied
            .text
            .contains("the identity provider refused: Not you &lt;b&gt;"),
        "{}",
        denied.text
    );
    let invented = setup
        .end("X: y", "error=e&error_description=Call+this+number")
        .await;
    assert!(
        !invented.text.contains("Call this number"),
        "only the provider's words are shown"
    );
    let away = setup.begin().await;
    let none = setup.end(&away.cookie, &format!("state={}", away.state())).await;
    assert!(none.text.contains("has no code"), "{}", none.text);
    assert_eq!(setup.provider.told().redeemed, 1);
}

#[tokio::test]
async fn new_keys_are_read_and_invented_ones_do_not_make_the_cloud_ask() {
    let setup = setup().await;
    setup.provider.says("ada", json!(["owners"]));
    assert!(is_login(&setup.sign_in().await));
    assert_eq!(setup.provider.told().key_reads, 1);
    {
        let mut told = setup.provider.told();
        (told.key, told.published) = (2, vec![2]);
    }
    // The keys were read less than ten seconds ago.
    for _ in 0..2 {
        refused(&setup, "a new key", "cannot be trusted").await;
    }
    assert_eq!(setup.provider.told().key_reads, 1);
}

#[tokio::test]
async fn guessing_is_slowed_down() {
    let setup = setup().await;
    let mut refusals = 0;
    for _ in 0..25 {
        let answer = setup.end("X: y", "code=c&state=s").await;
        refusals += usize::from(answer.status == 429);
    }
    assert!(refusals >= 4, "{refusals}");
    assert_eq!(setup.provider.told().redeemed, 0);
}
