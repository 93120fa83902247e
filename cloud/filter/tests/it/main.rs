//! The filter language and its bounds.

mod budget;
mod golden;
