//! JSON types for message definitions.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// Message definitions of a project.
#[derive(Serialize, ToSchema)]
pub(crate) struct DefinitionList {
    /// Definitions, by type; each is `{"<type>": {"<key>": {"type": …}}, "metadata": {…}}`.
    pub(crate) messagedefinitions: Vec<Value>,
    /// HTTP status: always 200.
    pub(crate) status: u16,
}

/// Message definition.
#[derive(Serialize, ToSchema)]
pub(crate) struct OneDefinition {
    /// The definition: `{"<type>": {"<key>": {"type": …}}, "metadata": {…}}`.
    pub(crate) messagedefinition: Value,
    /// HTTP status: always 200.
    pub(crate) status: u16,
}
