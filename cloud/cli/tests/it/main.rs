//! The command line: its contract, and firmware from an author's point of view.

mod authoring;
mod authoring_rust;
mod contract;
mod help;
mod local;
mod script_check;
