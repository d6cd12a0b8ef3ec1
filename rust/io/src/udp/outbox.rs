//! What a lane has made and not yet sent over UDP: how much may wait, what it says of congestion, and sending it.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsFd;

use socket2::SockAddr;

use super::batch;
use super::depth::Depth;
use super::train::{TRAIN_BYTES, Trains};
use crate::class::congested;
use crate::sys;

/// Datagrams that wait before they are sent within a turn: what was sealed is still in the second-level cache.
const FLUSH_AT: usize = 32;
/// Bytes of a train where the interface is slowest: a train delays what comes behind it.
const SHORT_TRAIN: usize = 6_000;
/// Bytes that may wait while the socket takes nothing: about 2 ms at 5 Gbit/s. Less where the interface is slower.
pub const LIMIT: usize = 1 << 20;

/// What became of a flush.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Flushed {
    /// Datagrams handed to the kernel.
    pub datagrams: usize,
    /// System calls that took them.
    pub calls: usize,
    /// Datagrams that the kernel refused for good: too long for the interface, no route, no permission.
    pub refused: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Outbox {
    trains: Trains,
    depth: Depth,
}

impl Outbox {
    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.trains.is_empty()
    }

    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.trains.bytes()
    }

    /// Enough waits for a call of its own.
    pub fn is_due(&self) -> bool {
        self.trains.datagrams() >= FLUSH_AT
    }

    /// More than should ever wait: the socket takes nothing.
    pub fn is_full(&self) -> bool {
        self.len() >= self.limit()
    }

    /// Whether what waits delays traffic by more than it should: whoever makes more is to hear of it.
    pub fn is_slow(&self) -> bool {
        self.depth.is_slow()
    }

    /// A free socket takes all in a moment.
    fn limit(&self) -> usize {
        if self.depth.is_refused() {
            LIMIT.min(self.depth.limit())
        } else {
            LIMIT
        }
    }

    /// Whether a datagram that is added now meets congestion: it begins where half of what may wait does.
    fn is_congested(&self) -> bool {
        self.len() >= self.limit() / 2
    }

    /// Add one datagram: `write` appends it to the bytes it is given, and says whether it did. If not, what it
    /// appended is forgotten.
    pub fn add(&mut self, to: &SockAddr, class: u8, write: impl FnOnce(&mut Vec<u8>) -> bool) -> bool {
        let class = if self.is_congested() {
            congested(class)
        } else {
            class
        };
        let longest = (self.depth.limit() / 4).clamp(SHORT_TRAIN, TRAIN_BYTES);
        self.trains.add(to, class, longest, write)
    }

    /// Send what the socket takes. What it doesn't take stays.
    pub fn flush(&mut self, socket: &UdpSocket) -> Flushed {
        let mut flushed = Flushed::default();
        let (now, mut refused) = (sys::now(), false);
        if self.depth.is_due(now) && self.depth.look(now, sys::queued(socket.as_fd())) {
            // The kernel doubles it, for what it needs itself, and so counts itself.
            drop(sys::limit_queued(socket.as_fd(), self.depth.limit() / 2));
        }
        while !self.trains.is_empty() {
            let outcome = match self.trains.alone() {
                Some((to, datagram)) => batch::send_alone(socket, to, datagram).map(|()| 1),
                None => batch::send(socket, self.trains.sendings()),
            };
            match outcome {
                Ok(sent) if sent > 0 => {
                    flushed.calls += 1;
                    flushed.datagrams += self.trains.forget(sent);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // ENOBUFS: the interface's queue is full, which passes as soon as a full socket does.
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock
                        || error.raw_os_error() == Some(libc::ENOBUFS) =>
                {
                    refused = true;
                    break;
                }
                Err(error) if error.raw_os_error() == Some(libc::EIO) && !self.trains.is_single() => {
                    // The kernel can't cut trains for this device.
                    self.trains.cut_up();
                }
                // ECONNREFUSED tells of an earlier datagram; the rest of what is here goes on.
                Err(error) if error.raw_os_error() == Some(libc::ECONNREFUSED) => {}
                _ => flushed.refused += self.trains.forget(1),
            }
        }
        if refused || self.depth.is_measuring() || self.depth.is_refused() {
            self.depth.gave(now, sys::queued(socket.as_fd()), refused);
        }
        self.trains.move_up();
        flushed
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::net::SocketAddr;

    use crate::class::CE;

    use super::super::batch::{MESSAGE_ROOM, MESSAGES, Receiver, is_v6};
    use super::super::socket;
    use super::*;

    fn socket_on(address: &str) -> UdpSocket {
        socket::open(address.parse().unwrap(), 1, 0).unwrap().remove(0)
    }

    fn add(outbox: &mut Outbox, to: &SockAddr, class: u8, fill: u8, length: usize) {
        outbox.add(to, class, |bytes| {
            bytes.resize(bytes.len() + length, fill);
            true
        });
    }

    /// All datagrams that wait at `socket`: fill byte, length, class. Loopback delivers within the send call.
    fn take(socket: &UdpSocket) -> Vec<(u8, usize, u8)> {
        let (mut receiver, mut buffer) = (Receiver::default(), vec![0; MESSAGES * MESSAGE_ROOM]);
        let mut all = Vec::new();
        while receiver.receive(socket, &mut buffer, MESSAGES).is_ok() {
            for message in &receiver.received {
                for datagram in buffer[message.start..message.end].chunks(message.segment) {
                    assert!(datagram.iter().all(|byte| *byte == datagram[0]));
                    all.push((datagram[0], datagram.len(), message.class));
                }
            }
        }
        all
    }

    fn exchange(from: &str, to: &str) {
        let (sender, sink) = (socket_on(from), socket_on(to));
        let end: SocketAddr = sink.local_addr().unwrap();
        let target = match from {
            "[::]:0" => SocketAddr::new("127.0.0.1".parse().unwrap(), end.port()),
            _ => end,
        };
        let target = SockAddr::from(socket::mapped(target, is_v6(&sender)));
        let mut outbox = Outbox::default();
        let wanted = [
            (1, 1400, 0),
            (2, 1400, 0),
            (3, 900, 0),
            (4, 900, 2),
            (5, 1400, 0),
            (6, 20, 3),
        ];
        for (fill, length, class) in wanted {
            add(&mut outbox, &target, class, fill, length);
        }
        assert_eq!(
            outbox.trains.sendings().count(),
            4,
            "equal sizes and a shorter last one, of one class"
        );
        let flushed = outbox.flush(&sender);
        assert_eq!((flushed.datagrams, flushed.calls, flushed.refused), (6, 1, 0));
        assert!(outbox.is_empty());
        assert_eq!(take(&sink), wanted);
    }

    #[test]
    fn trains_arrive_as_the_datagrams_that_they_are_with_their_class() {
        exchange("127.0.0.1:0", "127.0.0.1:0");
        exchange("[::1]:0", "[::1]:0");
    }

    #[test]
    fn a_dual_stack_socket_reaches_ipv4() {
        exchange("[::]:0", "127.0.0.1:0");
    }

    #[test]
    fn a_few_dozen_datagrams_are_worth_a_call() {
        let to = SockAddr::from(SocketAddr::from(([127, 0, 0, 1], 9)));
        let mut outbox = Outbox::default();
        (1..FLUSH_AT).for_each(|_| add(&mut outbox, &to, 0, 7, 1452));
        assert!(!outbox.is_due());
        add(&mut outbox, &to, 0, 7, 1452);
        assert!(outbox.is_due());
    }

    #[test]
    fn what_waits_for_a_slow_socket_is_marked_and_then_has_no_room() {
        let to = SockAddr::from(SocketAddr::from(([127, 0, 0, 1], 9)));
        let mut outbox = Outbox::default();
        for turn in 0..10 {
            let now = f64::from(turn);
            outbox.depth.look(now, 40_000);
            outbox.depth.gave(now + 0.5, 80_000, true);
        }
        assert!(outbox.is_slow());
        let most = outbox.depth.limit();
        let mut classes = Vec::new();
        for number in 0.. {
            if outbox.is_full() {
                break;
            }
            assert!(outbox.len() < most);
            add(&mut outbox, &to, [1, 2, 0, 0xb8][number % 4], 7, 1400);
            classes.push((
                outbox.len() - 1400 >= most / 2,
                outbox.trains.sendings().last().unwrap().class,
            ));
        }
        for (at, (is_deep, class)) in classes.iter().enumerate() {
            let plain = [1, 2, 0, 0xb8][at % 4];
            let wanted = if *is_deep && plain & CE != 0 {
                plain | CE
            } else {
                plain
            };
            assert_eq!(*class, wanted, "datagram {at}");
        }
        assert!(classes.iter().any(|(_, class)| *class == CE));
        outbox.depth.gave(20.0, 0, false);
        assert!(!outbox.is_full(), "a free socket takes all in a moment");
    }

    #[test]
    fn cut_up_trains_keep_every_datagram() {
        let (sender, sink) = (socket_on("127.0.0.1:0"), socket_on("127.0.0.1:0"));
        let to = SockAddr::from(sink.local_addr().unwrap());
        let mut outbox = Outbox::default();
        (1..=5).for_each(|fill| add(&mut outbox, &to, 0, fill, 300));
        add(&mut outbox, &to, 0, 6, 10);
        outbox.trains.cut_up();
        assert_eq!(outbox.flush(&sender).datagrams, 6);
        assert_eq!(
            take(&sink).iter().map(|d| d.1).collect::<Vec<_>>(),
            [300, 300, 300, 300, 300, 10]
        );
    }

    #[test]
    fn what_can_never_be_sent_is_refused_and_the_rest_goes() {
        let (sender, sink) = (socket_on("127.0.0.1:0"), socket_on("127.0.0.1:0"));
        let to = SockAddr::from(sink.local_addr().unwrap());
        let mut outbox = Outbox::default();
        add(&mut outbox, &to, 0, 1, 65_530);
        add(&mut outbox, &to, 0, 2, 100);
        assert_eq!(
            outbox.flush(&sender),
            Flushed {
                datagrams: 1,
                calls: 1,
                refused: 1
            }
        );
        assert_eq!(take(&sink), [(2, 100, 0)]);
    }
}
