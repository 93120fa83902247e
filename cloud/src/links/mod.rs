//! Links of devices: their last packets, noted as they are read, and when devices sent messages last. In memory only.

mod book;
mod link;

pub(crate) use book::{Book, Moment};
pub(crate) use link::{Link, Watched};
