//! Attacks with floods of requests to the REST API.

use serde_json::json;

use super::{Strike, together};
use crate::site::Tenant;
use crate::wire::Rest;

pub(super) fn endless_builds(tenant: &Tenant) -> Strike {
    let rest = Rest::new(tenant);
    let (_, group) = rest.post("/deploymentgroups", &json!({"name": "g", "branch": "main"}));
    let id = group["deployment_group"]["id"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let tenant = tenant.clone();
    Box::new(move |until| {
        together(8, until, move |index, until| {
            let rest = Rest::new(&tenant);
            for number in 0_u64.. {
                if until.over() {
                    return;
                }
                // Different code each time, so that no result is cached.
                let code = format!("while (true) {{}} // {index} {number}");
                rest.put(
                    "/branches/main/snippets",
                    &json!({"snippets": [{"name": "global", "code": code}]}),
                );
                rest.post("/branches/main/revisions", &json!({"message": "endless"}));
                rest.post(&format!("/deploymentgroups/{id}/flashfw"), &json!({}));
            }
        });
    })
}

pub(super) fn uploads(tenant: &Tenant) -> Strike {
    let tenant = tenant.clone();
    Box::new(move |until| {
        together(4, until, move |index, until| {
            let rest = Rest::new(&tenant);
            for number in 0_u64.. {
                if until.over() {
                    return;
                }
                // An empty component with a custom section of eight megabytes.
                let mut section = vec![1, b'x'];
                section.extend(number.to_le_bytes());
                section.extend([u8::try_from(index).expect("small")]);
                section.resize(8 << 20, 0);
                let mut component = b"\0asm\x0d\0\x01\0\0".to_vec();
                let mut length = section.len();
                while length >= 128 {
                    component.push(u8::try_from(length % 128).expect("seven bits") | 0x80);
                    length /= 128;
                }
                component.push(u8::try_from(length).expect("seven bits"));
                component.extend(section);
                rest.post_bytes("/branches/main/component", "application/wasm", &component);
            }
        });
    })
}

pub(super) fn logins(tenant: &Tenant) -> Strike {
    let tenant = tenant.clone();
    Box::new(move |until| {
        together(4, until, move |_, until| {
            let rest = Rest::new(&tenant);
            while !until.over() {
                rest.login();
            }
        });
    })
}

pub(super) fn deletions(tenant: &Tenant) -> Strike {
    let tenant = tenant.clone();
    Box::new(move |until| {
        together(16, until, move |_, until| {
            let rest = Rest::new(&tenant);
            while !until.over() {
                let (_, made) = rest.post("/device", &json!({"name": "short-lived"}));
                if let Some(id) = made["ID"].as_str() {
                    rest.delete(&format!("/device/{id}"));
                }
            }
        });
    })
}
