//! What a keeper wants done, and what it shows.

use std::sync::Arc;

use super::config::From;
use super::transport::Transport;
use crate::datagram::crypt::{Cipher, KEY};

/// What to do. In order.
#[derive(Debug)]
pub enum Action {
    /// Send a handshake message: back to where one came from, or by route to the node of this key.
    Send {
        /// The node.
        peer: [u8; KEY],
        /// Where to; none: by route.
        to: Option<From>,
        /// The message.
        frame: Vec<u8>,
    },
    /// Open with these keys too.
    Receive(Arc<Transport>),
    /// Seal with these keys from now on.
    Use(Arc<Transport>),
    /// Send a frame without any entry to the node of this key.
    KeepAlive {
        /// The node.
        peer: [u8; KEY],
    },
    /// These keys are gone; they are dead already.
    Retire(Arc<Transport>),
    /// The node hasn't answered yet: what waits for a session may go with Mycelium's suite, unless it is pinned.
    Unanswered {
        /// The node.
        peer: [u8; KEY],
    },
    /// The node didn't answer at all.
    Failed {
        /// The node.
        peer: [u8; KEY],
    },
    /// The node has shown that it speaks sessions: it is held to that from now on.
    Pinned {
        /// The node.
        peer: [u8; KEY],
    },
    /// A pinned node spoke Mycelium's suite, and doesn't say that it knows better.
    Downgraded {
        /// The node.
        peer: [u8; KEY],
    },
}

/// A session, as it is now.
#[derive(Debug, Clone)]
pub struct Status {
    /// The node.
    pub peer: [u8; KEY],
    /// The transport cipher, by name; empty while there is none.
    pub cipher: &'static str,
    /// `"established"`, or `"initiating"`.
    pub state: &'static str,
    /// Seconds since its keys were made, or since the first attempt.
    pub age: f64,
    /// Frames sealed under the present keys.
    pub tx_frames: u64,
    /// Frames opened under them.
    pub rx_frames: u64,
    /// The longest frame that the node takes.
    pub max_frame: u32,
}

impl Status {
    pub(super) fn of(transport: &Transport, age: f64) -> Self {
        let (tx_frames, rx_frames) = transport.frames();
        Self {
            peer: *transport.peer(),
            cipher: match transport.cipher() {
                Cipher::Aes256Gcm => "aes-256-gcm",
                Cipher::ChaCha20Poly1305 => "chacha20-poly1305",
            },
            state: "established",
            age,
            tx_frames,
            rx_frames,
            max_frame: transport.max_frame() as u32,
        }
    }

    pub(super) fn initiating(peer: &[u8; KEY], age: f64) -> Self {
        Self {
            peer: *peer,
            cipher: "",
            state: "initiating",
            age,
            tx_frames: 0,
            rx_frames: 0,
            max_frame: 0,
        }
    }
}
