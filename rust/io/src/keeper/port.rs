//! The node's UDP port, as the keeper sends through it: in the socket's own family, and with patience.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;

use crate::udp::patient::Patient;
use crate::udp::{batch, socket};

/// One machine's hold on the port, if this node has one.
pub struct Port {
    socket: Option<Arc<UdpSocket>>,
    patient: Patient,
    is_v6: bool,
}

impl Port {
    /// Send through `socket`; without one nothing is sent.
    pub fn new(socket: Option<Arc<UdpSocket>>) -> Self {
        let is_v6 = socket.as_deref().is_some_and(batch::is_v6);
        Self {
            socket,
            patient: Patient::default(),
            is_v6,
        }
    }

    /// Whether this node has a UDP port.
    pub fn is_open(&self) -> bool {
        self.socket.is_some()
    }

    /// This end; unspecified where it isn't known.
    pub fn local(&self) -> SocketAddr {
        let local = self.socket.as_ref().and_then(|socket| socket.local_addr().ok());
        local.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)))
    }

    /// `remote`, as the socket wants it.
    pub fn target(&self, remote: SocketAddr) -> SocketAddr {
        socket::mapped(remote, self.is_v6)
    }

    /// Send one datagram; without a port it is forgotten. `ConnectionRefused` may tell of an earlier one.
    pub fn send(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        let Some(socket) = &self.socket else { return Ok(()) };
        let target = self.target(to);
        (self.patient).send(socket.as_fd(), || socket.send_to(datagram, target))
    }
}
