//! The error of an agent's start.

use std::io;

use iottly_sandbox::{LoadError, RuntimeError};

use crate::datadir::DataDirError;
use crate::identity::IdentityError;
use crate::inbox::JournalError;
use crate::outbox::QueueError;

/// Error of an agent's start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The data folder cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The stored identity cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The queue cannot be used.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The command journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The sandbox cannot run here.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The cache of compiled firmware cannot be used.
    #[error(transparent)]
    Cache(#[from] LoadError),
    /// The system could not create a thread or provide random numbers.
    #[error("failed to start the agent: {0}")]
    System(io::Error),
}
