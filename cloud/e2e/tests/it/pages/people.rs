//! Pages of people and organisations: an owner invites a person, who joins and may only look.

use iottly_e2e::{CloudHome, beside_others};

use super::{checker, inspect};
use crate::webdriver::{Browser, is_installed};

const PASSWORD: &str = "correct horse battery";
/// Name that becomes an element where it is taken for HTML, and is long.
const NAME: &str = "<img/src=x/data-hostile/onerror=\"window.hostile=1\">wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww";

/// Joins by the link that the browser shows.
fn join(browser: &Browser, name: &str) {
    browser.write(&browser.find("#name"), name);
    browser.write(&browser.find("#password"), PASSWORD);
    browser.write(&browser.find("#again"), PASSWORD);
    browser.click(&browser.find("form[action='/join'] button"));
    browser.find("nav.side");
}

#[test]
fn an_owner_invites_a_person_who_joins_and_may_only_look() {
    let _turn = beside_others();
    if !is_installed() {
        eprintln!("not tried: chromium and chromedriver are not installed");
        return;
    }
    let home = CloudHome::new();
    let device = home.device("home", "porch", "function loop() { return 1000; }");
    let (cloud, ready) = home.start_ready(&[], |_| {});
    let url = device.api.url.clone();
    let axe = checker();
    let mut defects = Vec::new();
    let mut look = |browser: &Browser, page: &str| {
        inspect(browser, axe.as_deref(), page, &mut defects);
        browser.look(1280, false);
    };
    let owner = Browser::start(true);
    owner.open(ready["login"].as_str().expect("a link for the first person"));
    look(&owner, "join");
    join(&owner, NAME);
    owner.open(&format!("{url}/account"));
    owner.click(&owner.find("main a[href^='/members/']"));
    owner.shows("Members of");
    let members = owner.url();
    look(&owner, "members");
    owner.click(&owner.find("form[action$='/invite'] button"));
    let link = owner.run("return document.querySelector('#link').textContent");
    let link = link.as_str().expect("a link").to_owned();
    assert!(
        link.starts_with(&format!("{url}/join?key=")),
        "a whole address: {link}"
    );
    look(&owner, "members-invited");

    let second = Browser::start(true);
    second.open(&format!("{url}/join?key=wrong"));
    second.shows("This link was used already or is too old.");
    // The answer's status, 403, is reported by the browser.
    second.console();
    look(&second, "join-spent");
    second.open(&link);
    join(&second, "eve");
    // A viewer sees the members and has no act; the forms of the owner are refused.
    second.open(&members);
    second.shows("eve");
    second.shows("viewer");
    assert!(
        second.try_find("form[action$='/invite']").is_none(),
        "{}",
        second.text()
    );
    assert!(
        second.try_find("form[action$='/change']").is_none(),
        "{}",
        second.text()
    );
    look(&second, "members-viewer");
    second.run(&format!(
        "const form = document.createElement('form');
         form.method = 'post'; form.action = new URL({members:?}).pathname + '/invite';
         document.body.append(form); form.submit();"
    ));
    second.shows("That did not work");
    second.open(&link);
    second.shows("This link was used already or is too old.");
    // The log of the organisation, with and without a match.
    owner.open(&format!("{members}/audit"));
    owner.shows("member.join");
    look(&owner, "organization-audit");
    owner.open(&format!("{members}/audit?filter=who%3Anone-of-them"));
    owner.shows("No entry matches");
    look(&owner, "organization-audit-nothing");
    owner.open(&members);
    owner.shows("eve");
    owner.click(&owner.find("button[value='remove']"));
    owner.shows("Done.");
    // The login of a person who is removed ends.
    second.open(&members);
    second.find("form.by-name");
    assert!(defects.is_empty(), "{defects:#?}");
    cloud.terminate();
}
