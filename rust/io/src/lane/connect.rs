//! How TCP links come to be: accepting within bounds, dialling with a time limit.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;

use crate::counters::Counter;
use crate::events::Event;
use crate::handoff::LinkUp;
use crate::link::{Home, LinkState, remote_group};
use crate::shared::ToLane;
use crate::sys::{self, Ready};
use crate::tcp;

use super::Lane;
use super::token::Token;

/// Inbound TCP links in all: somewhat more than routing keeps of all transports, so that it may choose which.
const INBOUND: usize = 256;
/// Inbound links from one IPv4 address or IPv6 /64: several nodes behind one NAT, but no flood (a guess).
const INBOUND_PER_REMOTE: usize = 64;
/// An inbound connection must send a whole packet within this many seconds: as the reference's QUIC handshake.
const PROVE_WITHIN: f64 = 10.0;
/// Connections taken from a listener in one turn.
const ACCEPTS: usize = 16;
/// After accept() failed for want of descriptors or memory, try again after this many seconds.
const ACCEPT_AGAIN: f64 = 1.0;
/// While Python is behind with news of links, look again after this many seconds (a guess).
const CROWD_AGAIN: f64 = 0.02;

/// Listeners and dials of a lane.
pub struct Connecting {
    listeners: Vec<TcpListener>,
    /// When to listen again, after accept() failed or while there is a crowd.
    resume_at: Option<f64>,
    dials: HashMap<u32, Dial>,
    next: u32,
}

struct Dial {
    token: i64,
    stream: TcpStream,
    remote: SocketAddr,
    until: f64,
}

impl Connecting {
    /// No dials.
    pub fn new(listeners: Vec<TcpListener>) -> Self {
        Self {
            listeners,
            resume_at: None,
            dials: HashMap::new(),
            next: 0,
        }
    }
}

impl Lane {
    /// Take connections from the listener at this place.
    pub(super) fn accept(&mut self, at: u32) {
        for _ in 0..ACCEPTS {
            if self.shared.events.crowded() {
                return self.pause_listening(Counter::AcceptHeld, CROWD_AGAIN);
            }
            let Some(listener) = self.connecting.listeners.get(at as usize) else {
                return;
            };
            match listener.accept() {
                Ok((stream, remote)) => self.accepted(stream, tcp::plain(remote)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The connection was gone before it was taken: accept(2).
                Err(error) if matches!(error.raw_os_error(), Some(libc::ECONNABORTED | libc::EINTR)) => {}
                Err(_) => return self.pause_listening(Counter::AcceptFailed, ACCEPT_AGAIN),
            }
        }
    }

    fn pause_listening(&mut self, why: Counter, seconds: f64) {
        self.count(why, 1);
        self.listen_for(Ready::default());
        let at = self.carrier.now + seconds;
        self.connecting.resume_at = Some(at);
        self.carrier.wake_at(at);
    }

    fn listen_for(&self, what: Ready) {
        for (at, listener) in (0..).zip(&self.connecting.listeners) {
            drop(
                self.epoll
                    .modify(listener.as_fd(), what, Token::Listener(at).pack()),
            );
        }
    }

    fn accepted(&mut self, stream: TcpStream, remote: SocketAddr) {
        let group = remote_group(remote.ip());
        let links = self.shared.links.get();
        let inbound = || {
            links
                .values()
                .filter(|state| state.up.token.is_none() && state.up.proto == "tcp")
        };
        let same = inbound()
            .filter(|state| remote_group(state.up.remote.ip()) == group)
            .count();
        if same >= INBOUND_PER_REMOTE || inbound().count() >= INBOUND {
            return self.count(Counter::Refused, 1);
        }
        self.count(Counter::Accepted, 1);
        let lane = self.shared.least_loaded();
        if lane == self.number {
            self.adopt_inbound(stream, remote);
        } else if !self.shared.post(lane, ToLane::Adopt(stream, remote)) {
            self.shared.unload(lane);
        }
    }

    /// Make an accepted connection a link of this lane, which it already counts for.
    pub(super) fn adopt_inbound(&mut self, stream: TcpStream, remote: SocketAddr) {
        let prove_by = self.carrier.now + PROVE_WITHIN;
        if self.adopt(stream, remote, None, Some(prove_by)).is_err() {
            self.shared.unload(self.number);
        }
    }

    fn adopt(
        &mut self,
        stream: TcpStream,
        remote: SocketAddr,
        token: Option<i64>,
        prove_by: Option<f64>,
    ) -> io::Result<()> {
        let stream = Arc::new(tcp::tune(stream)?);
        let local = tcp::plain(stream.local_addr()?);
        let up = LinkUp {
            link: self.shared.fresh_link(),
            token,
            proto: "tcp",
            local,
            remote,
            key: None,
        };
        let home = Home::Lane(self.number);
        let state = LinkState::new(up, home, self.carrier.now, Arc::downgrade(&stream));
        self.carrier.adopt(&self.epoll, stream, Arc::new(state), prove_by)
    }

    /// Begin to connect, for a link that this lane already counts for.
    pub(super) fn dial(&mut self, token: i64, remote: SocketAddr, timeout: f64) {
        let number = self.connecting.next;
        let write = Ready {
            write: true,
            ..Ready::default()
        };
        let started = tcp::connect(remote, self.shared.mark).and_then(|stream| {
            self.epoll
                .add(stream.as_fd(), write, Token::Dial(number).pack())?;
            Ok(stream)
        });
        match started {
            Ok(stream) => {
                self.connecting.next = number.wrapping_add(1);
                let until = self.carrier.now + timeout;
                self.connecting.dials.insert(
                    number,
                    Dial {
                        token,
                        stream,
                        remote,
                        until,
                    },
                );
                self.carrier.wake_at(until);
            }
            Err(error) => self.dial_failed(token, &error),
        }
    }

    fn dial_failed(&mut self, token: i64, error: &io::Error) {
        self.shared.unload(self.number);
        let reason = sys::reason(error);
        self.carrier.events.push(Event::DialFailed(
            token,
            error.raw_os_error().unwrap_or(0),
            reason,
        ));
    }

    /// The dial of this number has, or has not, connected.
    pub(super) fn dial_ready(&mut self, number: u32) {
        let Some(Dial {
            token,
            stream,
            remote,
            ..
        }) = self.connecting.dials.remove(&number)
        else {
            return;
        };
        // The descriptor is registered once; the link adds it again under its own token.
        drop(self.epoll.remove(stream.as_fd()));
        let outcome = match stream.take_error() {
            Ok(None) => self.adopt(stream, remote, Some(token), None),
            Ok(Some(error)) | Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            self.dial_failed(token, &error);
        }
    }

    /// Dials that took too long; listeners that may try again.
    pub(super) fn connecting_tick(&mut self) {
        let now = self.carrier.now;
        if self.connecting.resume_at.is_some_and(|at| at <= now) {
            self.connecting.resume_at = None;
            self.listen_for(Ready {
                read: true,
                ..Ready::default()
            });
        }
        let late: Vec<_> = self
            .connecting
            .dials
            .extract_if(|_, dial| dial.until <= now)
            .map(|(_, dial)| dial.token)
            .collect();
        for token in late {
            self.dial_failed(token, &io::Error::from_raw_os_error(libc::ETIMEDOUT));
        }
        let resume = self.connecting.resume_at;
        let next = self
            .connecting
            .dials
            .values()
            .map(|dial| dial.until)
            .chain(resume)
            .fold(f64::INFINITY, f64::min);
        self.carrier.wake_at(next);
    }
}
