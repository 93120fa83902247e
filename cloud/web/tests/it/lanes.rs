//! Lanes of messages on the pages of a device and of a project, and messages that open.

use iottly_protocol::MessageKind;

use crate::support::start;

#[tokio::test]
async fn a_lane_shows_its_messages_and_counts_the_others() {
    let cloud = start().await;
    let cookie = cloud.login(&cloud.tenant.token).await;
    let (scope, now) = (cloud.tenant.scope, iottly_cloud::clock::now());
    let own: Vec<_> = (0..60).map(|n| format!(r#"{{"own":{n}}}"#)).collect();
    let own: Vec<_> = own.iter().map(String::as_str).collect();
    let of_agent = [r#"{"noted":1}"#, r#"{"noted":2}"#];
    cloud.store(scope, now - 10_000, &own).await;
    cloud
        .store_as(scope, now - 1000, MessageKind::IottlyAgent, None, &of_agent)
        .await;
    let page = async |query: &str| {
        let path = format!("/p/<project id>/devices/<device id>{query}");
        let answer = cloud.request("GET", &path, &[&cookie], b"").await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.text
    };
    let rows = |page: &str, name: &str| {
        page.matches(&format!("<summary><code>{{&quot;{name}&quot;:"))
            .count()
    };
    let all = page("").await;
    assert_eq!((rows(&all, "own"), rows(&all, "noted")), (48, 2), "the newest 50");
    let user = page("?show=user").await;
    assert_eq!((rows(&user, "own"), rows(&user, "noted")), (50, 0));
    assert!(
        user.contains("2 platform messages hidden")
            && user.contains(r#"data-show="user" data-hidden="2""#)
            && user.contains(r#"name="show" value="user" form="filter-form""#)
            && user.contains("iottly tail"),
        "{user}"
    );
    assert!(
        user.contains("--filter &#39;type:userdefined&#39;") || user.contains("--filter 'type:userdefined'")
    );
    let platform = page("?show=platform&filter=noted%3E1").await;
    assert_eq!((rows(&platform, "own"), rows(&platform, "noted")), (0, 1));
    assert!(!platform.contains("hidden</span>"), "the filter matches no other");
    let stream = cloud
        .request("GET", "/p/<project id>/stream?show=platform", &[&cookie], b"")
        .await
        .text;
    assert!(
        stream.contains(r#"data-show="platform""#)
            && stream.contains(r#"/stream?show=user""#)
            && stream.contains("type%3Aiottlyagent"),
        "{stream}"
    );
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_message_opens_without_a_script() {
    let cloud = start().await;
    let cookie = cloud.login(&cloud.tenant.token).await;
    let now = iottly_cloud::clock::now();
    let long = format!(r#"{{"long":"{}"}}"#, "x".repeat(10_000));
    let odd = r#"{"a":1.50,"b":["<script>alert(1)</script>"]}"#;
    cloud.store(cloud.tenant.scope, now, &[odd, &long]).await;
    for tab in ["", "/history"] {
        let path = format!("/p/<project id>/devices/<device id>{tab}");
        let page = cloud.request("GET", &path, &[&cookie], b"").await.text;
        let whole = "<pre>{\n  &quot;a&quot;: 1.50,\n  &quot;b&quot;: [\n    &quot;&lt;script&gt;alert(1)&lt;/script&gt;&quot;\n  ]\n}</pre>";
        assert!(page.contains(whole), "{page}");
        assert!(
            page.contains("The first 4096 of 10011 bytes.") && page.len() < 60_000,
            "{} bytes: {page}",
            page.len()
        );
    }
    cloud.shutdown().await;
}
