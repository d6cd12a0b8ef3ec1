//! The keeper's few datagrams through a socket that a lane keeps full: a lost ping would count against the path.

use std::cell::Cell;
use std::io;
use std::os::fd::BorrowedFd;

use crate::sys;

/// Milliseconds that one datagram waits for room: more than the socket's buffer holds (see [`super::depth`]).
const WAIT_MS: u16 = 5;
/// Seconds for which nothing waits after one waited in vain: the interface may stand still.
const TIRED: f64 = 0.1;
/// A lane that wakes at the same moment may take the room.
const TRIES: usize = 3;

/// One thread's.
#[derive(Debug, Default)]
pub struct Patient {
    tired_until: Cell<f64>,
}

impl Patient {
    /// Call `send`, which hands one datagram to the socket `fd`, until there is room or patience ends.
    pub fn send(&self, fd: BorrowedFd<'_>, mut send: impl FnMut() -> io::Result<usize>) -> io::Result<()> {
        for _ in 1..TRIES {
            match send() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return sent.map(drop),
            }
            if sys::now() < self.tired_until.get() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            if !sys::wait_writable(fd, WAIT_MS) {
                self.tired_until.set(sys::now() + TIRED);
                break;
            }
        }
        send().map(drop)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixDatagram;

    use super::*;

    /// A socket whose other end has read nothing, full.
    fn full() -> (UnixDatagram, UnixDatagram) {
        let (socket, other) = UnixDatagram::pair().unwrap();
        socket.set_nonblocking(true).unwrap();
        while socket.send(&[0; 1000]).is_ok() {}
        (socket, other)
    }

    #[test]
    fn a_datagram_waits_for_room_and_is_sent_once() {
        let (socket, other) = full();
        let patient = Patient::default();
        let mut sent = 0;
        let outcome = patient.send(socket.as_fd(), || {
            let outcome = socket.send(b"ping");
            match &outcome {
                Ok(_) => sent += 1,
                // Whoever is at the other end reads only now.
                Err(_) => drop(other.recv(&mut [0; 1000]).unwrap()),
            }
            outcome
        });
        assert!(outcome.is_ok());
        assert_eq!(sent, 1);
    }

    #[test]
    fn an_interface_that_stands_still_is_waited_for_once() {
        let (socket, _other) = full();
        let patient = Patient::default();
        let mut asked = 0;
        for _ in 0..10 {
            let outcome = patient.send(socket.as_fd(), || {
                asked += 1;
                socket.send(b"ping")
            });
            assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::WouldBlock);
            patient.tired_until.set(patient.tired_until.get().max(1.0) + 1e9);
        }
        assert_eq!(
            asked,
            2 + 9,
            "the first waited and tried again, the others didn't wait"
        );
    }

    #[test]
    fn what_else_is_wrong_is_said_at_once() {
        let (socket, _other) = full();
        let patient = Patient::default();
        let outcome = patient.send(socket.as_fd(), || {
            Err(io::Error::from_raw_os_error(libc::EMSGSIZE))
        });
        assert_eq!(outcome.unwrap_err().raw_os_error(), Some(libc::EMSGSIZE));
    }
}
