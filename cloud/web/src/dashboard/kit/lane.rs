//! Lanes of messages: those of firmware, those of the platform, or both.

use iottly_core::model::StoredMessage;
use iottly_protocol::MessageKind;
use maud::{Markup, html};

use super::super::text;
use crate::api::message_filter::json_of;

/// Messages that a page shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Lane {
    All,
    /// Messages of firmware.
    User,
    /// Messages of the platform: of agents, about presence, about gaps.
    Platform,
}

impl Lane {
    /// Reads the field `show` of an address.
    pub(in super::super) fn of(show: Option<&str>) -> Self {
        match show {
            Some("user") => Self::User,
            Some("platform") => Self::Platform,
            _ => Self::All,
        }
    }

    /// Returns the value in addresses; none for all messages.
    pub(in super::super) const fn name(self) -> Option<&'static str> {
        match self {
            Self::All => None,
            Self::User => Some("user"),
            Self::Platform => Some("platform"),
        }
    }

    const fn kind(self) -> Option<&'static str> {
        match self {
            Self::All => None,
            Self::User => Some("userdefined"),
            Self::Platform => Some("iottlyagent"),
        }
    }

    fn has(self, message: &StoredMessage) -> bool {
        match self {
            Self::All => true,
            Self::User => message.kind != MessageKind::IottlyAgent,
            Self::Platform => message.kind == MessageKind::IottlyAgent,
        }
    }

    /// Returns the first `most` messages of the lane, and the number of others among them.
    pub(in super::super) fn split(
        self,
        messages: Vec<StoredMessage>,
        most: usize,
    ) -> (Vec<StoredMessage>, usize) {
        let (mut shown, mut hidden) = (Vec::new(), 0);
        for message in messages {
            match self.has(&message) {
                true if shown.len() == most => break,
                true => shown.push(message),
                false => hidden += 1,
            }
        }
        (shown, hidden)
    }

    /// Returns the filter that a script needs for the same messages; `text` is that of the page.
    pub(in super::super) fn filter(self, text: &str) -> String {
        match (self.kind(), json_of(text)) {
            (None, _) | (_, Err(_)) => text.to_owned(),
            (Some(kind), _) if text.is_empty() => format!("type:{kind}"),
            (Some(kind), Ok(json)) => format!(r#"{{"$and":[{json},{{"type":"{kind}"}}]}}"#),
        }
    }

    /// Returns the number of hidden messages in words; none for zero.
    pub(in super::super) fn hidden(self, count: usize) -> Option<String> {
        let other = match self {
            Self::All => return None,
            Self::User => "platform message",
            Self::Platform => "user message",
        };
        (count > 0).then(|| format!("{} hidden", text::counted(count, other)))
    }
}

/// Returns the links between the lanes of a page, and the field that keeps the lane when its filter changes. `own` is the
/// page's address without a query.
pub(in super::super) fn lanes(own: &str, filter: &str, here: Lane) -> Markup {
    let address = |lane: Lane| {
        let fields = [
            ("show", lane.name().unwrap_or_default().to_owned()),
            ("filter", text::escaped(filter)),
        ];
        let fields = fields.into_iter().filter(|(_, value)| !value.is_empty());
        let fields: Vec<_> = fields.map(|(name, value)| format!("{name}={value}")).collect();
        match fields.is_empty() {
            true => own.to_owned(),
            false => format!("{own}?{}", fields.join("&")),
        }
    };
    html! {
        div.seg role="group" aria-label="Messages" {
            @for (lane, words) in [(Lane::All, "All"), (Lane::User, "User"), (Lane::Platform, "Platform")] {
                a href=(address(lane)) aria-current=[(lane == here).then_some("true")] { (words) }
            }
        }
        @if let Some(show) = here.name() { input type="hidden" name="show" value=(show) form="filter-form"; }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_links_keep_the_filter_and_a_script_gets_one_filter() {
        let links = lanes("/p/1/stream", "a&b", Lane::User).into_string();
        assert!(
            links.contains(r#"href="/p/1/stream?filter=a%26b""#)
                && links.contains(r#"href="/p/1/stream?show=platform&amp;filter=a%26b""#)
                && links.contains(r#"name="show" value="user""#),
            "{links}"
        );
        assert_eq!(Lane::of(Some("user")).filter(""), "type:userdefined");
        assert_eq!(Lane::of(Some("x")).filter("temp>30"), "temp>30");
        let both = Lane::Platform.filter("temp>30 or door:open");
        assert!(
            both.starts_with(r#"{"$and":["#) && both.ends_with(r#",{"type":"iottlyagent"}]}"#),
            "{both}"
        );
        assert!(json_of(&both).is_ok(), "{both}");
        assert_eq!(Lane::User.hidden(1).as_deref(), Some("1 platform message hidden"));
        assert_eq!(Lane::User.hidden(0), None);
    }
}
