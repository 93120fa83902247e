//! Logins of people on machines, by the hashes of their secrets; no secret is stored. A login is created and revoked by a
//! [`PeopleChange`](crate::PeopleChange).

use async_trait::async_trait;

use crate::error::Result;
use iottly_core::model::{MachineLogin, MachineLoginId, SecretHash, UnixMs, UserId};

/// Store operations for logins of people on machines.
#[async_trait]
pub trait MachineLoginStore: Send + Sync + 'static {
    /// Returns the login whose secret has this hash, even if it is over.
    async fn machine_login(&self, hash: SecretHash) -> Result<Option<MachineLogin>>;
    /// Returns a login of a user, even if it is over.
    async fn machine_login_by_id(&self, user: UserId, id: MachineLoginId) -> Result<Option<MachineLogin>>;
    /// Returns the logins of a user, oldest first.
    async fn machine_logins(&self, user: UserId) -> Result<Vec<MachineLogin>>;
    /// Records the use of a login.
    async fn touch_machine_login(&self, user: UserId, id: MachineLoginId, now: UnixMs) -> Result<()>;
}
