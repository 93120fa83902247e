//! Signed repository metadata: The Update Framework, specification 1.0, on the client's side.
//!
//! [`Client`] runs the specification's client workflow (section 5) with its I/O behind two small traits:
//! [`Fetch`] (a web server, a folder on a stick) and [`Store`] (the device's folder, memory). Every decision
//! is in [`Trusted`], which has bytes and the time as arguments and no other input. Signatures are verified
//! over the bytes as they were sent: unknown fields count, and what is stored is what was received.
//!
//! # Signature policy
//!
//! - **One threshold function**, [`verify_threshold`], for every role and for directives. It counts distinct
//!   public keys: neither a repeated signature nor one key under two ids counts twice.
//! - **ed25519 is strict**: the scalar `s` is below the group order, neither the key nor `R` is of small
//!   order, points are encoded canonically, and the equation is the one without cofactor.
//!   `tests/it/signatures.rs` has the vectors.
//! - **ecdsa-sha2-nistp256** counts only where [`Schemes`] allows it. Keys of other schemes are carried and
//!   never count.
//! - Repeated object keys, fractions, repeated key ids in a role or in a list of signatures make metadata
//!   malformed.

mod client;
mod delegation;
mod digest;
mod envelope;
mod error;
mod hex;
mod instant;
mod json;
mod key;
pub mod limits;
mod metadata;
mod quote;
mod role;
#[cfg(feature = "sign")]
mod sign;
mod stream;
mod trusted;
mod vouched;

pub use client::{Client, Fetch, FetchError, Located, Place, Store};
pub use delegation::{DelegatedRole, Delegations, SuccinctRoles};
pub use digest::{FileInfo, sha256_hex};
pub use envelope::{Signature, verify_threshold};
pub use error::TufError;
pub use hex::{decode as decode_hex, encode as encode_hex};
pub use instant::Instant;
pub use json::{canonical, canonical_value};
pub use key::{Key, KeyVal, Schemes};
pub use metadata::{Header, Kind, Root, SIGNED_AT_KEY, Snapshot, TargetFile, Targets, Timestamp};
pub use quote::{quote, quote_path};
pub use role::RoleKeys;
#[cfg(feature = "sign")]
pub use sign::{SigningKey, sign, sign_value};
pub use stream::CheckedReader;
pub use trusted::{TimestampNews, Trusted};
pub use vouched::{Refreshed, Start, Vouched, refresh};
