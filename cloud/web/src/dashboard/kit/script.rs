//! The box below a page that shows its action as a command line and as a request.

use maud::{Markup, html};

use super::icons::{Icon, icon};

/// Returns the box of one of several actions of a page, which its heading names.
pub(in super::super) fn script_for(action: &str, command: &str, rest: (&str, &str, Option<&str>)) -> Markup {
    titled(&format!("From a script: {action}"), command, rest)
}

/// Returns the box; `rest` is a method, a path below the project, and a body or `None`.
pub(in super::super) fn script(command: &str, rest: (&str, &str, Option<&str>)) -> Markup {
    titled("Do this from a script", command, rest)
}

/// Returns a text as one word of a shell's command line.
pub(in super::super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn titled(title: &str, command: &str, (method, path, body): (&str, &str, Option<&str>)) -> Markup {
    let curl = curl(method, path, body);
    html! {
        details.script {
            summary { (icon(Icon::Script)) (title) }
            div {
                p.label { "Command line" }
                (snippet(command))
                p.label { "REST" }
                (snippet(&curl))
            }
        }
    }
}

fn curl(method: &str, path: &str, body: Option<&str>) -> String {
    let mut line = "curl ".to_owned();
    if method != "GET" {
        line += &format!("-X {method} ");
    }
    line += "-H \"Authorization: Bearer $IOTTLY_TOKEN\" ";
    if let Some(body) = body {
        line += &format!("-H 'Content-Type: application/json' -d {} ", word(body));
    }
    line + &format!("\"$IOTTLY_URL/v1.0/project/$IOTTLY_PROJECT{path}\"")
}

/// Returns a text as one word of a command line.
pub(in super::super) fn word(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Returns a text to copy, with a button for it.
pub(in super::super) fn snippet(text: &str) -> Markup {
    html! {
        copy-text.snippet {
            pre { (text) }
            button type="button" data-kind="plain" data-size="s" hidden { (icon(Icon::Copy)) "Copy" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::curl;

    #[test]
    fn a_body_is_quoted_for_the_shell() {
        assert_eq!(
            curl("POST", "/device/1/command", Some(r#"{"a":"it's"}"#)),
            "curl -X POST -H \"Authorization: Bearer $IOTTLY_TOKEN\" -H 'Content-Type: application/json' \
             -d '{\"a\":\"it'\\''s\"}' \"$IOTTLY_URL/v1.0/project/$IOTTLY_PROJECT/device/1/command\""
        );
    }
}
