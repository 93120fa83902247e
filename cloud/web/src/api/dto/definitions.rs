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
