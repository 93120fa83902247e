//! Endpoint for the number of messages of a project in each of the last minutes.

use super::Answer;
use super::dto::MinutesDto;
use super::query::Params;
use super::spaced::Spaced;
use crate::auth::ProjectAccess;
use crate::error::ApiError;
use iottly_core::model::{MinuteUsage, UnixMs};

const MINUTE_MS: UnixMs = 60_000;
/// Number of minutes unless the caller says otherwise: an hour.
pub(crate) const DEFAULT_MINUTES: usize = 60;
/// Maximum number of minutes: a day, for which they are kept.
pub(crate) const MAX_MINUTES: usize = 24 * 60;

/// Returns the number of messages that were stored in each of the last minutes, oldest first; the last one is not over yet.
#[utoipa::path(
    get,
    path = "/usage/minutes",
    tag = "projects",
    params(
        ("minutes" = Option<i64>, Query, minimum = 1, description = "Number of minutes; 60 by default, 1440 at most"),
    ),
    responses((status = 200, description = "The minutes, also those without messages", body = MinutesDto))
)]
pub(super) async fn show(access: ProjectAccess, params: Params) -> Answer<MinutesDto> {
    let count = params.count("minutes", DEFAULT_MINUTES, MAX_MINUTES)?;
    Ok(Spaced(MinutesDto::of(&read(&access, count).await?)))
}

/// Reads the last minutes, each with its number.
///
/// # Errors
/// 500 when the store fails.
pub(crate) async fn read(access: &ProjectAccess, count: usize) -> Result<Vec<MinuteUsage>, ApiError> {
    let services = access.services();
    let now = services.time.received();
    let running = now.div_euclid(MINUTE_MS) * MINUTE_MS;
    let span = UnixMs::try_from(count)
        .unwrap_or(UnixMs::MAX)
        .saturating_mul(MINUTE_MS);
    let (from, to) = ((running + MINUTE_MS).saturating_sub(span), running + MINUTE_MS);
    let known = services.store.minutes(access.id(), from, to).await?;
    let mut known = known.into_iter().peekable();
    let starts = (0_i64..).map(|place| from + place * MINUTE_MS).take(count);
    let minute = |start| MinuteUsage {
        start,
        messages: known
            .next_if(|minute| minute.start == start)
            .map_or(0, |minute| minute.messages),
    };
    Ok(starts.map(minute).collect())
}
