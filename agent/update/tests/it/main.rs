//! Tests of the update on a simulated disk, clock and network.

mod power;
