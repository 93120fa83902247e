//! The client workflow against a repository that can be made to misbehave.

mod attacks;
mod delegations;
mod engines;
mod keys;
mod mutations;
mod repo;
mod rollback;
mod scenario;
mod time;
mod workflow;
