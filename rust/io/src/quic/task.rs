//! The one task of a link: both directions, liveness, the end.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use quinn::{Connection, ConnectionError, RecvStream, SendStream, VarInt};
use tokio::time::{Instant, sleep_until, timeout};

use super::config::{CLOSE_FLUSH, RECEIVE_WINDOW};
use super::hub::Hub;
use super::incoming::{Incoming, StreamEnd};
use super::link::Link;
use super::outgoing::{Moved, Outgoing};
use super::watch::{Verdict, Watch};
use crate::handoff::LinkUp;
use crate::sys;

/// A connection whose handshake and stream are complete.
pub struct Established {
    /// The connection.
    pub connection: Connection,
    /// Our half of its stream.
    pub send: SendStream,
    /// The peer's half.
    pub receive: RecvStream,
    /// What made it, and its ends.
    pub up: LinkUp,
}

/// Report the link, serve it until it ends, report that.
pub async fn run(hub: Arc<Hub>, established: Established) {
    let Established {
        connection,
        send,
        receive,
        up,
    } = established;
    let link = Arc::new(Link::new(up, connection));
    let registered = hub.register(link.clone());
    let mut task = Task {
        hub,
        link,
        outgoing: Outgoing::new(send),
        incoming: Incoming::new(receive),
        watch: Watch::default(),
        probes: 0,
        overflows: 0,
    };
    let reason = task.serve().await;
    task.deliver();
    task.end().await;
    registered.down(&reason);
}

struct Task {
    hub: Arc<Hub>,
    link: Arc<Link>,
    outgoing: Outgoing,
    incoming: Incoming,
    watch: Watch,
    /// Probes sent while the peer was silent.
    probes: u32,
    /// Received datagrams that quinn had no room for.
    overflows: u64,
}

impl Task {
    /// Move packets until something ends the link; returns what.
    async fn serve(&mut self) -> String {
        let link = self.link.clone();
        let connection = &link.connection;
        let far = Instant::now() + Duration::from_secs(1 << 30);
        let timer = sleep_until(far);
        tokio::pin!(timer);
        loop {
            if let Some(reason) = link.closing() {
                return reason.to_owned();
            }
            let moved = self.outgoing.pump(&link);
            self.account(moved);
            let deadline = self.watch.deadline().map_or(far, Instant::from_std);
            if timer.deadline() != deadline {
                timer.as_mut().reset(deadline);
            }
            let blocked = self.outgoing.blocked();
            let paused = link.paused.load(Relaxed);
            tokio::select! {
                () = link.wake.notified() => {}
                datagram = connection.read_datagram() => match datagram {
                    Ok(datagram) => {
                        let dropped = self.incoming.datagrams(datagram, connection, paused);
                        self.overflown(dropped);
                    }
                    Err(error) => return describe(&error),
                },
                chunk = self.incoming.chunk(), if !paused => {
                    if let Err(end) = chunk.and_then(|chunk| self.incoming.stream(&chunk)) {
                        return ended(connection, &end);
                    }
                }
                result = self.outgoing.write(), if self.outgoing.wants_stream() => {
                    if let Err(error) = result {
                        return connection.close_reason().map_or_else(|| error.to_string(), |error| describe(&error));
                    }
                    self.account_sent();
                }
                result = connection.send_datagram_wait(blocked.clone().unwrap_or_default()), if blocked.is_some() => {
                    self.outgoing.unblocked(&link, result);
                    self.account_sent();
                }
                () = &mut timer => self.check(),
            }
            self.deliver();
        }
    }

    fn account(&mut self, moved: Moved) {
        self.hub.totals.queue.fetch_add(moved.dropped(), Relaxed);
        self.hub.totals.on_stream.fetch_add(moved.on_stream, Relaxed);
        if moved.any() {
            self.account_sent();
        }
    }

    /// Quinn's buffer of received datagrams has overflown so often since the link came up.
    fn overflown(&mut self, total: Option<u64>) {
        let new = total.unwrap_or(0).saturating_sub(self.overflows);
        if new > 0 {
            self.overflows += new;
            self.hub.totals.received.fetch_add(new, Relaxed);
        }
    }

    /// Quinn has got something that the peer must acknowledge.
    fn account_sent(&mut self) {
        let stats = self.link.connection.stats();
        self.watch
            .sent(Instant::now().into_std(), stats.frame_rx.acks, stats.path.rtt);
    }

    fn check(&mut self) {
        let stats = self.link.connection.stats();
        match self
            .watch
            .check(Instant::now().into_std(), stats.frame_rx.acks, stats.path.rtt)
        {
            Verdict::Same => {}
            Verdict::Stalled => {
                self.probe();
                self.stalled(true);
            }
            Verdict::Silent => self.probe(),
            // Only the side that dialled can dial again.
            Verdict::Lost if self.link.up.token.is_some() => {
                self.link.close("the peer has been silent for too long")
            }
            Verdict::Lost => self.probe(),
            Verdict::Resumed => self.stalled(false),
        }
    }

    /// Have something sent that any peer must acknowledge: a receive window that is one byte larger (MAX_DATA).
    ///
    /// Quinn itself asks at intervals that double, so that after a long silence it would be late to see the end of it.
    fn probe(&mut self) {
        self.probes = self.probes.saturating_add(1) % RECEIVE_WINDOW;
        self.link
            .connection
            .set_receive_window(VarInt::from_u32(RECEIVE_WINDOW + self.probes));
    }

    fn stalled(&self, stalled: bool) {
        self.link.stalled.store(stalled, Relaxed);
        self.hub.upcalls.stalled(self.link.up.link, stalled);
    }

    fn deliver(&mut self) {
        let totals = &self.hub.totals;
        totals
            .undecodable
            .fetch_add(std::mem::take(&mut self.incoming.undecodable), Relaxed);
        totals
            .unwanted
            .fetch_add(std::mem::take(&mut self.incoming.unwanted), Relaxed);
        if let Some((packets, count)) = self.incoming.take() {
            self.link.received.add(count, packets.len());
            self.hub.upcalls.deliver(self.link.up.link, packets, sys::now());
        }
    }

    /// Let the last control packets through if the link is ours to close, then close it.
    async fn end(self) {
        if self.link.connection.close_reason().is_none() {
            let _ = timeout(CLOSE_FLUSH, self.outgoing.finish(&self.link)).await;
            self.link.connection.close(VarInt::from_u32(0), b"");
        }
    }
}

/// Why a link ended, as people read it.
pub fn describe(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ApplicationClosed(_) => "closed by the peer".to_owned(),
        ConnectionError::Reset => "the peer has restarted".to_owned(),
        ConnectionError::TimedOut => "the peer has been silent for too long".to_owned(),
        other => other.to_string(),
    }
}

fn ended(connection: &Connection, end: &StreamEnd) -> String {
    // A broken connection shows at the stream too, with less to say.
    connection
        .close_reason()
        .map_or_else(|| end.to_string(), |error| describe(&error))
}
