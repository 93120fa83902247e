//! The cloud as its users meet it: a real broker, a real database and a real HTTP server in every test.

mod board;
#[path = "../../../store/tests/it/cluster.rs"]
mod cluster;
mod device;
mod reflect;
mod support;
mod two_tenants;

mod addresses;
mod alerts;
mod api;
mod approval;
mod bound;
mod broker;
mod builds;
mod clock_steps;
mod commands;
mod dashboard;
mod edge;
mod engines;
mod enrolment;
mod filters;
mod floods;
mod gaps;
mod hostile_text;
mod ingest;
mod leases;
mod log_context;
mod logins;
mod manage;
mod manifests;
mod matrix;
mod names;
mod one_port;
mod pages;
mod people;
mod presence;
mod refusals;
mod release_readers;
mod release_size;
mod rollout_ends;
mod rollouts;
mod service;
mod sign_in;
mod webhooks;
