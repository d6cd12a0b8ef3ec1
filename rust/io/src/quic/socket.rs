//! The UDP sockets under the endpoints.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use socket2::{Domain, Protocol, Socket, Type};

use crate::sys;

/// Wanted socket buffers: a burst of some milliseconds at line rate.
const BUFFER: usize = 4 << 20;

/// Sockets for the addresses to listen on; with none, one on a port of the system's choice, to dial from.
pub fn bind_all(listen: &[SocketAddr], mark: u32) -> io::Result<Vec<UdpSocket>> {
    if !listen.is_empty() {
        return listen.iter().map(|address| bind(*address, mark)).collect();
    }
    let any = bind((Ipv6Addr::UNSPECIFIED, 0).into(), mark);
    Ok(vec![
        any.or_else(|_| bind((Ipv4Addr::UNSPECIFIED, 0).into(), mark))?,
    ])
}

/// One socket; an IPv6 wildcard takes IPv4 as well.
fn bind(address: SocketAddr, mark: u32) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if let SocketAddr::V6(v6) = address {
        socket.set_only_v6(!v6.ip().is_unspecified())?;
    }
    if mark != 0 {
        socket.set_mark(mark)?;
    }
    // Best effort.
    drop(sys::limit_received(socket.as_fd(), BUFFER));
    drop(sys::limit_queued(socket.as_fd(), BUFFER));
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}
