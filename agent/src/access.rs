//! Decision which parts of the board firmware may use: what `agent.toml` grants and the owner's policy allows.

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use iottly_boards::Board;
use iottly_sandbox::Interface;
use iottly_update::read_file;
use serde::Deserialize;

use crate::grants::Grants;

/// File of the policy, unless the configuration names another.
pub const POLICY_FILE: &str = "/etc/iottly/policy.toml";
/// Maximum size of a policy, in bytes.
const MAX_POLICY_BYTES: u64 = 64 << 10;

/// Policy of the device's owner. Nothing that comes from the network changes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Labels that firmware may use; without it all that are not denied.
    allow: Option<Grants>,
    /// Labels that firmware may not use, whatever else allows them.
    deny: Grants,
    /// False forbids that people see a virtual board, and press its buttons, from the cloud.
    board_view: Option<bool>,
}

/// Reason why a policy is unusable.
#[derive(Debug, thiserror::Error)]
#[error("policy {path}: {reason}")]
pub struct PolicyError {
    path: String,
    reason: String,
}

impl Policy {
    /// Reads the policy; `None` if the file does not exist.
    ///
    /// # Errors
    /// [`PolicyError`] if the file cannot be read, is not a policy, or can be written by others than root and the
    /// agent's user.
    pub fn read(path: &Path) -> Result<Option<Self>, PolicyError> {
        let error = |reason: String| PolicyError {
            path: path.display().to_string(),
            reason,
        };
        let found = match std::fs::metadata(path) {
            Ok(found) => found,
            Err(reason) if reason.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(reason) => return Err(error(reason.to_string())),
        };
        let owner = found.uid();
        if owner != 0 && owner != rustix::process::geteuid().as_raw() {
            return Err(error(format!("it belongs to user {owner}, not to root")));
        }
        if found.mode() & 0o022 != 0 {
            return Err(error(
                "its group or all users can write it; run chmod 644".to_owned(),
            ));
        }
        let bytes = read_file(path, MAX_POLICY_BYTES).map_err(|reason| error(reason.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|_| error("it is not UTF-8 text".to_owned()))?;
        let policy =
            toml::from_str(&text).map_err(|reason| error(reason.to_string().trim_end().to_owned()))?;
        Ok(Some(policy))
    }

    /// Returns the policy that allows nothing.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            allow: Some(Grants::default()),
            deny: Grants::default(),
            board_view: Some(false),
        }
    }

    /// Returns true unless the owner forbids that people see a virtual board from the cloud.
    #[must_use]
    pub fn allows_view(&self) -> bool {
        self.board_view != Some(false)
    }
}

/// Parts of the board that firmware may use.
#[derive(Clone, Default)]
pub struct Access {
    grants: Option<Grants>,
    policy: Policy,
    board: Option<Arc<dyn Board>>,
}

impl Access {
    /// Combines the grants of the configuration and the policy. `None` as grants leaves the decision to the firmware's
    /// manifest; the board knows which labels mean the same device.
    #[must_use]
    pub fn new(grants: Option<Grants>, policy: Policy, board: Option<Arc<dyn Board>>) -> Self {
        Self {
            grants,
            policy,
            board,
        }
    }

    /// Returns `true` if firmware may use this label: no label of its device is denied, and both lists that exist have
    /// one of them.
    #[must_use]
    pub fn allow(&self, interface: Interface, label: &str) -> bool {
        let one = || vec![label.to_owned()];
        let names = self
            .board
            .as_ref()
            .map_or_else(one, |board| board.names(interface.name(), label));
        let any = |list: &Grants| names.iter().any(|name| list.allow(interface, name));
        let granted = |list: &Option<Grants>| list.as_ref().is_none_or(any);
        !any(&self.policy.deny) && granted(&self.policy.allow) && granted(&self.grants)
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("grants", &self.grants)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(grants: Option<&str>, policy: &str, board: Option<Arc<dyn Board>>) -> Access {
        let grants = grants.map(|text| toml::from_str(text).expect("grants"));
        Access::new(grants, toml::from_str(policy).expect("a policy"), board)
    }

    #[test]
    fn deny_wins_and_both_lists_have_to_allow() {
        let gpio =
            |access: &Access| ["led", "button", "relay"].map(|label| access.allow(Interface::Gpio, label));
        let both = "[allow]\ngpio = [\"led\", \"button\"]\n[deny]\ngpio = [\"button\"]";
        assert_eq!(gpio(&access(None, "", None)), [true, true, true]);
        assert_eq!(gpio(&access(None, both, None)), [true, false, false]);
        assert_eq!(
            gpio(&access(Some("gpio = [\"relay\", \"led\"]"), both, None)),
            [true, false, false]
        );
        assert_eq!(gpio(&access(Some("gpio = [\"relay\"]"), both, None)), [false; 3]);
        assert_eq!(gpio(&access(None, "[deny]\ngpio = [\"*\"]", None)), [false; 3]);
        assert_eq!(gpio(&access(None, "[allow]\ngpio = [\"*\"]", None)), [true; 3]);
        assert_eq!(gpio(&access(None, "[allow]\ni2c = [\"*\"]", None)), [false; 3]);
        assert_eq!(gpio(&Access::new(None, Policy::nothing(), None)), [false; 3]);
    }

    #[test]
    fn a_denied_line_has_no_second_name() {
        let profile = iottly_boards::profile::Profile::named("raspberry-pi-4").expect("it exists");
        let board: Arc<dyn Board> = Arc::new(iottly_boards::LinuxBoard::new(profile));
        let access = access(None, "[deny]\ngpio = [\"GPIO17\", \"pin7\"]", Some(board));
        for (label, allowed) in [
            ("GPIO17", false),
            ("pin11", false),
            ("GPIO4", false),
            ("GPIO18", true),
        ] {
            assert_eq!(access.allow(Interface::Gpio, label), allowed, "{label}");
        }
    }

    #[test]
    fn the_owner_can_forbid_the_view_of_the_board() {
        let allows = |text: &str| toml::from_str::<Policy>(text).expect("a policy").allows_view();
        assert!(allows("") && allows("board_view = true"));
        assert!(!allows("board_view = false\n[deny]\ngpio = [\"led\"]"));
        assert!(!Policy::nothing().allows_view());
    }

    #[test]
    fn a_policy_is_refused_by_name() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("policy.toml");
        assert_eq!(Policy::read(&path).expect("no file"), None);
        for (text, mode, words) in [
            ("[deny]\ngpio = [\"led\"]", 0o666, "can write it; run chmod 644"),
            (
                "[deny]\ngpoi = [\"led\"]",
                0o644,
                "is not an interface of a board",
            ),
            ("[dney]\ngpio = [\"led\"]", 0o644, "unknown field `dney`"),
        ] {
            std::fs::write(&path, text).expect("write");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("mode");
            let error = Policy::read(&path).expect_err(text).to_string();
            assert!(
                error.contains("policy.toml: ") && error.contains(words),
                "{error}"
            );
        }
        std::fs::write(&path, "[deny]\ngpio = [\"led\"]").expect("write");
        assert!(Policy::read(&path).expect("valid").is_some());
    }
}
