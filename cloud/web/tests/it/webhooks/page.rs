//! The page of a webhook: its buttons lead back to it, and what was refused is still in the form.

use serde_json::json;

use super::receiver::{Receiver, Reply};
use super::{cloud, hook, logged, say, shown};
use crate::support::{Answer, TestCloud};

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";

struct Page {
    cloud: TestCloud,
    receiver: Receiver,
    cookie: String,
    path: String,
    id: String,
}

impl Page {
    async fn begin() -> Self {
        let cloud = cloud().await;
        let receiver = Receiver::start().await;
        let (id, _) = hook(&cloud, json!({}), &receiver.url()).await;
        let cookie = cloud.login(&cloud.tenant.token).await;
        Self {
            path: format!("/p/<project id>/webhooks/{id}"),
            cloud,
            receiver,
            cookie,
            id,
        }
    }

    async fn press(&self, fields: &str) -> Answer {
        let headers = [self.cookie.as_str(), FORM];
        self.cloud
            .request("POST", &self.path, &headers, fields.as_bytes())
            .await
    }

    /// Presses a button, and returns the page that the browser is sent to.
    async fn led_to(&self, fields: &str) -> String {
        let answer = self.press(fields).await;
        assert_eq!(answer.status, 303, "{fields}: {}", answer.text);
        let to = answer.header("location").expect("a page").to_owned();
        let page = self.cloud.request("GET", &to, &[&self.cookie], b"").await;
        assert_eq!(page.status, 200, "{to}: {}", page.text);
        page.text
    }
}

#[tokio::test]
async fn buttons_lead_back_to_the_page_so_that_loading_it_again_does_nothing_twice() {
    let page = Page::begin().await;
    say(&page.cloud, 0..1).await;
    logged(&page.cloud, &page.id, 1).await;
    let message = page.receiver.requests()[0].id().to_owned();
    let replayed = page.led_to(&format!("do=replay&message={message}")).await;
    assert!(replayed.contains("1 deliveries are sent again"), "{replayed}");
    page.receiver.wait_for(2).await;

    page.receiver.always(Some(Reply::status(500)));
    let tested = page.press("do=test").await;
    assert_eq!(tested.status, 303);
    logged(&page.cloud, &page.id, 3).await;
    let to = tested.header("location").expect("a page").to_owned();
    let shown = page.cloud.request("GET", &to, &[&page.cookie], b"").await.text;
    assert!(shown.contains("The test was not taken: http_500"), "{shown}");
    let forged = format!("{}?done=tested&message=Call%20this%20number", page.path);
    let forged = page
        .cloud
        .request("GET", &forged, &[&page.cookie], b"")
        .await
        .text;
    assert!(
        !forged.contains("Call this number"),
        "an address puts no words on the page: {forged}"
    );

    let none = page.led_to("do=replay_since&since=2000-01-01T00%3A00").await;
    assert!(none.contains("0 deliveries are sent again"), "{none}");
    let refused = page.press("do=replay_since&since=yesterday").await;
    assert_eq!(refused.status, 400);
    assert!(refused.text.contains("is not a time such as"), "{}", refused.text);

    let link = page.press("do=portal").await;
    assert_eq!(link.status, 200, "a secret is in no address");
    assert!(link.text.contains("/portal/open?key="), "{}", link.text);
    let open = format!("/v1.0/project/<project id>/webhooks/{}/portals", page.id);
    let open = page.cloud.get(&open).await.ok();
    let portal = open["portals"][0]["id"].as_str().expect("an id");
    let closed = page.led_to(&format!("do=close_portal&portal={portal}")).await;
    assert!(closed.contains("The link is closed."), "{closed}");
    page.cloud.shutdown().await;
}

#[tokio::test]
async fn settings_that_are_refused_stay_in_the_form() {
    let page = Page::begin().await;
    let typed = "do=save&url=ftp%3A%2F%2Fexample.com&description=tried&type=user&channel=porch&filter=temperature%3E30";
    let refused = page.press(typed).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    for kept in [
        "ftp://example.com",
        "value=\"tried\"",
        "value=\"porch\"",
        "temperature&gt;30",
    ] {
        assert!(refused.text.contains(kept), "{kept}: {}", refused.text);
    }
    assert!(
        refused.text.contains("<details class=\"card\" open"),
        "{}",
        refused.text
    );
    assert_eq!(shown(&page.cloud, &page.id).await["description"], "");
    let url = page.receiver.url().replace(':', "%3A").replace('/', "%2F");
    let saved = page
        .led_to(&format!(
            "do=save&url={url}&description=kept&type=all&channel=*&enabled=yes"
        ))
        .await;
    assert!(saved.contains("Saved, for messages from now on."), "{saved}");
    assert_eq!(shown(&page.cloud, &page.id).await["description"], "kept");
    page.cloud.shutdown().await;
}
