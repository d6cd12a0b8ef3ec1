//! The node's TUN device: one file per queue, whole super-packets in and out.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Read, Write};
use std::net::Ipv6Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::thread;
use std::time::Duration;

use crate::sys;

/// Length of the virtio header in front of every packet.
pub const VNET_HEADER: usize = 10;
/// The longest thing one read can give: a virtio header and a super-packet.
pub const LONGEST_READ: usize = VNET_HEADER + 65_536 + 40;
/// All of 400::/7 is reached through the device: mycelium-protocol.md, section 1.3.
const PREFIX_LENGTH: u32 = 7;
/// Packets the kernel holds for us. 500 is its default; longer queues would only add delay (a guess).
const QUEUE_LENGTH: u32 = 500;

/// How often, and how many times at most, to look whether the address is in use.
const SETTLE_EVERY: Duration = Duration::from_millis(2);
const SETTLE_LOOKS: usize = 250;

/// What a device is to be.
#[derive(Debug, Clone)]
pub struct TunConfig {
    /// Interface name, at most 15 bytes.
    pub name: String,
    /// Interface MTU.
    pub mtu: u32,
    /// The node's address.
    pub address: Ipv6Addr,
    /// Queues, one a lane.
    pub queues: usize,
}

/// One queue of the device. The device disappears with its last queue.
#[derive(Debug)]
pub struct TunQueue {
    file: File,
    udp: bool,
}

/// Make the device, configure it, bring it up.
///
/// Errors keep their errno: ENOENT without a TUN driver, EPERM without CAP_NET_ADMIN, EBUSY for a name taken.
pub fn open(config: &TunConfig) -> io::Result<(String, Vec<TunQueue>)> {
    let many = if config.queues > 1 {
        libc::IFF_MULTI_QUEUE
    } else {
        0
    };
    let flags = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR | many;
    let mut name = config.name.clone();
    let mut queues = Vec::new();
    for number in 0..config.queues.max(1) {
        // The first queue must make the device: joining one that another process runs would steal its packets.
        let exclusive = if number == 0 { libc::IFF_TUN_EXCL } else { 0 };
        let (queue, given) = open_queue(&name, flags | exclusive)?;
        name = given;
        queues.push(queue);
    }
    // The kernel would otherwise add a link-local address and send router solicitations into the overlay.
    // Not worth failing for: the forwarder drops them anyway.
    drop(std::fs::write(
        format!("/proc/sys/net/ipv6/conf/{name}/addr_gen_mode"),
        "1",
    ));
    sys::configure_interface(&name, config.mtu, QUEUE_LENGTH, config.address, PREFIX_LENGTH)?;
    settle(&name);
    Ok((name, queues))
}

/// Wait until the address is in use: the kernel decides in the background that a TUN needs no duplicate
/// address detection, and drops what comes for the address until then.
fn settle(name: &str) {
    for _ in 0..SETTLE_LOOKS {
        // Columns: address, index, prefix length, scope, flags, name. Of this thread's network namespace.
        let addresses = std::fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap_or_default();
        let tentative = addresses.lines().filter(|line| line.ends_with(name)).any(|line| {
            let flags = line
                .split_whitespace()
                .nth(4)
                .and_then(|flags| u32::from_str_radix(flags, 16).ok());
            flags.is_some_and(|flags| flags & libc::IFA_F_TENTATIVE != 0)
        });
        if !tentative {
            return;
        }
        thread::sleep(SETTLE_EVERY);
    }
}

fn open_queue(name: &str, flags: libc::c_int) -> io::Result<(TunQueue, String)> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open("/dev/net/tun")?;
    let name = sys::tun_attach(file.as_fd(), name, flags)?;
    let basic = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
    let udp = libc::TUN_F_USO4 | libc::TUN_F_USO6;
    // USO came with Linux 6.2.
    let header = VNET_HEADER as libc::c_int;
    let takes_udp = sys::tun_offload(file.as_fd(), header, basic | udp).is_ok();
    if !takes_udp {
        sys::tun_offload(file.as_fd(), header, basic)?;
    }
    Ok((TunQueue { file, udp: takes_udp }, name))
}

impl TunQueue {
    /// Whether it takes UDP super-packets.
    pub fn takes_udp(&self) -> bool {
        self.udp
    }

    /// One packet with its virtio header; `WouldBlock` when none waits.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.file).read(buffer)
    }

    /// One packet, in pieces, the virtio header first.
    pub fn write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        (&self.file).write_vectored(pieces)
    }

    /// For the poll loop.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
