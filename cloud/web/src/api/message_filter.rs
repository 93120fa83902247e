//! Filters over messages as they are stored, for event streams.

use iottly_core::history::{self, Sender};
use iottly_core::model::StoredMessage;
use iottly_core::short_form::MESSAGES;
use iottly_filter::{Budget, Filter, Undecided};

use crate::app::WebServices;
use crate::error::ApiError;

/// Maximum number of steps for which a filter examines one message.
const MAX_STEPS: u64 = 5_000;

/// A valid filter over messages.
pub(crate) struct MessageFilter {
    filter: Filter,
    asks_for_sender: bool,
}

impl MessageFilter {
    /// Reads a filter: the short form, or JSON; an empty text is none.
    ///
    /// # Errors
    /// 400 with the reason when the text is no filter.
    pub(crate) fn of(text: &str) -> Result<Option<Self>, ApiError> {
        if text.trim().is_empty() {
            return Ok(None);
        }
        let json = json_of(text).map_err(|reason| ApiError::invalid("invalid_filter", reason))?;
        let filter = history::filter(&json)?;
        Ok(Some(Self {
            asks_for_sender: history::asks_for_sender(&filter),
            filter,
        }))
    }

    /// Returns true if a message matches.
    ///
    /// # Errors
    /// If that is not decided within the steps for a message.
    pub(crate) async fn matches(
        &self,
        services: &WebServices,
        message: &StoredMessage,
    ) -> Result<bool, Undecided> {
        let sender = if self.asks_for_sender {
            services.names.of(services.store.as_ref(), message.scope).await
        } else {
            None
        };
        self.decide(message, sender.as_deref())
    }

    fn decide(&self, message: &StoredMessage, sender: Option<&Sender>) -> Result<bool, Undecided> {
        let mut budget = Budget::steps(MAX_STEPS);
        self.filter
            .matches(&history::document(message, sender), &mut budget)
    }
}

/// Returns the JSON of the filter language that a text stands for.
///
/// # Errors
/// With the reason when the text is no filter over messages.
pub(crate) fn json_of(text: &str) -> Result<String, String> {
    let json = MESSAGES.translate(text).map_err(|error| error.to_string())?;
    history::filter(&json).map_err(|error| error.to_string())?;
    Ok(json)
}
