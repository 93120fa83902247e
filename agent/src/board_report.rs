//! `iottly-agent board`: report of the parts that the board offers, which are free, and what firmware may use.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use iottly_agent::{Access, AgentConfig, BoardKind, POLICY_FILE, Policy};
use iottly_boards::{Part, State};
use iottly_sandbox::Interface;

/// Describes a board: the configured one, or the one for this machine.
pub(crate) fn report(config: Option<&AgentConfig>, json: bool) -> anyhow::Result<String> {
    let kind = config
        .and_then(|config| config.board.clone())
        .unwrap_or(BoardKind::Auto);
    let policy_file = config.and_then(|config| config.policy.as_deref());
    let policy = Policy::read(policy_file.unwrap_or(Path::new(POLICY_FILE)))?.unwrap_or_default();
    let board = kind.board()?;
    let grants = config.and_then(|config| config.grants.clone());
    let access = Access::new(grants, policy, Some(Arc::clone(&board)));
    let parts: Vec<_> = board
        .parts()
        .into_iter()
        .map(|part| {
            let interface = Interface::from_name(part.interface);
            let allowed = interface.is_some_and(|interface| access.allow(interface, &part.label));
            (part, allowed)
        })
        .collect();
    if json {
        return as_json(board.kind(), &parts);
    }
    as_text(board.kind(), &parts).context("failed to format the report")
}

fn as_json(kind: &str, parts: &[(Part, bool)]) -> anyhow::Result<String> {
    let parts: Vec<_> = parts
        .iter()
        .map(|(part, allowed)| {
            let (state, reason) = state(part);
            serde_json::json!({
                "interface": part.interface,
                "label": part.label,
                "alias": part.alias,
                "device": part.device,
                "state": state,
                "reason": reason,
                "allowed": allowed,
            })
        })
        .collect();
    let report = serde_json::json!({ "board": kind, "parts": parts });
    Ok(serde_json::to_string(&report).context("failed to encode the report")? + "\n")
}

fn state(part: &Part) -> (&'static str, Option<&str>) {
    match &part.state {
        State::Free => ("free", None),
        State::Used(by) => ("used", Some(by)),
        State::Refused(why) => ("refused", Some(why)),
    }
}

fn as_text(kind: &str, parts: &[(Part, bool)]) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    writeln!(out, "board {kind}")?;
    for (part, allowed) in parts {
        let alias = part
            .alias
            .as_ref()
            .map(|alias| format!(" or {alias}"))
            .unwrap_or_default();
        let label = format!("{}{alias}", part.label);
        let denied = if *allowed {
            ""
        } else {
            "; the policy denies it to firmware"
        };
        let state = match state(part) {
            ("used", Some(by)) => format!("in use by {by}"),
            ("refused", Some(why)) => why.to_owned(),
            (state, _) => state.to_owned(),
        };
        writeln!(
            out,
            "{:5} {label:18} {}: {state}{denied}",
            part.interface, part.device
        )?;
    }
    if parts.is_empty() {
        writeln!(
            out,
            "no parts: this machine has no GPIO chip, bus or port that firmware could use"
        )?;
    }
    Ok(out)
}
