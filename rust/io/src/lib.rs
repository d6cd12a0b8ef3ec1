//! The edge of the zosnet data plane: TUN device, links, threads.

pub mod handoff;
pub mod sys;
