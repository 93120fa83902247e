//! Endpoints that read the history of a device: by cursors, by page numbers, and as a whole.

mod cursor;
pub(super) mod export;
pub(super) mod list;
mod page;
pub(super) mod paginated;

use iottly_core::history::filter;
use iottly_core::short_form::MESSAGES;
use iottly_filter::Filter;

use crate::error::ApiError;

pub(crate) use page::{Page, page};

/// Reads `queryJson`: conditions such as `temp>30 at>2026-11-26`, or a MongoDB filter as extended JSON.
///
/// # Errors
/// 400 when the text is neither.
fn read_filter(text: &str) -> Result<Filter, ApiError> {
    if text.trim_start().starts_with(['{', '[']) {
        return Ok(filter(text)?);
    }
    let json = MESSAGES
        .translate(text)
        .map_err(|error| ApiError::invalid("invalid_filter", format!("queryJson: {error}")))?;
    Ok(filter(&json)?)
}
