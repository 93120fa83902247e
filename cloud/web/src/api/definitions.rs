//! Endpoints for message definitions in the documented form: `{"<type>": {"<key>": {…}}, "metadata": {…}}`.

use axum::extract::Path;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Answer;
use super::body::JsonObject;
use super::dto::{DefinitionList, Done, OK, OneDefinition, ProposedDefinition, SampleBody};
use super::spaced::Spaced;
use crate::auth::ProjectAccess;
use crate::error::ApiError;
use iottly_cloud::clock;
use iottly_core::model::{
    Change, Definition, DefinitionOption, Direction, OptionFacts, OptionKind, Scopes, normalised, propose,
};

/// Lists the message definitions of the project.
#[utoipa::path(
    get,
    path = "/messagedefinitions",
    tag = "message definitions",
    responses((status = 200, description = "The message definitions", body = DefinitionList))
)]
pub(crate) async fn all(access: ProjectAccess) -> Answer<DefinitionList> {
    let messagedefinitions = access.definitions().await?.iter().map(shape).collect();
    Ok(Spaced(DefinitionList {
        messagedefinitions,
        status: OK,
    }))
}

/// Returns a message definition.
#[utoipa::path(
    get,
    path = "/messagedefinitions/{type}",
    tag = "message definitions",
    responses((status = 200, description = "The message definition", body = OneDefinition))
)]
pub(crate) async fn one(
    access: ProjectAccess,
    Path((_, cmd_type)): Path<(String, String)>,
) -> Answer<OneDefinition> {
    let found = access.services().store.definition(access.id(), &cmd_type).await?;
    answer(&found.ok_or_else(|| ApiError::missing("project has no such message definition"))?)
}

/// Adds a message definition.
///
/// A command gets a handler in every branch.
#[utoipa::path(
    post,
    path = "/messagedefinitions",
    tag = "message definitions",
    request_body(content = Object, description = "`{\"<type>\": {\"<key>\": {\"type\": …}}, \"metadata\": {…}}`. An option may have `value_type` (`text`, `integer`, `number` or `boolean`), `unit`, `minimum`, `maximum` and `default`"),
    responses((status = 200, description = "The new message definition", body = OneDefinition))
)]
pub(crate) async fn create(access: ProjectAccess, JsonObject(body): JsonObject) -> Answer<OneDefinition> {
    let definition = parse(body)?;
    definition.can_be_handled()?;
    access
        .change(Change::CreateDefinition(definition.clone()), clock::now())
        .await?;
    answer(&definition)
}

/// Replaces a message definition.
///
/// Its type cannot be changed; everything else can.
#[utoipa::path(
    put,
    path = "/messagedefinitions/{type}",
    tag = "message definitions",
    request_body(content = Object, description = "`{\"<type>\": {\"<key>\": {\"type\": …}}, \"metadata\": {…}}`. An option may have `value_type` (`text`, `integer`, `number` or `boolean`), `unit`, `minimum`, `maximum` and `default`"),
    responses((status = 200, description = "The changed message definition", body = OneDefinition))
)]
pub(crate) async fn update(
    access: ProjectAccess,
    Path((_, cmd_type)): Path<(String, String)>,
    JsonObject(body): JsonObject,
) -> Answer<OneDefinition> {
    let known = access.services().store.definition(access.id(), &cmd_type).await?;
    let known = known.ok_or_else(|| ApiError::missing("project has no such message definition"))?;
    let definition = parse(body)?;
    if known.direction != Direction::Command {
        // Only checked when the definition becomes a command: an existing command keeps working.
        definition.can_be_handled()?;
    }
    if definition.cmd_type != cmd_type {
        let message = format!(
            "type of a message definition is fixed after creation: body says {:?}",
            definition.cmd_type
        );
        return Err(ApiError::invalid("invalid_definition", message));
    }
    access
        .change(Change::UpdateDefinition(definition.clone()), clock::now())
        .await?;
    answer(&definition)
}

/// Deletes a message definition.
///
/// Its handlers are kept under another name.
#[utoipa::path(
    delete,
    path = "/messagedefinitions/{type}",
    tag = "message definitions",
    responses((status = 200, description = "The message definition was deleted", body = Done))
)]
pub(crate) async fn delete(
    access: ProjectAccess,
    Path((_, cmd_type)): Path<(String, String)>,
) -> Answer<Done> {
    access
        .change(Change::DeleteDefinition(cmd_type), clock::now())
        .await?;
    Ok(Done::answer())
}

/// Proposes the definition of an event from a sample message: an option for each of its values.
///
/// Nothing is stored. The sample is a payload, a message as the history returns it, or a payload inside of its type.
#[utoipa::path(
    post,
    path = "/messagedefinition/from-sample",
    tag = "message definitions",
    request_body = SampleBody,
    responses((status = 200, description = "The proposed definition, as it can be added", body = ProposedDefinition))
)]
pub(crate) async fn from_sample(
    access: ProjectAccess,
    JsonObject(mut body): JsonObject,
) -> Answer<ProposedDefinition> {
    access.require(Scopes::WRITE)?;
    let cmd_type = match body.remove("type") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) => Some(name),
        Some(_) => return Err(ApiError::invalid("invalid_sample", "type is not text")),
    };
    let sample = body.remove("sample").unwrap_or_default();
    let (definition, left_out) = proposed(cmd_type.as_deref(), &sample.to_string())?;
    Ok(Spaced(ProposedDefinition {
        messagedefinition: shape(&definition),
        left_out,
        status: OK,
    }))
}

/// Returns the definition that a sample proposes, and the number of its values that have no room in it.
pub(crate) fn proposed(cmd_type: Option<&str>, sample: &str) -> Result<(Definition, usize), ApiError> {
    let proposal =
        propose(cmd_type, sample).map_err(|error| ApiError::invalid("invalid_sample", error.to_string()))?;
    Ok((proposal.definition, proposal.left_out))
}

fn answer(definition: &Definition) -> Answer<OneDefinition> {
    Ok(Spaced(OneDefinition {
        messagedefinition: shape(definition),
        status: OK,
    }))
}

/// Metadata of a definition in a request. `jsonfmt` is ignored, because it is derived from the keys.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Metadata {
    #[serde(rename = "type")]
    cmd_type: Option<String>,
    description: String,
    direction: Option<Direction>,
    #[serde(rename = "jsonfmt")]
    _format: Option<Value>,
}

#[derive(Deserialize)]
struct OptionBody {
    #[serde(flatten)]
    kind: OptionKind,
    #[serde(default)]
    optional: bool,
    #[serde(flatten)]
    facts: OptionFacts,
}

fn parse(mut body: Map<String, Value>) -> Result<Definition, ApiError> {
    let invalid = |message: String| ApiError::invalid("invalid_definition", message);
    let metadata: Metadata = match body.shift_remove("metadata") {
        None | Some(Value::Null) => Metadata::default(),
        Some(value) => {
            serde_json::from_value(value).map_err(|error| invalid(format!("metadata: {error}")))?
        }
    };
    let mut rest = body.into_iter();
    let (Some((cmd_type, keys)), None) = (rest.next(), rest.next()) else {
        return Err(invalid(
            "body is not {\"<type>\": {…}, \"metadata\": {…}}".to_owned(),
        ));
    };
    if metadata
        .cmd_type
        .is_some_and(|named| normalised(&named) != normalised(&cmd_type))
    {
        return Err(invalid(format!("metadata.type differs from {cmd_type:?}")));
    }
    let Value::Object(keys) = keys else {
        return Err(invalid(format!("{cmd_type:?} is not an object of keys")));
    };
    let options = keys.into_iter().map(|(key, value)| {
        let option =
            serde_json::from_value(value).map_err(|error| invalid(format!("key {key:?}: {error}")))?;
        let OptionBody {
            kind,
            optional,
            facts,
        } = option;
        Ok(DefinitionOption {
            key,
            kind,
            optional,
            facts,
        })
    });
    let definition = Definition {
        cmd_type,
        description: metadata.description,
        direction: metadata.direction.unwrap_or(Direction::Command),
        options: options.collect::<Result<_, ApiError>>()?,
    };
    Ok(definition.checked()?)
}

/// Returns a definition in the documented form.
pub(crate) fn shape(definition: &Definition) -> Value {
    let (mut keys, mut format) = (Map::new(), Map::new());
    for option in &definition.options {
        let mut shown = match &option.kind {
            OptionKind::FixedValue { value } => json!({"type": "FixedValue", "value": value}),
            OptionKind::MultipleChoice { listvalues } => {
                json!({"type": "MultipleChoice", "listvalues": listvalues})
            }
            OptionKind::FreeValue => json!({"type": "FreeValue"}),
        };
        if option.optional {
            shown["optional"] = json!(true);
        }
        let facts = serde_json::to_value(&option.facts).expect("facts have string keys");
        if let (Value::Object(shown), Value::Object(facts)) = (&mut shown, facts) {
            shown.extend(facts);
        }
        keys.insert(option.key.clone(), shown);
        format.insert(option.key.clone(), Value::String(placeholder(option)));
    }
    let cmd_type = definition.cmd_type.as_str();
    let mut shape = Map::new();
    shape.insert(cmd_type.to_owned(), Value::Object(keys));
    shape.insert(
        "metadata".to_owned(),
        json!({
            "type": cmd_type, "description": definition.description, "direction": definition.direction,
            "jsonfmt": {cmd_type: format},
        }),
    );
    Value::Object(shape)
}

fn placeholder(option: &DefinitionOption) -> String {
    let plain = match &option.kind {
        OptionKind::FixedValue { value } => value.clone(),
        OptionKind::MultipleChoice { listvalues } => format!("<{}>", listvalues.join("|")),
        OptionKind::FreeValue => "<free value>".to_owned(),
    };
    if option.optional {
        format!("[{plain}]")
    } else {
        plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_shape_reads_back() {
        let body = json!({
            "set light": {"brightness": {"type": "FreeValue", "value_type": "integer", "unit": "%", "minimum": 0, "maximum": 100, "default": 50}, "state": {"type": "MultipleChoice", "listvalues": ["on", "off"]}, "level": {"type": "FreeValue", "optional": true}},
            "metadata": {"type": "set light", "description": "A light.", "direction": "command", "jsonfmt": {"any": "thing"}},
        });
        let Value::Object(body) = body else {
            unreachable!("written as an object")
        };
        let definition = parse(body).expect("fits");
        assert_eq!(definition.cmd_type, "set_light");
        let shown = shape(&definition);
        assert_eq!(
            shown["metadata"]["jsonfmt"],
            json!({"set_light": {"brightness": "<free value>", "state": "<on|off>", "level": "[<free value>]"}})
        );
        assert_eq!(
            shown["set_light"]["brightness"],
            json!({"type": "FreeValue", "value_type": "integer", "unit": "%", "minimum": 0, "maximum": 100, "default": 50})
        );
        assert_eq!(
            shown["set_light"]["level"],
            json!({"type": "FreeValue", "optional": true}),
            "facts that are not set are absent"
        );
        let Value::Object(again) = shown else {
            unreachable!("a shape is an object")
        };
        assert_eq!(parse(again).expect("fits"), definition);
    }

    #[test]
    fn misfits_are_named() {
        for (body, expected) in [
            (json!({}), "body is not"),
            (json!({"a": {"k": {"type": "FreeValue"}}, "b": {}}), "body is not"),
            (json!({"a": []}), "not an object"),
            (json!({"a": {}}), "no keys"),
            (json!({"a": {"k": {"type": "Free"}}}), "key \"k\""),
            (json!({"a": {"k": {"type": "FixedValue"}}}), "value"),
            (
                json!({"a": {"k": {"type": "FreeValue", "value_type": "float"}}}),
                "key \"k\"",
            ),
            (
                json!({"a": {"k": {"type": "FreeValue", "value_type": "number", "minimum": 2, "maximum": 1}}}),
                "key \"k\": the minimum 2 is above the maximum 1",
            ),
            (
                json!({"a": {"k": {"type": "FreeValue"}}, "metadata": {"type": "b"}}),
                "metadata.type",
            ),
            (
                json!({"a": {"k": {"type": "FreeValue"}}, "metadata": {"direction": "up"}}),
                "metadata",
            ),
        ] {
            let Value::Object(map) = body.clone() else {
                unreachable!("written as objects")
            };
            let error = parse(map).expect_err(expected);
            assert!(error.message().contains(expected), "{body}: {}", error.message());
        }
    }
}
