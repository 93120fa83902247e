//! Filters in bodies of requests: JSON of the filter language, or text in the short form.

use iottly_core::history;
use iottly_core::short_form::MESSAGES;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::error::ApiError;

/// Filter: an object of MongoDB's filter language, or a text in the short form such as `temp>30 door:open`.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum FilterBody {
    /// Object of the filter language.
    #[schema(value_type = Object)]
    Json(Map<String, Value>),
    /// Text in the short form; a text that begins with `{` is JSON of the filter language.
    Text(String),
}

impl FilterBody {
    /// Returns the filter as text: JSON, or the short form.
    pub(crate) fn text(self) -> String {
        match self {
            Self::Json(filter) => Value::Object(filter).to_string(),
            Self::Text(text) => text,
        }
    }

    /// Returns a filter of messages as JSON text of the filter language.
    ///
    /// # Errors
    /// 400 with the reason if it is no filter.
    pub(crate) fn of_messages(self) -> Result<String, ApiError> {
        let json = MESSAGES
            .translate(&self.text())
            .map_err(|error| ApiError::invalid("invalid_filter", format!("filter: {error}")))?;
        history::filter(&json)
            .map_err(|error| ApiError::invalid("invalid_filter", format!("filter: {error}")))?;
        Ok(json)
    }
}
