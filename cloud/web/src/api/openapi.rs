//! OpenAPI description: the descriptions of the routes, completed with the parts that are common to all of
//! them.

use serde_json::{Value, json};
use utoipa::PartialSchema as _;
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder};

use crate::error::ErrorDto;

/// Returns the description without routes: title, version and summary.
pub(crate) fn start() -> OpenApi {
    let info = InfoBuilder::new()
        .title("iottly")
        .version(env!("CARGO_PKG_VERSION"));
    let info = info.description(Some(
        "Projects, devices, deployment groups, commands and the history of messages.",
    ));
    OpenApiBuilder::new().info(info).build()
}

/// Returns the whole description as JSON. Path parameters, errors and authentication are added here, so that
/// no route can omit them.
pub(crate) fn complete(routes: &OpenApi) -> Value {
    let mut document =
        serde_json::to_value(routes).expect("a description has string keys and serializes without failing");
    let paths = std::mem::take(&mut document["paths"]);
    let paths = paths.as_object().into_iter().flatten().map(|(path, item)| {
        // The root of a nested router has a trailing slash.
        let path = path.trim_end_matches('/').to_owned();
        let mut item = item.clone();
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            describe(operation, method, &path);
        }
        (path, item)
    });
    document["paths"] = paths.collect();
    document["components"]["schemas"]["Error"] = serde_json::to_value(ErrorDto::schema())
        .expect("a schema has string keys and serializes without failing");
    document["components"]["securitySchemes"] = json!({
        "token": {"type": "http", "scheme": "bearer", "description": "An API token"},
    });
    document["security"] = json!([{"token": []}]);
    document
}

/// Completes the description of an operation.
fn describe(operation: &mut Value, method: &str, path: &str) {
    let names: Vec<_> = path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .collect();
    operation["operationId"] = Value::String(operation_id(method, path));
    if path.ends_with("/flashfw") {
        // The documented call has no body, but utoipa marks every body as required.
        operation["requestBody"]["required"] = Value::Bool(false);
    }
    let parameters = names.iter().map(|name| {
        let (schema, description) = parameter(name);
        json!({"name": name, "in": "path", "required": true, "schema": schema, "description": description})
    });
    let mut parameters: Vec<_> = parameters.collect();
    parameters.extend(operation["parameters"].as_array().into_iter().flatten().cloned());
    if !parameters.is_empty() {
        operation["parameters"] = Value::Array(parameters);
    }
    for (status, description) in errors(operation.get("security").is_none(), !names.is_empty()) {
        operation["responses"][status] = error(description);
    }
}

/// Returns the id of an operation: `get_project_device_props` for `GET
/// /v1.0/project/{project}/device/{device}/props`. A parameter at the end is added as `_by_NAME`.
fn operation_id(method: &str, path: &str) -> String {
    let mut parts: Vec<_> = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != "v1.0")
        .collect();
    let last = parts
        .last()
        .and_then(|part| part.strip_prefix('{')?.strip_suffix('}'));
    parts.retain(|part| !part.starts_with('{'));
    let by = last.map(|name| format!("_by_{name}")).unwrap_or_default();
    format!("{method}_{}{by}", parts.join("_"))
}

/// Returns the schema and the description of a path parameter.
fn parameter(name: &str) -> (Value, &'static str) {
    let uuid = json!({"type": "string", "format": "uuid"});
    let text = json!({"type": "string", "minLength": 1, "maxLength": 128});
    match name {
        "project" => (
            json!({"type": "string", "pattern": "^[0-9a-f]{24}$"}),
            "Id of the project",
        ),
        "device" => (uuid, "Id of the device"),
        "member" => (uuid, "Id of a device in the group"),
        "group" => (uuid, "Id of the deployment group"),
        "token" => (uuid, "Id of the token"),
        "command" => (uuid, "Id of the command"),
        "snippet" => (uuid, "Id of the snippet"),
        "copy" => (
            json!({"type": "integer", "format": "int64", "minimum": 1}),
            "Number of the board",
        ),
        "code" => (text, "Code that the board shows, such as 7K3M-9PQX"),
        "enrolmentkey" => (uuid, "Id of the enrolment key"),
        "alert" => (uuid, "Id of the alert"),
        "rule" => (uuid, "Id of the alert rule"),
        "webhook" => (uuid, "Id of the webhook"),
        "licence" => (
            json!({"type": "string", "pattern": "^[0-9a-f]{32}$"}),
            "Code of the licence",
        ),
        "revision" => (
            json!({"type": "integer", "format": "int64", "minimum": 1}),
            "Number of the revision",
        ),
        "rollout" => (uuid, "Id of the rollout"),
        "job" => (uuid, "Id of the job"),
        "lease" => (uuid, "Id of the developer lease"),
        "release" => (
            json!({"type": "integer", "format": "int64", "minimum": 1}),
            "Number of the release",
        ),
        "branch" => (text, "Name of the branch"),
        _ => (text, "Type of the message definition"),
    }
}

/// Returns the errors that an operation can return, with their descriptions.
fn errors(authenticated: bool, about_something: bool) -> impl Iterator<Item = (&'static str, &'static str)> {
    let always = [("400", "The request is invalid"), ("default", "Unexpected error")];
    let authenticated = authenticated.then_some([
        ("401", "The request has no valid token"),
        ("403", "The token does not grant access to this"),
        ("429", "Too many requests"),
    ]);
    let about = about_something.then_some([
        ("404", "The object does not exist"),
        (
            "409",
            "The name is taken, the object is in use, or a limit is reached",
        ),
    ]);
    always
        .into_iter()
        .chain(authenticated.into_iter().flatten())
        .chain(about.into_iter().flatten())
}

fn error(description: &str) -> Value {
    json!({"description": description, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_have_names_of_their_own() {
        let id = operation_id("get", "/v1.0/project/{project}/device/{device}/props");
        assert_eq!(id, "get_project_device_props");
        assert_eq!(
            operation_id("delete", "/v1.0/project/{project}/device/{device}"),
            "delete_project_device_by_device"
        );
    }
}
