//! JSON types for message definitions.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
pub(crate) struct DefinitionList {
    pub(crate) messagedefinitions: Vec<Value>,
    pub(crate) status: u16,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct OneDefinition {
    pub(crate) messagedefinition: Value,
    pub(crate) status: u16,
}
