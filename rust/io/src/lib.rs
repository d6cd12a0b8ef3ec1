//! The edge of the zosnet data plane: TUN device, links, threads.
//!
//! | module | owns |
//! |---|---|
//! | [`node`] | the whole: start, commands, close |
//! | [`lane`] | the poll loops that move packets |
//! | [`shared`] | what threads share: tables, links, inboxes |
//! | [`link`], [`outqueue`] | one link as all see it; what waits for it |
//! | [`packets`], [`class`] | whole packets in a buffer; their traffic class |
//! | [`keeper`], [`peers`] | handshakes and timers of links and sessions; the keys that lanes use |
//! | [`tun`], [`tcp`] | devices and sockets |
//! | [`udp`] | datagram links between our own nodes |
//! | [`quic`], [`handoff`] | the transport beside the lanes, and the seam to it |
//! | [`events`], [`counters`], [`probe`] | what goes up to Python |
//! | [`sys`] | system calls that need `unsafe` |

pub mod class;
pub mod counters;
pub mod events;
pub mod handoff;
pub mod keeper;
pub mod lane;
pub mod link;
pub mod node;
pub mod outqueue;
pub mod packets;
pub mod peers;
pub mod probe;
pub mod quic;
pub mod shared;
pub mod sys;
pub mod tcp;
pub mod tun;
pub mod udp;
