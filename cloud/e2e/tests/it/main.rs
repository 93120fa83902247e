//! The promises that cross crates, with real processes.

mod api;
mod approval;
mod arrival;
mod board;
mod browser;
mod browser_build;
mod browser_screens;
mod clocks;
mod clones;
#[path = "../../../store/tests/it/cluster.rs"]
mod cluster;
mod commands;
mod containers;
mod delivery;
mod demo;
mod dev;
mod enrolment;
mod fleet;
mod full;
mod jobs;
mod journey;
mod login;
mod mails;
mod memory;
mod one_port;
mod pages;
mod release;
mod rollout;
mod secrets;
mod sections;
mod sign_in;
mod strangers;
mod upgrade;
mod webdriver;
mod webhooks;
mod whole_backup;
