//! QUIC links as Mycelium has them: control packets on one stream, data packets in datagrams.
//!
//! One thread with a single-threaded runtime carries all connections. Each link is one task; the lanes reach it
//! through a bounded queue, and it reaches them through [`Upcalls`].
//!
//! ```text
//! lanes --push--> queue --pump--> datagrams | stream --> peer
//! lanes <-deliver-- batch of whole packets <-- datagrams | stream
//! ```
//!
//! Both kinds of packets are taken from both channels. A data packet that no datagram can hold goes on the stream.

mod config;
mod congestion;
mod gate;
mod hub;
mod incoming;
mod link;
mod outgoing;
mod queue;
mod server;
mod socket;
mod task;
mod tls;
mod watch;

#[cfg(test)]
mod tests;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::handoff::{LinkId, LinkInfo, RemoteConfig, RemoteSink, Upcalls};
use hub::Hub;
use server::{Command, Server};

/// Bind the sockets and start the thread.
///
/// # Errors
/// What the system says to the sockets (an address in use, no right to mark packets), or to a new thread.
pub fn start(config: RemoteConfig, upcalls: Arc<dyn Upcalls>) -> io::Result<Arc<dyn RemoteSink>> {
    let sockets = socket::bind_all(&config.listen, config.firewall_mark)?;
    let listening = match config.listen.is_empty() {
        true => Vec::new(),
        false => sockets
            .iter()
            .map(UdpSocket::local_addr)
            .collect::<io::Result<_>>()?,
    };
    let hub = Arc::new(Hub::new(upcalls));
    let (commands, inbox) = unbounded_channel();
    let (started, outcome) = mpsc::channel();
    let shared = hub.clone();
    let thread = thread::Builder::new()
        .name("zosnet-quic".to_owned())
        .spawn(move || {
            serve(shared, sockets, &config, inbox, &started);
        })?;
    outcome
        .recv()
        .map_err(|_| io::Error::other("the QUIC thread did not start"))??;
    Ok(Arc::new(Quic {
        hub,
        commands,
        listening,
        thread: Mutex::new(Some(thread)),
    }))
}

/// The seed that all processes of the node with this secret have in common; it tells nothing about the secret.
pub fn reset_seed(secret: &[u8; 32]) -> [u8; 32] {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
    let mut seed = [0; 32];
    let tag = aws_lc_rs::hmac::sign(&key, b"zosnet quic reset seed v1");
    seed.iter_mut()
        .zip(tag.as_ref())
        .for_each(|(to, from)| *to = *from);
    seed
}

/// The thread.
fn serve(
    hub: Arc<Hub>,
    sockets: Vec<UdpSocket>,
    config: &RemoteConfig,
    inbox: UnboundedReceiver<Command>,
    started: &mpsc::Sender<io::Result<()>>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(started.send(Err(error))),
    };
    runtime.block_on(async {
        let name = (!config.listen.is_empty()).then_some(config.router_id_text.as_str());
        match Server::new(hub, sockets, name, &config.reset_seed) {
            Ok(server) => {
                let _ = started.send(Ok(()));
                server.run(inbox).await;
            }
            Err(error) => drop(started.send(Err(error))),
        }
    });
}

/// The lanes' hold on the thread.
struct Quic {
    hub: Arc<Hub>,
    commands: UnboundedSender<Command>,
    listening: Vec<SocketAddr>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl RemoteSink for Quic {
    fn push(&self, link: LinkId, packets: Vec<u8>) {
        if let Some(link) = self.hub.link(link) {
            let dropped = link.push(packets);
            self.hub.totals.queue.fetch_add(dropped, Relaxed);
        }
    }

    fn push_control(&self, link: LinkId, packets: Vec<u8>) {
        if let Some(link) = self.hub.link(link) {
            link.push_control(&packets);
        }
    }

    fn queued(&self, link: LinkId) -> usize {
        self.hub.link(link).map_or(0, |link| link.queued())
    }

    fn pause(&self, link: LinkId, paused: bool) {
        if let Some(link) = self.hub.link(link) {
            link.pause(paused);
        }
    }

    fn close(&self, link: LinkId) {
        if let Some(link) = self.hub.link(link) {
            link.close("closed by this node");
        }
    }

    fn dial(&self, token: i64, remote: SocketAddr, timeout: f64) {
        let limit = seconds(timeout);
        if self
            .commands
            .send(Command::Dial { token, remote, limit })
            .is_err()
        {
            self.hub.upcalls.dial_failed(token, 0, "QUIC has been shut down");
        }
    }

    fn links(&self) -> Vec<LinkInfo> {
        self.hub.links().iter().map(|link| link.info()).collect()
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        self.hub.totals.named()
    }

    fn listening(&self) -> Vec<SocketAddr> {
        self.listening.clone()
    }

    fn shutdown(&self, timeout: f64) {
        let _ = self.commands.send(Command::Shutdown {
            limit: seconds(timeout),
        });
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The lanes' last hold on us may go while we report to them.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id()) {
            // A panic there has been printed; there is nothing left to end.
            let _ = thread.join();
        }
    }
}

impl Drop for Quic {
    fn drop(&mut self) {
        self.shutdown(0.0);
    }
}

fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value).unwrap_or(Duration::ZERO)
}
