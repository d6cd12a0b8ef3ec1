//! Links over loopback: between two of ours, and with peers made of bare quinn.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that meets the unexpected should end"
)]

mod links;
mod peers;
mod silence;
mod stock;
