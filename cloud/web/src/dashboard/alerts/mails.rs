//! Mails about alerts on the page of alerts: the state of their delivery, and a form for a test.

use iottly_core::model::UnixMs;
use maud::{Markup, html};

use super::super::kit::csv::csv_link;
use super::super::kit::empty::empty;
use super::super::text;
use crate::api::dto::{MailDto, MailList};

/// Maximum number of mails on the page; the API lists more.
const MAILS: usize = 20;

/// Returns the card; empty if the cloud sends no mails and has sent none.
pub(super) fn card(list: &MailList, own: &str, now: UnixMs, may: bool) -> Markup {
    if list.allowed.is_none() && list.mails.is_empty() {
        return html! {};
    }
    html! {
        section.card data-flush aria-labelledby="mails-title" {
            div.card-head {
                h2 #mails-title { "Mails" }
                (csv_link(&format!("{}/csv/mails", own.trim_end_matches("/alerts")), "mails.csv"))
                @if may && list.allowed.is_some() {
                    form.actions method="post" action={ (own) "/mails" } {
                        label.sr for="to" { "Address of the test mail" }
                        input #to name="to" type="email" required maxlength="254" placeholder="anne@example.org";
                        button data-size="s" { "Send a test mail" }
                    }
                }
            }
            @if list.in_this_hour >= list.per_hour {
                p.hint { "The project has had its " (list.per_hour) " mails of this hour; alerts are raised without a mail until the next." }
            }
            @if list.mails.is_empty() {
                (empty("No mails", "Mails of the last seven days are listed here, with the answer of the mail server if it refuses one.", &html! {}))
            } @else { (table(&list.mails, now)) }
        }
    }
}

fn table(mails: &[MailDto], now: UnixMs) -> Markup {
    html! {
        table.table data-fold {
            thead { tr { th { "Mail" } th { "To" } th { "State" } th.p2 { "Queued" } } }
            tbody { @for mail in mails.iter().take(MAILS) { tr {
                td { b.break { (mail.subject) } }
                td.break { (mail.to) }
                td {
                    span.tag data-tone=(tone(&mail.state)) { (mail.state) }
                    @if mail.state == "queued" && mail.attempts > 0 { " " span.soft { "after " (mail.attempts) " attempts" } }
                    @if let Some(reason) = &mail.reason { span.sub.break { (reason) } }
                }
                td.p2.soft { time datetime=(text::iso(mail.queued.at())) { (text::ago(mail.queued.at(), now)) " ago" } }
            } } }
        }
    }
}

fn tone(state: &str) -> &'static str {
    match state {
        "sent" => "good",
        "refused" => "bad",
        _ => "warn",
    }
}
