//! Logins of people on machines, which `iottly login` makes.

use iottly_protocol::ProjectId;

use super::{MachineLoginId, Scopes, UnixMs, UserId};

/// Maximum number of machine logins of a user.
pub const MAX_MACHINE_LOGINS: i64 = 50;

/// Permission of a machine to act for a person, without the hash of its secret. In each project it allows what both the
/// person's role and its own scopes allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineLogin {
    /// Id of the login.
    pub id: MachineLoginId,
    /// Person for whom the machine acts.
    pub user: UserId,
    /// Name that the machine gave itself.
    pub machine: String,
    /// First characters of the secret, by which people distinguish logins.
    pub prefix: String,
    /// Address that the machine asked from; none if it is unknown.
    pub address: Option<String>,
    /// Project that the login is for; none for all projects of the person.
    pub project: Option<ProjectId>,
    /// Maximum permissions in each project.
    pub scopes: Scopes,
    /// Creation time.
    pub created: UnixMs,
    /// Expiry.
    pub expires: UnixMs,
    /// Time of the last use, exact to an hour.
    pub used: Option<UnixMs>,
    /// Number of times that all logins of the user had been ended before; see [`User::logins`](super::User::logins).
    pub round: u64,
}

impl MachineLogin {
    /// Returns true if the login has not expired and was not ended with all logins of the user; `round` is their present
    /// number.
    #[must_use]
    pub fn is_live(&self, round: u64, now: UnixMs) -> bool {
        now < self.expires && self.round == round
    }
}
