//! Tests of the client against servers that are silent, that answer at length, or that are not there.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;

use super::*;

/// Returns a client of a server that answers every request with these bytes, and then sends nothing and closes nothing.
fn client_of(answer: Vec<u8>) -> Api {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(stream.try_clone().expect("a socket")).lines();
            while lines
                .next()
                .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
            {}
            let _ = (&stream).write_all(&answer);
            open.push(stream);
        }
    });
    let remote = Remote {
        url: None,
        token: None,
        ca: None,
        project: None,
    };
    let mut api = Api::anonymous(&remote, &url);
    api.authorization = Some(Secret::new("Bearer t"));
    api
}

#[test]
fn a_stream_that_is_silent_for_too_long_ends() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: watching\n\nevent: lagged\ndata: {\"count\":1}\n\n";
    let api = client_of(head.to_vec());
    let stream = api.long("/events", "text/event-stream", Duration::from_millis(300));
    let mut seen = Vec::new();
    let began = std::time::Instant::now();
    let lost = crate::tail::read(BufReader::new(stream.expect("a stream")), &mut |event, _| {
        seen.push(event.to_owned());
        Ok(())
    });
    assert!(matches!(lost, Ok(crate::tail::Lost::Silent)));
    assert_eq!(seen, ["lagged"], "what came before is shown");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn a_long_answer_is_read_and_one_without_json_is_explained() {
    let answer =
        |body: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes();
    let long = format!("{{\"text\":\"{}\"}}", "x".repeat(11 << 20));
    let read = client_of(answer(&long)).get("/long");
    assert_eq!(
        read.expect("an answer")["text"].as_str().map(str::len),
        Some(11 << 20)
    );
    let page = client_of(answer("<html>")).get("/").expect_err("no JSON");
    assert!(page.to_string().contains("check --url"), "{page}");
}

#[test]
fn a_cloud_that_is_not_there_is_an_error_with_the_next_step() {
    let remote = Remote {
        url: None,
        token: None,
        ca: None,
        project: None,
    };
    let mut api = Api::anonymous(&remote, "http://127.0.0.1:9");
    api.authorization = Some(Secret::new("Bearer t"));
    let error = api.get("/projects").expect_err("nothing listens").to_string();
    assert!(
        error.contains("cannot reach http://127.0.0.1:9/v1.0/projects")
            && error.contains("the cloud at http://127.0.0.1:9 runs")
            && error.contains("--url"),
        "{error}"
    );
}

#[test]
fn the_time_of_the_cloud_is_read() {
    assert_eq!(
        http_date("Wed, 19 Apr 2017 10:47:58 GMT"),
        Some(1_492_598_878_000)
    );
    assert_eq!(http_date("yesterday"), None);
}
