//! JSON types for message definitions.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// Message definitions of a project.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct DefinitionList {
    /// Definitions, by type; each is `{"<type>": {"<key>": {"type": …}}, "metadata": {…}}`.
    pub messagedefinitions: Vec<Value>,
    /// HTTP status: always 200.
    pub status: u16,
}

/// Message definition.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct OneDefinition {
    /// The definition: `{"<type>": {"<key>": {"type": …}}, "metadata": {…}}`.
    pub messagedefinition: Value,
    /// HTTP status: always 200.
    pub status: u16,
}

/// Sample message, from which a definition is proposed.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct SampleBody {
    /// Type of the messages; by default the sample's, if it is `{"<type>": {…}}`, else `event`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub cmd_type: Option<String>,
    /// Sample: an object with values, at most 16 KiB.
    #[schema(value_type = Object)]
    pub sample: Value,
}

/// Message definition that was proposed; nothing is stored.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct ProposedDefinition {
    /// The definition: `{"<type>": {"<key>": {"type": …}}, "metadata": {…}}`.
    pub messagedefinition: Value,
    /// Number of the sample's values that have no room in the definition.
    pub left_out: usize,
    /// HTTP status: always 200.
    pub status: u16,
}
