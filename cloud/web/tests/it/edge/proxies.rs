//! Clients behind proxies: counted by the address that a trusted proxy names.

use tokio::io::AsyncWriteExt;

use super::wire::{OK, ask, behind_proxies, closed_after, connack, connect, is_open, mqtt_connect, small};

fn version_1(address: &str) -> Vec<u8> {
    format!("PROXY TCP4 {address} 10.0.0.1 4711 1883\r\n").into_bytes()
}

fn version_2(address: [u8; 4]) -> Vec<u8> {
    let body = [
        &address[..],
        &[10, 0, 0, 1],
        &4711u16.to_be_bytes(),
        &1883u16.to_be_bytes(),
    ]
    .concat();
    [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &body].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_behind_a_proxy_log_in() {
    let cloud = behind_proxies().await;
    let device = cloud.tenant.scope.device.to_string();
    let login = mqtt_connect(&device, &device, "device secret");
    for header in [
        version_1("192.0.2.1"),
        version_2([192, 0, 2, 1]),
        b"PROXY UNKNOWN\r\n".to_vec(),
        Vec::new(),
    ] {
        let mut stream = connect(cloud.mqtt_addr().expect("a listener")).await;
        assert_eq!(
            connack(&mut stream, &[&header[..], &login].concat()).await,
            Some(0),
            "{header:?}"
        );
    }
    // In pieces, as slow links deliver it.
    let mut stream = connect(cloud.mqtt_addr().expect("a listener")).await;
    let header = version_1("192.0.2.1");
    for piece in header.chunks(7) {
        stream.write_all(piece).await.expect("sent");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(connack(&mut stream, &login).await, Some(0));
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_a_proxy_are_counted_one_by_one() {
    let cloud = behind_proxies().await;
    for (address, header) in [
        (cloud.mqtt_addr().expect("a listener"), &[0x10][..]),
        (cloud.address, &b"G"[..]),
    ] {
        // Four places for one address, eight in all. Before its header a client's address is not known, so a
        // connection of another address may be closed.
        let mut held = Vec::new();
        for n in 0..12u8 {
            let mut stream = connect(address).await;
            stream
                .write_all(&[&version_2([192, 0, 2, n % 2])[..], header].concat())
                .await
                .expect("sent");
            held.push(stream);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let mut open = [0; 2];
        for (n, stream) in held.iter_mut().enumerate() {
            open[n % 2] += usize::from(is_open(stream).await);
        }
        assert!(open.iter().all(|open| (3..=4).contains(open)), "{open:?}");
        let mut third = connect(address).await;
        third
            .write_all(&[&version_2([192, 0, 2, 9])[..], header].concat())
            .await
            .expect("sent");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        assert!(is_open(&mut third).await);
    }
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_names_nobody_is_not_one_address() {
    let cloud = behind_proxies().await;
    let mut held = Vec::new();
    for _ in 0..8 {
        let mut stream = connect(cloud.address).await;
        assert_eq!(ask(&mut stream, "").await.as_deref(), Some(OK));
        held.push(stream);
    }
    for stream in &mut held {
        assert!(
            is_open(stream).await,
            "the bound of one address does not hold for it"
        );
    }
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http_clients_are_named_by_either_header() {
    let cloud = behind_proxies().await;
    // Metrics are for this machine: a client behind a proxy is on another.
    for (header, status) in [
        (&version_1("127.0.0.1")[..], "200"),
        (&version_1("192.0.2.1")[..], "401"),
        (&version_2([192, 0, 2, 1])[..], "401"),
    ] {
        let mut stream = connect(cloud.address).await;
        let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(&[header, request].concat()).await.expect("sent");
        let answer = String::from_utf8_lossy(&closed_after(&mut stream).await.0).into_owned();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
    cloud
        .request("GET", "/metrics", &["X-Forwarded-For: 192.0.2.1"], b"")
        .await
        .error(401);
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_headers_end_the_connection() {
    let cloud = behind_proxies().await;
    let device = cloud.tenant.scope.device.to_string();
    let login = mqtt_connect(&device, &device, "device secret");
    for header in [
        &b"PROXY TCP4 nonsense\r\n"[..],
        b"\r\n\r\n\0\r\nQUIT\n\x51\x11\0\x0c",
        &[b"PROXY ", [b'x'; 500].as_slice()].concat(),
    ] {
        for (address, request) in [
            (cloud.mqtt_addr().expect("a listener"), &login[..]),
            (cloud.address, &b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"[..]),
        ] {
            let mut stream = connect(address).await;
            stream.write_all(&[header, request].concat()).await.expect("sent");
            assert!(closed_after(&mut stream).await.0.is_empty(), "{header:?}");
        }
    }
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_name_nobody() {
    let cloud =
        small(|config| config.edge.trusted_proxies = vec!["192.0.2.0/24".parse().expect("a network")]).await;
    let device = cloud.tenant.scope.device.to_string();
    let login = mqtt_connect(&device, &device, "device secret");
    for header in [version_1("127.0.0.1"), version_2([127, 0, 0, 1])] {
        let mut stream = connect(cloud.mqtt_addr().expect("a listener")).await;
        assert_eq!(
            connack(&mut stream, &[&header[..], &login].concat()).await,
            None,
            "{header:?}"
        );
        let mut stream = connect(cloud.address).await;
        stream
            .write_all(&[&header[..], b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"].concat())
            .await
            .expect("sent");
        let answer = String::from_utf8_lossy(&closed_after(&mut stream).await.0).into_owned();
        assert!(!answer.contains("200 OK"), "{answer}");
    }
    // The header of an untrusted client changes nothing: still one address.
    let mut held = Vec::new();
    for n in 0..12 {
        let mut stream = connect(cloud.address).await;
        let _ = ask(&mut stream, &format!("X-Forwarded-For: 203.0.113.{n}\r\n")).await;
        held.push(stream);
    }
    let mut open = 0;
    for stream in &mut held {
        open += usize::from(is_open(stream).await);
    }
    assert!(open <= 4, "{open}");
    cloud.shutdown().await;
}
