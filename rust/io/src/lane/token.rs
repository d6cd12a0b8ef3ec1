//! What epoll tells a lane of, as the 64 bits that the kernel keeps for it.

use crate::handoff::LinkId;

/// What an epoll token stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// The inbox.
    Wake,
    /// The TUN queue.
    Tun,
    /// A listener, by its place.
    Listener(u32),
    /// A dial under way, by its number.
    Dial(u32),
    /// A link.
    Link(LinkId),
    /// The UDP port.
    Udp,
}

impl Token {
    /// As the kernel keeps it.
    pub fn pack(self) -> u64 {
        let (kind, number) = match self {
            Self::Wake => (0u64, 0),
            Self::Tun => (1, 0),
            Self::Listener(at) => (2, at),
            Self::Dial(number) => (3, number),
            Self::Link(id) => (4, id),
            Self::Udp => (5, 0),
        };
        kind << 32 | u64::from(number)
    }

    /// The reverse of `pack`.
    pub fn unpack(packed: u64) -> Self {
        let number = packed as u32;
        match packed >> 32 {
            0 => Self::Wake,
            1 => Self::Tun,
            2 => Self::Listener(number),
            3 => Self::Dial(number),
            4 => Self::Link(number),
            _ => Self::Udp,
        }
    }
}
