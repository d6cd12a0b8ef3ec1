//! A TCP link, as its lane sees it: the connection, what waits for it, and what epoll is asked to tell of it.

use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::link::{LinkState, bump};
use crate::outqueue::{OutQueue, Pool, TURN};
use crate::sys::{self, Epoll, Ready};
use crate::tcp;

use super::health::Progress;
use super::token::Token;

/// See the module.
#[derive(Debug)]
pub struct Link {
    /// The connection.
    pub stream: Arc<TcpStream>,
    /// What all threads see.
    pub state: Arc<LinkState>,
    /// What waits to be written.
    pub out: OutQueue,
    /// The start of a packet whose rest is still to come; of a paused link, all that was read and not worked on.
    pub leftover: Vec<u8>,
    /// An inbound link must have sent a whole packet by then.
    pub prove_by: Option<f64>,
    /// Not read until Python has caught up.
    pub paused: bool,
    /// The last read held mostly data.
    pub bulk: bool,
    /// Something was queued in this turn.
    pub(super) dirty: bool,
    pub(super) progress: Progress,
    /// Much control waited when it was written to last: see `tcp::limit_unsent`.
    has_news: bool,
    watched: Ready,
}

impl Link {
    /// A new connection, which `epoll` watches from now on.
    pub fn new(
        epoll: &Epoll,
        stream: Arc<TcpStream>,
        state: Arc<LinkState>,
        prove_by: Option<f64>,
    ) -> io::Result<Self> {
        let watched = Ready {
            read: true,
            ..Ready::default()
        };
        epoll.add(stream.as_fd(), watched, Token::Link(state.up.link).pack())?;
        Ok(Self {
            stream,
            state,
            out: OutQueue::default(),
            leftover: Vec::new(),
            prove_by,
            paused: false,
            bulk: false,
            dirty: false,
            progress: Progress::default(),
            has_news: false,
            watched,
        })
    }

    /// Write what waits, as far as the socket takes it, in a turn of the time `now`.
    pub fn write(&mut self, now: f64, pool: &mut Pool) -> io::Result<()> {
        // Taken before the call: this thread may lose the processor right after it.
        let left = if self.out.has_hello() { sys::now() } else { now };
        let has_news = self.out.control_bytes() > TURN;
        if has_news != self.has_news {
            self.has_news = has_news;
            tcp::limit_unsent(&self.stream, has_news)?;
        }
        let (written, hello) = self.out.write(&mut &*self.stream, pool)?;
        bump(&self.state.figures.tx_bytes, written as u64);
        if hello {
            self.state.hello_left(left);
        }
        Ok(())
    }

    /// Write a run of `count` whole data packets while nothing waits before them; what the socket doesn't take waits.
    pub fn write_through(&mut self, run: &[u8], count: usize, now: f64, pool: &mut Pool) -> io::Result<()> {
        bump(&self.state.figures.tx_packets, count as u64);
        let written = self.out.write_through(run, &mut &*self.stream, now, pool)?;
        bump(&self.state.figures.tx_bytes, written as u64);
        Ok(())
    }

    /// Have `epoll` watch the socket for what matters now.
    pub fn rewatch(&mut self, epoll: &Epoll) {
        let wanted = Ready {
            read: !self.paused,
            write: !self.out.is_empty(),
            error: false,
        };
        self.state.figures.queued.store(self.out.bytes() as u64, Relaxed);
        if wanted != self.watched
            && epoll
                .modify(
                    self.stream.as_fd(),
                    wanted,
                    Token::Link(self.state.up.link).pack(),
                )
                .is_ok()
        {
            self.watched = wanted;
        }
    }
}
