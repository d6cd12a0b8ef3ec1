//! What a data plane is to be, and why it may not start.

use std::io;
use std::net::SocketAddr;

/// A secret key that is overwritten when it goes, so that neither a core file nor a reused page has it. Boxed, as
/// every move of an array would leave a copy behind.
pub struct Secret(pub(super) Box<[u8; 32]>);

impl Secret {
    /// A copy of these bytes; None unless they are 32.
    pub fn copied(bytes: &[u8]) -> Option<Self> {
        let mut secret = Self(Box::new([0; 32]));
        if bytes.len() != secret.0.len() {
            return None;
        }
        secret.0.copy_from_slice(bytes);
        Some(secret)
    }

    fn wipe(&mut self) {
        self.0.fill(0);
        // As if somebody looked: else the compiler leaves out writes to memory that is freed next.
        std::hint::black_box(&mut self.0);
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.wipe();
    }
}

/// How to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A TCP connection.
    Tcp,
    /// A QUIC connection.
    Quic,
    /// A datagram link, to the node of this key if one is given.
    Udp(Option<[u8; 32]>),
}

/// What a data plane is to be.
pub struct Config {
    /// The node's X25519 secret.
    pub secret: Secret,
    /// The node's address.
    pub address: [u8; 16],
    /// Name of the TUN device; none: only forward and carry messages.
    pub tun_name: Option<String>,
    /// MTU of the TUN device.
    pub tun_mtu: u32,
    /// Where to listen for TCP links.
    pub tcp_listen: Vec<SocketAddr>,
    /// Where to listen for QUIC links.
    pub quic_listen: Vec<SocketAddr>,
    /// Where to take datagram links; none: no datagram links.
    pub udp_listen: Option<SocketAddr>,
    /// The longest IP packet that datagram links try.
    pub max_packet: u16,
    /// Whether to speak the session suite `zosnet`.
    pub session_suite: bool,
    /// Whether to repair what lossy `udp://` links swallow.
    pub repair: bool,
    /// Keys of nodes that are held to it.
    pub pins: Vec<[u8; 32]>,
    /// Lanes; at least one.
    pub lanes: usize,
    /// `SO_MARK` of all sockets, 0 for none.
    pub firewall_mark: u32,
    /// The node's router id as text.
    pub router_id_text: String,
    /// Expendable events that may wait for Python.
    pub events_limit: usize,
}

/// Why the data plane can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The secret isn't a usable key.
    #[error("the secret is not a usable X25519 key")]
    Secret,
    /// The TUN device: no driver (ENOENT), no permission (EPERM), name taken (EBUSY).
    #[error("TUN device: {0}")]
    Tun(#[source] io::Error),
    /// A TCP address can't be listened on: mostly EADDRINUSE.
    #[error("TCP listener: {0}")]
    Tcp(#[source] io::Error),
    /// A QUIC address can't be listened on.
    #[error("QUIC listener: {0}")]
    Quic(#[source] io::Error),
    /// The UDP port can't be had.
    #[error("UDP port: {0}")]
    Udp(#[source] io::Error),
    /// No descriptors or threads left.
    #[error("{0}")]
    System(#[from] io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_32_bytes_and_is_overwritten() {
        assert!(Secret::copied(&[7; 31]).is_none());
        let secret = Secret::copied(&[7; 32]);
        assert!(secret.is_some_and(|mut secret| {
            secret.wipe();
            *secret.0 == [0; 32]
        }));
    }
}
