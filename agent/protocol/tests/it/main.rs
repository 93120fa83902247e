//! Tests of the protocol against fixed bytes, published vectors and a repository that misbehaves.

mod board;
mod golden;
mod health;
mod orders;
mod signatures;
mod tuf;
