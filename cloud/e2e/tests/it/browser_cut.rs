//! Live pages whose network is cut without a word: each says so, and continues by itself when the network is back.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use iottly_e2e::{Api, beside_others};
use serde_json::{Value, json};

use crate::browser::Demo;
use crate::pages::log_in;
use crate::webdriver::{Browser, is_installed};

/// Time after which a page says that its connection is gone: 12 s without a sign of life, and some patience.
const NOTICED: Duration = Duration::from_secs(30);

/// A network that can be cut: while it is, no byte passes and no connection ends.
struct Network {
    address: SocketAddr,
    cut: Arc<AtomicBool>,
}

impl Network {
    fn to(target: &str) -> Self {
        let target = target.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let cut = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&cut);
        std::thread::spawn(move || {
            for inner in listener.incoming().map_while(Result::ok) {
                let outer = TcpStream::connect(&target).expect("the cloud listens");
                for (from, to) in [(&inner, &outer), (&outer, &inner)] {
                    let (from, to) = (from.try_clone().expect("a copy"), to.try_clone().expect("a copy"));
                    let cut = Arc::clone(&seen);
                    std::thread::spawn(move || forward(from, to, &cut));
                }
            }
        });
        Self { address, cut }
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, cut: &AtomicBool) {
    let mut buffer = [0; 16 << 10];
    while let Ok(length) = from.read(&mut buffer) {
        while cut.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(20));
        }
        if length == 0 || to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

/// Page that is live, and how it shows that.
struct Live {
    path: String,
    /// Element that is there while the page is live.
    live: &'static str,
    /// Element that is there while the page has no connection.
    gone: &'static str,
    /// Words of the page then.
    says: &'static str,
    /// Row of a list, of which a new one comes when the page is live.
    row: &'static str,
}

#[test]
fn live_pages_say_that_the_network_is_cut_and_continue_when_it_is_back() {
    let _turn = beside_others();
    if !is_installed() {
        eprintln!("not tried: chromium and chromedriver are not installed");
        return;
    }
    let demo = Demo::start(2);
    let network = Network::to(demo.url());
    let browser = Browser::start(true);
    let url = format!("http://{}", network.address);
    let project = log_in(&browser, &url, demo.says("Token"));
    let api = Api::new(demo.url(), demo.says("Token"), &project);
    let devices = api.get(&format!("/project/{project}/devices/props")).1;
    let device = |n: usize| devices["devices"][n]["ID"].as_str().expect("an id").to_owned();
    let stream = |path: String| Live {
        path,
        live: ".link[data-state='live']",
        gone: ".link[data-state='wait']",
        says: "reconnecting, as of",
        row: "live-feed li[data-new]",
    };
    let pages = [
        stream(format!("/devices/{}", device(0))),
        stream("/stream".to_owned()),
        Live {
            path: format!("/devices/{}/board", device(0)),
            live: "[data-standing][data-state='live']",
            gone: "[data-standing]:not([data-state='live'])",
            says: "the cloud cannot be reached",
            row: "svg [data-part='led'][data-on='true']",
        },
        Live {
            path: format!("/code/main/loop?lease={}", lease(&api, &device(1))),
            live: ".pane-head .link[data-state='live']",
            gone: ".pane-head .link[data-state='wait']",
            says: "reconnecting, as of",
            row: "lease-feed li[data-new]",
        },
    ];
    for page in &pages {
        browser.open(&format!("{url}/p/{project}{}", page.path));
        browser.find(page.live);
        browser.find(page.row);
        browser.run("window.stays = true");
        network.cut.store(true, Ordering::SeqCst);
        let began = Instant::now();
        browser.find(page.gone);
        let noticed = began.elapsed();
        assert!(noticed < NOTICED, "{}: noticed after {noticed:?}", page.path);
        browser.shows(page.says);
        network.cut.store(false, Ordering::SeqCst);
        browser.find(page.live);
        // A device's page reads what it has missed; the stream of all devices does not.
        if page.path == "/stream" {
            browser.shows("messages of that time may be missing here");
        }
        if page.row.ends_with("li[data-new]") {
            let list = page.row.trim_end_matches("[data-new]");
            browser.run(&format!(
                "for (const row of document.querySelectorAll({list:?})) row.remove()"
            ));
        }
        // The LED goes out and comes back; rows are new ones.
        browser.find(page.row);
        assert_eq!(
            browser.run("return window.stays"),
            true,
            "{}: not loaded again",
            page.path
        );
        eprintln!("{}: a cut is noticed after {noticed:?}", page.path);
    }
    demo.end();
}

/// Runs a script that sends a message each second on a test device; returns the id of the lease.
fn lease(api: &Api, device: &str) -> String {
    let path = |rest: &str| format!("/project/{}{rest}", api.project);
    let made = |(status, answer): (u16, Value)| {
        assert!((200..300).contains(&status), "{answer}");
        answer
    };
    let lease = made(api.post(&path("/leases"), &json!({"devices": [device], "hours": 1})));
    let id = lease["lease"]["id"].as_str().expect("an id").to_owned();
    let script = "function loop() { send_msg({ bench: 'alive' }); return 1000; }";
    let code = json!({"snippets": [{"name": "loop", "code": script}]});
    made(api.put(&path("/branches/main/snippets"), &code));
    made(api.put(&path(&format!("/leases/{id}/branch")), &json!({"branch": "main"})));
    api.wait_for_message(device, "a message of the test device", |message| {
        message["payload"]["bench"] == "alive"
    });
    id
}
