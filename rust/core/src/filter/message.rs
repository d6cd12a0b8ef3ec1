//! The header of the message protocol, as far as the filter needs it: which packets open an exchange, and which
//! belong to one that this node opened.
//!
//! ```text
//! 0    8       10         12
//! | id | flags | reserved | body by kind ...
//! ```
//! A reply uses the id of the message that it answers, and so do all acknowledgements.

const INIT: u16 = 0x8000;
const DONE: u16 = 0x4000;
const CHUNK: u16 = 0x1000;
const REPLY: u16 = 0x0400;
const ACK: u16 = 0x0100;

const HEADER: usize = 12;

fn read(body: &[u8]) -> Option<(u64, u16)> {
    let (head, _) = body.split_first_chunk::<HEADER>()?;
    let (id, rest) = head.split_first_chunk::<8>()?;
    let (flags, _) = rest.split_first_chunk::<2>()?;
    Some((u64::from_be_bytes(*id), u16::from_be_bytes(*flags)))
}

/// The id of a packet that wants to be acknowledged.
#[must_use]
pub fn asks(body: &[u8]) -> Option<u64> {
    let (id, flags) = read(body)?;
    (flags & (INIT | CHUNK | DONE) != 0 && flags & ACK == 0).then_some(id)
}

/// The id of a packet that may answer one which had the same id: all but the beginning of a new message.
#[must_use]
pub fn answers(body: &[u8]) -> Option<u64> {
    let (id, flags) = read(body)?;
    (flags & INIT == 0 || flags & (ACK | REPLY) != 0).then_some(id)
}

/// Whether a message begins with it.
#[must_use]
pub fn begins(body: &[u8]) -> bool {
    read(body).is_some_and(|(_, flags)| flags & INIT != 0 && flags & ACK == 0)
}
