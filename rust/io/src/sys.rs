//! The few system calls that need `unsafe`; everything else in this crate is safe code.

use std::fs::File;
use std::io;
use std::mem::{self, MaybeUninit};
use std::net::Ipv6Addr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Seconds of CLOCK_MONOTONIC, the clock of Python's `time.monotonic`.
pub fn now() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid, writable timespec; CLOCK_MONOTONIC always exists on Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Let this thread wake when its timers say, not up to 50 microseconds later.
pub fn exact_timers() {
    // SAFETY: takes one integer, changes only this thread's slack; an older kernel refuses, which costs precision only.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
}

/// How long this thread runs at once when it has a processor, in nanoseconds, of those that EEVDF lets it choose.
const LONG_SLICE: u64 = 20_000_000;

/// Let other threads interrupt this one as soon as they wake: who asks for a long slice has a later deadline.
///
/// For the thread that decides, beside those that move packets: a decision takes a millisecond, for which a packet
/// would otherwise wait. From Linux 6.12 on; elsewhere nothing changes.
pub fn give_way() {
    // SAFETY: `sched_attr` is plain data, for which all zeroes is a valid value.
    let mut attributes: libc::sched_attr = unsafe { mem::zeroed() };
    let size = mem::size_of::<libc::sched_attr>() as libc::c_uint;
    // SAFETY: `attributes` is writable for `size` bytes; 0 is the calling thread.
    let read = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) };
    if read != 0 || attributes.sched_policy != libc::SCHED_OTHER as u32 {
        return;
    }
    attributes.size = size;
    attributes.sched_runtime = LONG_SLICE;
    // SAFETY: `attributes` says its own size. A refusal costs latency only.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
}

/// What the system says, in its own words: without the number that Rust appends.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Wait until `fd` takes something, for so many milliseconds at most. Whether it does.
pub fn wait_writable(fd: BorrowedFd<'_>, most_ms: u16) -> bool {
    let mut wanted = libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: the pointer leads to one entry, which lives until the call returns.
    unsafe { libc::poll(&raw mut wanted, 1, libc::c_int::from(most_ms)) == 1 }
}

/// Set a socket option of one int.
pub fn set_option(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the option is read from one int, which outlives the call.
    let result = unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), length) };
    check(result).map(drop)
}

/// Let the socket's buffer for what arrives hold no more than twice so many bytes, as the kernel counts them.
pub fn limit_received(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    limit_buffer(fd, libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, bytes)
}

/// The same of what is to be sent.
pub fn limit_queued(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    limit_buffer(fd, libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, bytes)
}

/// Beyond the limit for ordinary users where we may; within it otherwise.
fn limit_buffer(fd: BorrowedFd<'_>, force: libc::c_int, plain: libc::c_int, bytes: usize) -> io::Result<()> {
    let bytes = bytes as libc::c_int;
    set_option(fd, libc::SOL_SOCKET, force, bytes).or_else(|_| set_option(fd, libc::SOL_SOCKET, plain, bytes))
}

/// Bytes in the socket's buffer that the interface hasn't sent yet, as the kernel counts them.
pub fn queued(fd: BorrowedFd<'_>) -> usize {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the request writes one int to where the pointer leads, which lives until then.
    let result = check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) });
    result.map_or(0, |_| usize::try_from(bytes).unwrap_or(0))
}

/// Fill `buffer` with random bytes of the kernel.
pub fn random(buffer: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        // SAFETY: `rest` is writable for its length.
        let got = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(got) {
            Ok(got) => filled += got,
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
    Ok(())
}

/// Whether this processor has instructions for AES.
pub fn has_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

/// An epoll instance, level-triggered.
#[derive(Debug)]
pub struct Epoll(OwnedFd);

/// What a descriptor is watched for, and what was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ready {
    /// Bytes, a connection or an end wait to be read.
    pub read: bool,
    /// It takes bytes again.
    pub write: bool,
    /// An error or a full hang-up.
    pub error: bool,
}

impl Ready {
    fn mask(self) -> u32 {
        let read = if self.read { libc::EPOLLIN } else { 0 };
        let write = if self.write { libc::EPOLLOUT } else { 0 };
        (read | write) as u32
    }
}

/// How many descriptors one wait reports.
pub const EVENTS: usize = 64;

impl Epoll {
    /// A new instance, closed on exec.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointer is passed; the result is checked before it is owned.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: `fd` was just opened and nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    fn control(&self, operation: libc::c_int, fd: BorrowedFd<'_>, what: Ready, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: what.mask(),
            u64: token,
        };
        // SAFETY: both descriptors are open for the length of the call, `event` outlives it.
        check(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), operation, fd.as_raw_fd(), &raw mut event) })
            .map(drop)
    }

    /// Watch `fd`; `token` comes back with its events.
    pub fn add(&self, fd: BorrowedFd<'_>, what: Ready, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, what, token)
    }

    /// Change what `fd` is watched for.
    pub fn modify(&self, fd: BorrowedFd<'_>, what: Ready, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, what, token)
    }

    /// Watch `fd` no longer.
    pub fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd, Ready::default(), 0)
    }

    /// Wait; None: without limit. Puts (token, what) of at most [`EVENTS`] descriptors into `out`.
    pub fn wait(&self, timeout: Option<f64>, out: &mut Vec<(u64, Ready)>) -> io::Result<()> {
        // Rounded up: a timer that is not yet due would only spin.
        let limit = timeout.map_or(-1, |seconds| {
            (seconds * 1000.0).ceil().clamp(0.0, 60_000.0) as libc::c_int
        });
        let mut events = [MaybeUninit::<libc::epoll_event>::uninit(); EVENTS];
        out.clear();
        let (fd, place) = (self.0.as_raw_fd(), events.as_mut_ptr().cast());
        // SAFETY: `events` is writable for EVENTS entries.
        let result = check(unsafe { libc::epoll_wait(fd, place, EVENTS as libc::c_int, limit) });
        let count = match result {
            Ok(count) => count as usize,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
        };
        for event in events.iter().take(count) {
            // SAFETY: the kernel wrote the first `count` of them.
            let event = unsafe { event.assume_init() };
            let seen = event.events;
            out.push((
                event.u64,
                Ready {
                    read: seen & libc::EPOLLIN as u32 != 0,
                    write: seen & libc::EPOLLOUT as u32 != 0,
                    error: seen & (libc::EPOLLERR | libc::EPOLLHUP) as u32 != 0,
                },
            ));
        }
        Ok(())
    }
}

/// A new eventfd, nonblocking; reading and writing it is ordinary file I/O.
pub fn eventfd() -> io::Result<File> {
    // SAFETY: no pointer is passed; the result is checked before it is owned.
    let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
    // SAFETY: `fd` was just opened and nobody else owns it.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// The part of TCP_INFO that tells whether a connection makes progress.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TcpInfo {
    /// Segments sent and not acknowledged.
    pub unacked: u32,
    /// Those of them that the other end holds beyond a gap (selective acknowledgment).
    pub sacked: u32,
    /// Smoothed round-trip time, seconds.
    pub rtt: f64,
    /// Its mean deviation, seconds.
    pub rttvar: f64,
    /// Bytes acknowledged so far.
    pub bytes_acked: u64,
    /// Bytes in the socket buffer that were not sent yet.
    pub notsent: u32,
    /// The smallest round-trip time of the last five minutes (`net.ipv4.tcp_min_rtt_wlen`), seconds; more than an hour
    /// before there was one.
    pub smallest_rtt: f64,
}

/// TCP_INFO of a socket. Offsets from `struct tcp_info` in linux/tcp.h, which only grows at its end.
pub fn tcp_info(fd: BorrowedFd<'_>) -> io::Result<TcpInfo> {
    let mut raw = [0u8; 256];
    let mut length = raw.len() as libc::socklen_t;
    // SAFETY: `raw` is writable for `length` bytes, and the kernel writes no more than that.
    check(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            raw.as_mut_ptr().cast(),
            &raw mut length,
        )
    })?;
    let word = |at: usize| {
        raw.get(at..at + 4)
            .and_then(|b| b.try_into().ok())
            .map_or(0, u32::from_ne_bytes)
    };
    let long = |at: usize| {
        raw.get(at..at + 8)
            .and_then(|b| b.try_into().ok())
            .map_or(0, u64::from_ne_bytes)
    };
    Ok(TcpInfo {
        unacked: word(24),
        sacked: word(28),
        rtt: f64::from(word(68)) * 1e-6,
        rttvar: f64::from(word(72)) * 1e-6,
        bytes_acked: long(120),
        notsent: word(144),
        smallest_rtt: f64::from(word(148)) * 1e-6,
    })
}

const NAME: usize = libc::IFNAMSIZ;

fn request(name: &str) -> io::Result<libc::ifreq> {
    // SAFETY: ifreq is plain data, for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    if name.is_empty() || name.len() >= NAME || name.contains(['/', '\0']) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(request)
}

/// Make `fd` (an open /dev/net/tun) a queue of the TUN device `name`; returns the name it really got.
pub fn tun_attach(fd: BorrowedFd<'_>, name: &str, flags: libc::c_int) -> io::Result<String> {
    let mut request = request(name)?;
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes one ifreq, which `request` is.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) })?;
    let name = request
        .ifr_name
        .iter()
        .take_while(|c| **c != 0)
        .map(|c| char::from(*c as u8));
    Ok(name.collect())
}

/// Set the length of the virtio header, and the offloads that reads may carry.
pub fn tun_offload(fd: BorrowedFd<'_>, header: libc::c_int, offload: libc::c_uint) -> io::Result<()> {
    // SAFETY: TUNSETVNETHDRSZ reads one int.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETVNETHDRSZ as _, &raw const header) })?;
    // SAFETY: TUNSETOFFLOAD takes its argument by value.
    check(unsafe {
        libc::ioctl(
            fd.as_raw_fd(),
            libc::TUNSETOFFLOAD as _,
            libc::c_ulong::from(offload),
        )
    })
    .map(drop)
}

fn interface_ioctl(socket: RawFd, code: libc::c_ulong, request: &mut libc::ifreq) -> io::Result<()> {
    // SAFETY: every code used in this module reads or writes exactly one ifreq.
    check(unsafe { libc::ioctl(socket, code as _, &raw mut *request) }).map(drop)
}

/// Give the interface its MTU, queue length and address, and bring it up.
pub fn configure_interface(
    name: &str,
    mtu: u32,
    queue: u32,
    address: Ipv6Addr,
    prefix_length: u32,
) -> io::Result<()> {
    // SAFETY: no pointer is passed; the result is checked before it is owned.
    let raw = check(unsafe { libc::socket(libc::AF_INET6, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: `raw` was just opened and nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };
    let fd = socket.as_raw_fd();

    let mut wanted = request(name)?;
    wanted.ifr_ifru.ifru_mtu = mtu as libc::c_int;
    interface_ioctl(fd, libc::SIOCSIFMTU, &mut wanted)?;
    wanted.ifr_ifru.ifru_metric = queue as libc::c_int; // ifr_qlen shares the place of ifr_metric
    interface_ioctl(fd, libc::SIOCSIFTXQLEN, &mut wanted)?;

    interface_ioctl(fd, libc::SIOCGIFINDEX, &mut wanted)?;
    // SAFETY: SIOCGIFINDEX succeeded, so the index is the member of the union that was written.
    let index = unsafe { wanted.ifr_ifru.ifru_ifindex };
    let mut addressed = libc::in6_ifreq {
        ifr6_addr: libc::in6_addr {
            s6_addr: address.octets(),
        },
        ifr6_prefixlen: prefix_length,
        ifr6_ifindex: index,
    };
    // SAFETY: on an AF_INET6 socket SIOCSIFADDR reads one in6_ifreq.
    check(unsafe { libc::ioctl(fd, libc::SIOCSIFADDR as _, &raw mut addressed) })?;

    interface_ioctl(fd, libc::SIOCGIFFLAGS, &mut wanted)?;
    // SAFETY: SIOCGIFFLAGS succeeded, so the flags are the member of the union that was written.
    let flags = unsafe { wanted.ifr_ifru.ifru_flags };
    wanted.ifr_ifru.ifru_flags = flags | (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    interface_ioctl(fd, libc::SIOCSIFFLAGS, &mut wanted)
}
