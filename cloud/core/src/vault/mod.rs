//! Encryption with a passphrase: a small text such as a key, or a stream of any length such as a backup. Pure; random
//! bytes are arguments.

mod locked;
mod passphrase;
mod stream;

pub use locked::{LockedError, is_locked, lock, unlock};
pub use passphrase::{Cost, MIN_PASSPHRASE, PassphraseError, SALT};
pub use stream::{CHUNK, FRAME, HEADER, Next, Opener, Sealer, VaultError};
