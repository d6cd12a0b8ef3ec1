//! Datagram links between our own nodes: sockets, batches, and what lanes and keeper need of a link.
//!
//! | module | owns |
//! |---|---|
//! | [`socket`] | opening the port |
//! | [`batch`] | many datagrams a system call, both ways |
//! | [`outbox`] | what a lane has sealed and not yet sent, in trains |

pub mod batch;
pub mod outbox;
pub mod socket;
