//! Many datagrams a system call: `recvmmsg` with UDP_GRO, `sendmmsg` with UDP_SEGMENT, and the traffic class of each.
//!
//! This module and [`crate::sys`] are the only ones with `unsafe`.

use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use socket2::{SockAddr, SockRef};

use crate::sys;
use crate::tcp::plain;

/// Messages of one receive call, each a train of datagrams of one sender.
pub const MESSAGES: usize = 4;
/// Room in front of each, where the header of a packet inside may be built (`zosnet_core::session::compact`).
const FRONT: usize = 64;
/// Room for one of them: the longest that UDP_GRO makes.
pub const MESSAGE_ROOM: usize = FRONT + 65_536;
/// Trains of one send call.
pub const SENDS: usize = 32;
/// Room for the control messages of one datagram: two of one int, with their headers, rounded up.
const CONTROL: usize = 64;

/// Aligned for control message headers.
#[repr(align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL]);

/// Make a bound socket fit for batches.
///
/// # Errors
/// Only for what can't be done without: receiving trains (Linux 5.0) and not fragmenting.
pub fn prepare(socket: &UdpSocket, buffer: usize) -> io::Result<()> {
    sys::limit_received(socket.as_fd(), buffer)?;
    sys::limit_queued(socket.as_fd(), buffer)?;
    let set_option = |level, name, value| sys::set_option(socket.as_fd(), level, name, value);
    set_option(libc::SOL_UDP, libc::UDP_GRO, 1)?;
    // Never fragment, never believe an ICMP error about it: the link finds its MTU by probes (RFC 8899).
    if is_v6(socket) {
        set_option(
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_PROBE,
        )?;
        set_option(libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1)?;
    }
    // Of a dual-stack socket these count for its IPv4 datagrams; one that is only IPv6 may refuse them.
    let v4 = set_option(libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE)
        .and_then(|()| set_option(libc::IPPROTO_IP, libc::IP_RECVTOS, 1));
    if is_v6(socket) { Ok(()) } else { v4 }
}

/// Whether the socket is of the IPv6 family.
pub fn is_v6(socket: &UdpSocket) -> bool {
    socket.local_addr().is_ok_and(|address| address.is_ipv6())
}

/// One message that came in: one or more datagrams of one sender, one after another.
#[derive(Debug, Clone, Copy)]
pub struct Received {
    /// Where it begins in the buffer.
    pub start: usize,
    /// One past its last byte.
    pub end: usize,
    /// Length of each datagram but the last, which may be shorter.
    pub segment: usize,
    /// Who sent it, IPv4 in its own form.
    pub from: SocketAddr,
    /// Its traffic class.
    pub class: u8,
}

/// Receives batches. One a lane: it has the memory.
pub struct Receiver {
    names: Box<[libc::sockaddr_storage; MESSAGES]>,
    controls: Box<[Control; MESSAGES]>,
    /// What the last call brought.
    pub received: Vec<Received>,
}

impl Default for Receiver {
    fn default() -> Self {
        Self {
            // SAFETY: sockaddr_storage is plain data, for which all zeroes is a valid value.
            names: Box::new(unsafe { mem::zeroed() }),
            controls: Box::new([Control([0; CONTROL]); MESSAGES]),
            received: Vec::with_capacity(MESSAGES),
        }
    }
}

impl Receiver {
    /// Take what waits, at most `most` messages, into `buffer` of at least [`MESSAGES`] times [`MESSAGE_ROOM`] bytes.
    /// `WouldBlock` when nothing waits.
    pub fn receive(&mut self, socket: &UdpSocket, buffer: &mut [u8], most: usize) -> io::Result<()> {
        self.received.clear();
        let mut vectors = [MaybeUninit::<libc::iovec>::uninit(); MESSAGES];
        // SAFETY: mmsghdr is plain data, for which all zeroes is a valid value.
        let mut headers: [libc::mmsghdr; MESSAGES] = unsafe { mem::zeroed() };
        let mut count = 0;
        let parts = buffer
            .chunks_exact_mut(MESSAGE_ROOM)
            .take(most)
            .zip(&mut vectors)
            .zip(self.names.iter_mut())
            .zip(self.controls.iter_mut())
            .zip(&mut headers);
        for ((((room, vector), name), control), header) in parts {
            let room = room.get_mut(FRONT..).unwrap_or_default();
            let vector = vector.write(libc::iovec {
                iov_base: room.as_mut_ptr().cast(),
                iov_len: room.len(),
            });
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_name = ptr::from_mut(name).cast();
            header.msg_hdr.msg_namelen = mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = CONTROL as _;
            count += 1;
        }
        // SAFETY: the first `count` headers point to buffers, names and controls that outlive the call, with their
        // true lengths; the kernel writes no more than these.
        let got = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                count,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        let Ok(got) = usize::try_from(got) else {
            return Err(io::Error::last_os_error());
        };
        for (at, header) in headers.iter().take(got).enumerate() {
            let length = header.msg_len as usize;
            let (segment, class) = control_of(&header.msg_hdr);
            let Some(from) = self.names.get(at).and_then(address_of) else {
                continue;
            };
            if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
                continue;
            }
            let start = at * MESSAGE_ROOM + FRONT;
            self.received.push(Received {
                start,
                end: start + length,
                segment: segment.unwrap_or(length).max(1),
                from: plain(from),
                class,
            });
        }
        Ok(())
    }
}

/// The address that the kernel wrote.
fn address_of(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(name.ss_family) {
        libc::AF_INET6 => {
            // SAFETY: the family says that it is a sockaddr_in6, which is shorter than the storage.
            let v6 = unsafe { *ptr::from_ref(name).cast::<libc::sockaddr_in6>() };
            let (port, scope) = (u16::from_be(v6.sin6_port), v6.sin6_scope_id);
            Some(SocketAddrV6::new(v6.sin6_addr.s6_addr.into(), port, 0, scope).into())
        }
        libc::AF_INET => {
            // SAFETY: the family says that it is a sockaddr_in, which is shorter than the storage.
            let v4 = unsafe { *ptr::from_ref(name).cast::<libc::sockaddr_in>() };
            let address = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some((address, u16::from_be(v4.sin_port)).into())
        }
        _ => None,
    }
}

/// Segment size and traffic class out of the control messages.
fn control_of(header: &libc::msghdr) -> (Option<usize>, u8) {
    let (mut segment, mut class) = (None, 0);
    // SAFETY: `header` is as the kernel filled it, and its control buffer is still there.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !message.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR give null or a whole header within the buffer.
        let (level, kind, data) = unsafe {
            (
                (*message).cmsg_level,
                (*message).cmsg_type,
                libc::CMSG_DATA(message),
            )
        };
        match (level, kind) {
            (libc::SOL_UDP, libc::UDP_GRO) => {
                // SAFETY: UDP_GRO carries one int.
                let size = unsafe { ptr::read_unaligned(data.cast::<libc::c_int>()) };
                segment = usize::try_from(size).ok().filter(|size| *size > 0);
            }
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                // SAFETY: IPV6_TCLASS carries one int.
                class = unsafe { ptr::read_unaligned(data.cast::<libc::c_int>()) } as u8;
            }
            (libc::IPPROTO_IP, libc::IP_TOS) => {
                // SAFETY: IP_TOS carries one byte.
                class = unsafe { *data };
            }
            _ => {}
        }
        // SAFETY: as above.
        message = unsafe { libc::CMSG_NXTHDR(header, message) };
    }
    (segment, class)
}

/// One train to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Sending<'a> {
    /// Where to, as the socket wants it.
    pub to: &'a SockAddr,
    /// The datagrams, one after another.
    pub bytes: &'a [u8],
    /// Length of each but the last; 0 for a single one.
    pub segment: usize,
    /// Traffic class, copied from what is inside.
    pub class: u8,
}

/// Send one datagram without a traffic class: the cheapest call there is, which counts after a rest, when nothing of it is
/// in any cache.
pub fn send_alone(socket: &UdpSocket, to: &SockAddr, datagram: &[u8]) -> io::Result<()> {
    SockRef::from(socket)
        .send_to_with_flags(datagram, to, libc::MSG_DONTWAIT)
        .map(drop)
}

/// Send at most [`SENDS`] trains in one call; how many went.
pub fn send<'a>(socket: &UdpSocket, trains: impl Iterator<Item = Sending<'a>>) -> io::Result<usize> {
    let mut vectors = [MaybeUninit::<libc::iovec>::uninit(); SENDS];
    let mut controls = [Control([0; CONTROL]); SENDS];
    // SAFETY: mmsghdr is plain data, for which all zeroes is a valid value.
    let mut headers: [libc::mmsghdr; SENDS] = unsafe { mem::zeroed() };
    let mut count = 0;
    let parts = trains.zip(&mut vectors).zip(&mut controls).zip(&mut headers);
    for (((train, vector), control), header) in parts {
        let vector = vector.write(libc::iovec {
            iov_base: train.bytes.as_ptr().cast_mut().cast(),
            iov_len: train.bytes.len(),
        });
        header.msg_hdr.msg_iov = vector;
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_name = train.to.as_ptr().cast_mut().cast();
        header.msg_hdr.msg_namelen = train.to.len();
        let length = write_control(&mut control.0, &train);
        if length > 0 {
            header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = length as _;
        }
        count += 1;
    }
    // SAFETY: the first `count` headers point to bytes, names and controls that outlive the call; sendmmsg only
    // reads them.
    let sent = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            count,
            libc::MSG_DONTWAIT,
        )
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Write the control messages of a train; their length in all.
fn write_control(control: &mut [u8; CONTROL], train: &Sending<'_>) -> usize {
    let mut at = 0;
    let mut add = |level: libc::c_int, kind: libc::c_int, data: &[u8]| {
        let header = mem::size_of::<libc::cmsghdr>();
        // SAFETY: CMSG_SPACE and CMSG_LEN only compute.
        let (space, length) = unsafe {
            (
                libc::CMSG_SPACE(data.len() as u32) as usize,
                libc::CMSG_LEN(data.len() as u32),
            )
        };
        let Some(place) = control.get_mut(at..at + space) else {
            return;
        };
        let head = libc::cmsghdr {
            cmsg_len: length as _,
            cmsg_level: level,
            cmsg_type: kind,
        };
        // SAFETY: `place` has room for a header; unaligned writes are allowed by this call.
        unsafe { ptr::write_unaligned(place.as_mut_ptr().cast::<libc::cmsghdr>(), head) };
        if let Some(body) = place.get_mut(header..header + data.len()) {
            body.copy_from_slice(data);
        }
        at += space;
    };
    if train.segment > 0 && train.segment < train.bytes.len() {
        add(
            libc::SOL_UDP,
            libc::UDP_SEGMENT,
            &(train.segment as u16).to_ne_bytes(),
        );
    }
    if train.class != 0 {
        let class = libc::c_int::from(train.class).to_ne_bytes();
        if train.to.is_ipv6() && !is_mapped(train.to) {
            add(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &class);
        } else {
            add(libc::IPPROTO_IP, libc::IP_TOS, &class);
        }
    }
    at
}

fn is_mapped(address: &SockAddr) -> bool {
    address
        .as_socket_ipv6()
        .is_some_and(|v6| v6.ip().to_ipv4_mapped().is_some())
}
