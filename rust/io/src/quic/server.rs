//! The thread's own work: taking connections in, dialling out, ending.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use quinn::{Connection, Endpoint, Incoming, VarInt};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::config::{self, ACCEPT_TIMEOUT, DIALS};
use super::gate::{Gate, Ruling};
use super::hub::Hub;
use super::task::{self, Established};
use super::tls;
use crate::handoff::LinkUp;
use crate::tcp::plain;

/// How long the last packets of closed connections may take.
const LINGER: Duration = Duration::from_millis(100);

/// What the transport is asked to do.
#[derive(Debug)]
pub enum Command {
    /// Connect.
    Dial {
        /// Comes back with the link.
        token: i64,
        /// Where to.
        remote: SocketAddr,
        /// How long it may take.
        limit: Duration,
    },
    /// Close all links and end.
    Shutdown {
        /// How long it may take.
        limit: Duration,
    },
}

/// The endpoints and what they need.
pub struct Server {
    hub: Arc<Hub>,
    gate: Arc<Gate>,
    endpoints: Vec<Endpoint>,
    client: quinn::ClientConfig,
    dials: Arc<AtomicUsize>,
}

impl Server {
    /// Put endpoints on the sockets. `name`: take connections in, with a certificate for it. `seed`: see
    /// [`config::endpoint`]. Needs a running runtime.
    pub fn new(
        hub: Arc<Hub>,
        sockets: Vec<UdpSocket>,
        name: Option<&str>,
        seed: &[u8; 32],
    ) -> io::Result<Self> {
        let server = name.map(tls::server).transpose()?.map(config::server);
        let endpoints = sockets.into_iter().map(|socket| {
            Endpoint::new(
                config::endpoint(seed),
                server.clone(),
                socket,
                Arc::new(quinn::TokioRuntime),
            )
        });
        Ok(Self {
            hub,
            gate: Arc::default(),
            endpoints: endpoints.collect::<io::Result<_>>()?,
            client: config::client(tls::client()?),
            dials: Arc::default(),
        })
    }

    /// Serve until told to end.
    pub async fn run(self, mut commands: UnboundedReceiver<Command>) {
        let mut tasks = JoinSet::new();
        for endpoint in &self.endpoints {
            tasks.spawn(accept_all(self.hub.clone(), self.gate.clone(), endpoint.clone()));
        }
        let limit = loop {
            match commands.recv().await {
                Some(Command::Dial { token, remote, limit }) => self.dial(token, remote, limit),
                Some(Command::Shutdown { limit }) => break limit,
                None => break Duration::ZERO,
            }
        };
        self.end(tasks, limit).await;
    }

    fn dial(&self, token: i64, remote: SocketAddr, limit: Duration) {
        let hub = self.hub.clone();
        if self.dials.fetch_add(1, Relaxed) >= DIALS {
            self.dials.fetch_sub(1, Relaxed);
            hub.upcalls
                .dial_failed(token, libc::EAGAIN, "too many dials in progress");
            return;
        }
        let Some(endpoint) = self.endpoint_for(remote) else {
            self.dials.fetch_sub(1, Relaxed);
            hub.upcalls
                .dial_failed(token, libc::EAFNOSUPPORT, "no socket of that address family");
            return;
        };
        let (client, dials) = (self.client.clone(), self.dials.clone());
        tokio::spawn(async move {
            let result = timeout(limit, dial(&hub, &endpoint, client, token, remote)).await;
            dials.fetch_sub(1, Relaxed);
            match result {
                Ok(Ok(established)) => task::run(hub, established).await,
                Ok(Err(reason)) => hub.upcalls.dial_failed(token, 0, &reason),
                Err(_) => hub.upcalls.dial_failed(token, libc::ETIMEDOUT, "no answer"),
            }
        });
    }

    fn endpoint_for(&self, remote: SocketAddr) -> Option<Endpoint> {
        let local = |endpoint: &&Endpoint| endpoint.local_addr().ok();
        let same = |endpoint: &&Endpoint| local(endpoint).is_some_and(|at| at.is_ipv6() == remote.is_ipv6());
        let dual = |endpoint: &&Endpoint| {
            remote.is_ipv4() && local(endpoint).is_some_and(|at| at.is_ipv6() && at.ip().is_unspecified())
        };
        self.endpoints
            .iter()
            .find(same)
            .or_else(|| self.endpoints.iter().find(dual))
            .cloned()
    }

    /// Let links say good-bye, then close what is left.
    async fn end(self, mut acceptors: JoinSet<()>, limit: Duration) {
        let deadline = Instant::now() + limit.saturating_sub(LINGER);
        acceptors.shutdown().await;
        for link in self.hub.links() {
            link.close("this node is stopping");
        }
        while !self.hub.links().is_empty() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for endpoint in &self.endpoints {
            endpoint.close(VarInt::from_u32(0), b"");
        }
        let linger = Instant::now() + LINGER.min(limit);
        for endpoint in &self.endpoints {
            let _ = timeout_at(linger, endpoint.wait_idle()).await;
        }
    }
}

async fn dial(
    hub: &Hub,
    endpoint: &Endpoint,
    client: quinn::ClientConfig,
    token: i64,
    remote: SocketAddr,
) -> Result<Established, String> {
    let connecting = endpoint
        .connect_with(client, remote, tls::SERVER_NAME)
        .map_err(|error| error.to_string())?;
    let connection = connecting.await.map_err(|error| task::describe(&error))?;
    let (send, receive) = connection
        .open_bi()
        .await
        .map_err(|error| task::describe(&error))?;
    let up = LinkUp {
        link: hub.upcalls.new_link(),
        token: Some(token),
        proto: "quic",
        local: local(endpoint, &connection),
        remote,
        key: None,
    };
    Ok(Established {
        connection,
        send,
        receive,
        up,
    })
}

/// The local end: the address that packets leave from, where the system tells.
fn local(endpoint: &Endpoint, connection: &Connection) -> SocketAddr {
    let bound = endpoint
        .local_addr()
        .unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
    let known = connection
        .local_ip()
        .or_else(|| towards(connection.remote_address()).ok());
    plain(known.map_or(bound, |ip| SocketAddr::new(ip, bound.port())))
}

/// The address that packets to `remote` leave from. Connecting a UDP socket asks the routing table and sends nothing.
fn towards(remote: SocketAddr) -> io::Result<IpAddr> {
    let remote = plain(remote);
    let any: IpAddr = if remote.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(remote)?;
    Ok(socket.local_addr()?.ip())
}

async fn accept_all(hub: Arc<Hub>, gate: Arc<Gate>, endpoint: Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        if hub.upcalls.crowded() {
            hub.totals.refused.fetch_add(1, Relaxed);
            // Without an answer the dialler asks again in a moment, when there may be room.
            incoming.ignore();
            continue;
        }
        let source = config::source(incoming.remote_address());
        match gate.judge(source, incoming.remote_address_validated()) {
            Ruling::Accept(handshake, place) => {
                let (hub, endpoint) = (hub.clone(), endpoint.clone());
                tokio::spawn(async move {
                    let established = timeout(ACCEPT_TIMEOUT, accept(&hub, &endpoint, incoming)).await;
                    drop(handshake);
                    if let Ok(Some(established)) = established {
                        hub.replace(established.up.remote);
                        task::run(hub, established).await;
                    }
                    drop(place);
                });
            }
            Ruling::Retry => {
                hub.totals.retried.fetch_add(1, Relaxed);
                // An error hands the connection back, and dropping it refuses it.
                let _ = incoming.retry();
            }
            Ruling::Refuse => {
                hub.totals.refused.fetch_add(1, Relaxed);
                incoming.refuse();
            }
        }
    }
}

/// The handshake and the dialler's stream. None: it came to nothing, which is the dialler's affair.
async fn accept(hub: &Hub, endpoint: &Endpoint, incoming: Incoming) -> Option<Established> {
    let connection = incoming.accept().ok()?.await.ok()?;
    let (send, receive) = connection.accept_bi().await.ok()?;
    let up = LinkUp {
        link: hub.upcalls.new_link(),
        token: None,
        proto: "quic",
        local: local(endpoint, &connection),
        remote: plain(connection.remote_address()),
        key: None,
    };
    Some(Established {
        connection,
        send,
        receive,
        up,
    })
}
