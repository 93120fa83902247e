//! Endpoints that read the history of a device: by cursors, by page numbers, and as a whole.

mod cursor;
pub(super) mod export;
pub(super) mod list;
mod page;
pub(super) mod paginated;

pub(crate) use page::{Page, page};
