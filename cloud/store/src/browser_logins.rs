//! Logins of browsers, by the hashes of their secrets; no secret is stored.

use async_trait::async_trait;

use crate::error::Result;
use iottly_core::model::{BrowserLogin, LoginsOf, SecretHash, UnixMs};

/// Store operations for logins of browsers.
#[async_trait]
pub trait BrowserLoginStore: Send + Sync + 'static {
    /// Returns the login whose secret has this hash, even if it is over.
    async fn browser_login(&self, hash: SecretHash) -> Result<Option<BrowserLogin>>;
    /// Adds a login. Ends the oldest login of its token or user at [`BROWSER_LOGINS`](iottly_core::model::BROWSER_LOGINS), and the
    /// oldest one of the project's busiest token at
    /// [`BROWSER_LOGINS_OF_PROJECT`](iottly_core::model::BROWSER_LOGINS_OF_PROJECT).
    async fn add_browser_login(&self, hash: SecretHash, login: BrowserLogin) -> Result<()>;
    /// Records the use of a login.
    async fn touch_browser_login(&self, hash: SecretHash, now: UnixMs) -> Result<()>;
    /// Removes a login; a missing one counts as removed.
    async fn end_browser_login(&self, hash: SecretHash) -> Result<()>;
    /// Removes all logins of a token, a project or a person, and returns their number.
    async fn end_browser_logins(&self, of: LoginsOf) -> Result<u64>;
    /// Removes at most `limit` logins that expired before a date, and returns their number.
    async fn forget_browser_logins(&self, before: UnixMs, limit: usize) -> Result<u64>;
}
