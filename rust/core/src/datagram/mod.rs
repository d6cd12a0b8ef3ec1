//! `udp://` links between zosnet nodes: the state machine of all of them on one socket.
//!
//! A driver owns the socket, the clock and the random source. It gives datagrams of the types 0x11 to 0x15 to
//! [`Endpoint::receive`], calls [`Endpoint::wake`] once [`Endpoint::deadline`] has passed, and after either
//! carries out every [`Action`] of [`Endpoint::poll`] in order. Datagrams of the type 0x16 are relayed
//! packets: lanes wrap and verify them with [`LinkKeys`], on any thread. `docs/protocols/udp-link.md` has the
//! bytes.
//!
//! | module | owns |
//! |---|---|
//! | `wire`, `offer`, `control` | bytes: headers, what is said in the handshake, frames of the control channel |
//! | `noise`, `crypt` | the Noise handshake; ciphers, keys and their epochs |
//! | `cookie`, `half` | floods: mac1 and cookies; handshakes that others began |
//! | `dial` | handshakes that this end began |
//! | `channel` | sealing and opening control frames, epoch after epoch |
//! | `outgoing`, `incoming` | the ordered, reliable stream |
//! | `rtt`, `loss`, `lossy`, `live`, `mtu`, `roam` | what is measured, and what follows from it |
//! | `link` | one link, made of these |
//! | `due` | what is due, and when: links and handshakes |
//! | [`keys`] | what lanes share |

pub(crate) mod bucket;
mod channel;
mod config;
mod control;
mod cookie;
pub(crate) mod crypt;
mod dial;
mod dialling;
mod due;
mod endpoint;
mod established;
mod flush;
mod half;
mod handshake;
mod incoming;
pub mod keys;
mod link;
mod live;
mod loss;
mod lossy;
mod mtu;
pub(crate) mod noise;
mod offer;
mod outgoing;
mod primitives;
mod roam;
mod rtt;
pub(crate) mod window;
mod wire;

pub use config::{Action, Config, Counters, Id, Limits, Status};
pub use cookie::Gate;
pub use crypt::{Cipher, KEY, SHORT_TAG, TAG};
pub use endpoint::Endpoint;
pub use keys::{LinkKeys, MAX_LANES, OpenError, RELAY_HEADER, RELAY_OVERHEAD, RELAYED, Relayed, WrapError};
pub use window::{LANE_SHIFT, WINDOW};

/// The types that [`Endpoint::receive`] takes.
pub const TYPES: std::ops::RangeInclusive<u8> = wire::INITIATION..=wire::CONTROL;
/// While data flows, pings are so far apart, in milliseconds.
pub const PING_MS: u64 = 50;
/// What a new peer has room for on the control stream before it said so.
const FIRST_ROOM: usize = 64 << 10;

/// Decoders of what a peer says, for fuzzing.
#[doc(hidden)]
pub mod decoders {
    use super::control::{Frames, encode};
    use super::offer::Offer;

    /// Whether an offer is one; it must then mean the same when it is written again.
    #[must_use]
    pub fn offer(bytes: &[u8]) -> bool {
        let offer = Offer::decode(bytes);
        if let Some(offer) = offer {
            assert_eq!(Offer::decode(&offer.encode(0)), Some(offer));
            assert_eq!(Offer::decode(&offer.encode(bytes.len())), Some(offer));
        }
        offer.is_some()
    }

    /// The number of well-formed frames at the start of a plaintext; each must mean the same when it is
    /// written again.
    #[must_use]
    pub fn frames(plaintext: &[u8]) -> usize {
        let frames = Frames(plaintext).map_while(Result::ok);
        frames
            .inspect(|frame| {
                let mut written = Vec::new();
                encode(frame, &mut written);
                assert_eq!(Frames(&written).next().as_ref(), Some(&Ok(frame.clone())));
            })
            .count()
    }
}
