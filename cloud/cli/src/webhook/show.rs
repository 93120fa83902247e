//! Text for the answers of the webhook commands.

use iottly_web::answers::{AttemptDto, WebhookDto, WebhookWithSecret};

use crate::table::plain;

/// Maximum length of a receiver's answer in a line, in characters.
const ANSWER: usize = 120;

/// Shows a new secret.
pub(super) fn secret(answer: &WebhookWithSecret) -> String {
    format!(
        "webhook {}\nsecret  {}\n",
        answer.webhook.id,
        answer.secret.expose()
    )
}

/// Shows a webhook after a change.
pub(super) fn whole(hook: &WebhookDto) -> String {
    plain(&row(hook).join("  ")) + "\n"
}

pub(super) fn row(hook: &WebhookDto) -> Vec<String> {
    let state = match (hook.enabled, &*hook.breaker) {
        (false, _) => format!("off: {}", hook.disabled_reason.as_deref().unwrap_or_default()),
        (true, "open") => "failing".to_owned(),
        (true, _) => "on".to_owned(),
    };
    vec![
        hook.id.to_string(),
        state,
        hook.url.clone(),
        format!("type {}, channel {}", hook.kind, hook.channel),
        format!(
            "waiting {}, failed {}, dropped {}, skipped {}",
            hook.waiting, hook.failed, hook.dropped, hook.skipped
        ),
    ]
}

pub(super) fn attempt(attempt: &AttemptDto) -> String {
    let answer: String = plain(&attempt.answer).chars().take(ANSWER).collect();
    format!(
        "{}  {} ms  message {}  attempt {}  {answer}\n",
        attempt.result, attempt.milliseconds, attempt.message, attempt.attempt
    )
}
