//! The UDP port of a node: one socket a lane, all on the same port.
//!
//! With several lanes the sockets share the port (`SO_REUSEPORT`): the kernel sends all datagrams of one remote end
//! to one of them, and every lane sends from the one port that remote ends know.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use super::{batch, depth};

/// What the kernel may hold for us in each direction at first. It doubles it, for what it needs itself.
const BUFFER: usize = depth::MOST / 2;
const EVERYWHERE: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// Open `count` sockets on `address`.
///
/// # Errors
/// EADDRINUSE when another program has the port; whatever the system says to the options.
pub fn open(address: SocketAddr, count: usize, mark: u32) -> io::Result<Vec<UdpSocket>> {
    if count <= 1 {
        return Ok(vec![open_one(address, false, mark)?]);
    }
    // Sharing would let us join the port of another program that shares it too: look first.
    let mut address = address;
    {
        let first = open_one(address, false, mark)?;
        address.set_port(first.local_addr()?.port());
    }
    (0..count).map(|_| open_one(address, true, mark)).collect()
}

fn open_one(address: SocketAddr, shared: bool, mark: u32) -> io::Result<UdpSocket> {
    let socket = match Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP)) {
        // A kernel without IPv6 still has all its IPv4 addresses.
        Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) && address.ip() == EVERYWHERE => {
            return open_one((Ipv4Addr::UNSPECIFIED, address.port()).into(), shared, mark);
        }
        made => made?,
    };
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    if shared {
        socket.set_reuse_port(true)?;
    }
    if mark != 0 {
        socket.set_mark(mark)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    let socket: UdpSocket = socket.into();
    batch::prepare(&socket, BUFFER)?;
    Ok(socket)
}

/// `address` as the dual-stack sockets want it: IPv4 in its mapped form.
pub fn mapped(address: SocketAddr, v6_socket: bool) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v6_socket => (v4.ip().to_ipv6_mapped(), v4.port()).into(),
        other => other,
    }
}
