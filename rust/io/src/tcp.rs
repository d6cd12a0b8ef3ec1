//! TCP sockets as links want them: listening, dialling, options.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

/// Unsent bytes the kernel may hold for a link. More only adds delay; less than two super-packets costs
/// throughput.
const UNSENT_LIMIT: u32 = 256 << 10;
/// The same while much control waits: what the kernel has goes before all data that comes later.
const UNSENT_LIMIT_OF_NEWS: u32 = 16 << 10;
/// A connection whose bytes stay unacknowledged this long is dead, whatever its retransmission timer says.
const USER_TIMEOUT: Duration = Duration::from_secs(30);
/// Hellos keep a link alive and find it dead; keepalive only clears what both miss (a guess).
const KEEPALIVE: Duration = Duration::from_secs(60);
const BACKLOG: i32 = 128;
const EVERYWHERE: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// Listen on all of `addresses`. An IPv6 wildcard serves IPv4 too, unless IPv4 is listed on the same port.
pub fn listen(addresses: &[SocketAddr], mark: u32) -> io::Result<Vec<TcpListener>> {
    let both = |port| {
        addresses
            .iter()
            .any(|other| other.is_ipv4() && other.port() == port && port != 0)
    };
    addresses
        .iter()
        .map(|address| listen_on(*address, both(address.port()), mark))
        .collect()
}

fn listen_on(address: SocketAddr, only_v6: bool, mark: u32) -> io::Result<TcpListener> {
    let socket = match Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP)) {
        // A kernel without IPv6 still has all its IPv4 addresses.
        Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) && address.ip() == EVERYWHERE => {
            return listen_on((Ipv4Addr::UNSPECIFIED, address.port()).into(), false, mark);
        }
        made => made?,
    };
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    socket.set_reuse_address(true)?;
    if mark != 0 {
        socket.set_mark(mark)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Begin to connect; the socket becomes writable when it has or has not.
pub fn connect(remote: SocketAddr, mark: u32) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(remote), Type::STREAM, Some(Protocol::TCP))?;
    if mark != 0 {
        socket.set_mark(mark)?;
    }
    socket.set_nonblocking(true)?;
    match socket.connect(&remote.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    Ok(socket.into())
}

/// Make an established connection fit to be a link.
pub fn tune(stream: TcpStream) -> io::Result<TcpStream> {
    let socket = Socket::from(stream);
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(UNSENT_LIMIT)?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
    Ok(socket.into())
}

/// Leave the kernel less, or again as much as is good for throughput.
pub fn limit_unsent(stream: &TcpStream, has_news: bool) -> io::Result<()> {
    let limit = if has_news {
        UNSENT_LIMIT_OF_NEWS
    } else {
        UNSENT_LIMIT
    };
    SockRef::from(stream).set_tcp_notsent_lowat(limit)
}

/// The address without an IPv4-mapped disguise.
pub fn plain(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => SocketAddr::new(IpAddr::V4(v4), v6.port()),
            None => address,
        },
        SocketAddr::V4(_) => address,
    }
}
