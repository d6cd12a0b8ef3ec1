//! The UDP sockets under the endpoints.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use socket2::{Domain, Protocol, Socket, Type};

/// Wanted socket buffers: a burst of some milliseconds at line rate.
static BUFFER: libc::c_int = 4 << 20;

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
    enlarge(&socket, libc::SO_RCVBUFFORCE, libc::SO_RCVBUF);
    enlarge(&socket, libc::SO_SNDBUFFORCE, libc::SO_SNDBUF);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Best effort: past the system's limit as root, up to it otherwise.
fn enlarge(socket: &Socket, force: libc::c_int, ordinary: libc::c_int) {
    for option in [force, ordinary] {
        // SAFETY: the socket is open and the option reads one int, which BUFFER is.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                (&raw const BUFFER).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        if result == 0 {
            return;
        }
    }
}
