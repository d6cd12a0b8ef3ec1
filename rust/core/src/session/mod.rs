//! The session suite `zosnet`: what two nodes of ours speak end to end, over whatever links and relays.
//!
//! Noise_IK_25519_ChaChaPoly_BLAKE2s, then frames under counters: forward secrecy, keys that are replaced every two
//! minutes, nothing opened twice. `docs/protocols/session.md` has the bytes and the rules.
//!
//! A driver gives handshake messages to [`Keeper::receive`], calls [`Keeper::wake`] once [`Keeper::deadline`] has
//! passed, and carries out every [`Action`] in order. Lanes seal and open frames with [`Transport`], on any thread.
//!
//! | module | owns |
//! |---|---|
//! | `wire` | bytes: headers, offers, entries |
//! | [`compact`] | shorter headers of packets inside |
//! | `mac` | mac1 and cookies, as `crate::cookies` has them |
//! | `handshake` | the Noise handshake, and the keys that come of it |
//! | `transport` | one generation of keys |
//! | `peer` | what is known of one node |
//! | `config`, `action` | what goes in and out of the state machine |
//! | `keeper` | the state machine of all of them: what it is told |
//! | `asking`, `answering` | its handshakes, as the end that begins and as the other one |
//! | `nudges` | what says that a node has no keys any more |
//! | `pins` | who is held to sessions |
//! | `tending` | its timers |
//! | `totals` | what it counts |

mod action;
mod aead;
mod answering;
mod asking;
pub mod compact;
mod config;
mod handshake;
mod keeper;
mod mac;
mod nudges;
mod peer;
mod pins;
mod tending;
mod totals;
mod transport;
mod wire;

pub use action::{Action, Status};
pub use config::{Config, From, Limits};
pub use keeper::Keeper;
pub use mac::Gate;
pub use transport::{KEEP_ALIVE, OpenError, SealError, Transport, counter_of};
pub use wire::{
    COOKIE, ENTRY_HEADER, Entries, EntryHeader, EntryKind, HEADER, Handshake, INITIATION, Initiation,
    MAX_LANES, OVERHEAD, Offer, RESERVED_IID, RESPONSE, Response, TAG, TRANSPORT, UNKNOWN, VERSION, decode,
    entry_header, is_repair, receiver_index, unknown_frame,
};
