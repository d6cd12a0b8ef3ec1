//! Datagram links between our own nodes: sockets, batches, and what lanes and keeper need of a link.
//!
//! | module | owns |
//! |---|---|
//! | [`socket`] | opening the port |
//! | [`batch`] | many datagrams a system call, both ways |
//! | [`depth`] | how much may wait for a socket |
//! | [`outbox`] | what a lane has sealed and not yet sent |
//! | [`patient`] | what is sent through a socket that a lane keeps full |
//! | [`train`] | datagrams of equal size that one call sends |

pub mod batch;
pub mod depth;
pub mod outbox;
pub mod patient;
pub mod socket;
pub mod train;
