//! Tests of the agent without firmware: delivery to a broker, faults of the disk, clocks and the cloud.

mod clock_steps;
mod delivery;
mod encrypted;
mod full_disk;
mod hostile;
mod power_cut;
mod support;
mod watchdog;
