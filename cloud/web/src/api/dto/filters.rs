//! Filters in bodies of requests: JSON of the filter language, or text in the short form.

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::api::message_filter::json_of;
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

    /// Returns a filter of messages as JSON text of the filter language; an empty text is no filter.
    ///
    /// # Errors
    /// 400 with the reason if it is no filter.
    pub(crate) fn of_messages(self) -> Result<Option<String>, ApiError> {
        let text = self.text();
        if text.trim().is_empty() {
            return Ok(None);
        }
        json_of(&text)
            .map(Some)
            .map_err(|reason| ApiError::invalid("invalid_filter", format!("filter: {reason}")))
    }
}
