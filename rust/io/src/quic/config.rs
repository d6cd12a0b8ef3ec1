//! Every number of the QUIC transport, and the quinn settings made of them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use quinn::{EndpointConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};
use quinn_proto::HashedConnectionIdGenerator;

use super::congestion::TunnelConfig;
use crate::tcp::plain;

/// Silence after which a connection is dead. The peer's own value counts when it is lower (a stock node says 60 s).
const IDLE_TIMEOUT: VarInt = VarInt::from_u32(30_000);
/// Keep-alive; a third of the idle time, so that two may be lost.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Largest UDP payload we take: Ethernet less IPv4 and UDP. A stock node sends payloads of 1500 from the start unless
/// this forbids it. On Ethernet they vanish, it falls back to 1200, and the next full packet tears its link down.
const MAX_UDP_PAYLOAD: u16 = 1_472;
/// Largest UDP payload we look for: Ethernet less IPv4 and UDP. With IPv6 the search ends a little lower.
const MTU_UPPER_BOUND: u16 = 1_472;
/// Precision of the search. A full packet from a 1360-byte TUN needs 1470, so the default of 20 is too coarse.
const MTU_STEP: u16 = 4;
/// Stream data a peer may have under way, and what all its streams may hold here together.
pub const RECEIVE_WINDOW: u32 = 4 << 20;
/// Datagrams that wait to be read by the link's task; the oldest go first when it is full.
const DATAGRAM_RECEIVE: usize = 4 << 20;
/// Datagrams handed to quinn that were not sent yet. Small: waiting belongs in our queue, where age is judged.
const DATAGRAM_SEND: usize = 128 << 10;
/// Bounds of stream data handed to quinn and not acknowledged; in between it follows the congestion window.
pub const SEND_WINDOW: (u64, u64) = (128 << 10, 8 << 20);
/// How long the smallest packet size is used when larger ones seem to vanish. Short, as random loss looks like that too.
const BLACK_HOLE_COOLDOWN: Duration = Duration::from_secs(1);
/// Streams a peer may open, as a stock node allows; only the first is used.
const STREAMS: u8 = 5;

/// Time an inbound connection has for its handshake and its stream.
pub const ACCEPT_TIMEOUT: Duration = Duration::from_secs(10);
/// Inbound handshakes in progress; above half of it addresses must prove themselves with a retry first.
pub const HANDSHAKES: usize = 64;
/// Inbound connections in all, handshakes included: somewhat more than routing keeps of all transports.
pub const INBOUND: usize = 256;
/// Inbound connections of one address (IPv6: one /64), handshakes included.
pub const INBOUND_PER_ADDRESS: usize = 96;
/// Dials in progress.
pub const DIALS: usize = 256;
/// Time a closing link has to get its last control packets acknowledged.
pub const CLOSE_FLUSH: Duration = Duration::from_millis(250);

/// Transport settings of every connection, both ways.
pub fn transport() -> Arc<TransportConfig> {
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(MTU_UPPER_BOUND)
        .minimum_change(MTU_STEP)
        .black_hole_cooldown(BLACK_HOLE_COOLDOWN);
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(IdleTimeout::from(IDLE_TIMEOUT)))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_concurrent_bidi_streams(STREAMS.into())
        .max_concurrent_uni_streams(0u8.into())
        .stream_receive_window(RECEIVE_WINDOW.into())
        .receive_window(RECEIVE_WINDOW.into())
        .send_window(SEND_WINDOW.0)
        .datagram_receive_buffer_size(Some(DATAGRAM_RECEIVE))
        .datagram_send_buffer_size(DATAGRAM_SEND)
        .mtu_discovery_config(Some(mtu))
        .congestion_controller_factory(Arc::new(TunnelConfig));
    Arc::new(transport)
}

/// Settings of an endpoint.
///
/// A node that was killed leaves peers behind that go on sending to its successor, which cannot read them. So
/// connection ids and reset tokens come from `seed`, which outlives the process: the successor knows the ids for its
/// own and answers with stateless resets (RFC 9000 §10.3) that the peers believe. They dial anew at once, and don't
/// wait out their idle time.
pub fn endpoint(seed: &[u8; 32]) -> EndpointConfig {
    let key = hmac::Key::new(hmac::HMAC_SHA256, seed);
    let ids = hmac::sign(&key, b"connection ids")
        .as_ref()
        .iter()
        .take(8)
        .fold(0, |ids, byte| ids << 8 | u64::from(*byte));
    let mut endpoint = EndpointConfig::new(Arc::new(key));
    endpoint.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(ids)));
    // The value is in range, and the default would still interoperate.
    let _ = endpoint.max_udp_payload_size(MAX_UDP_PAYLOAD);
    endpoint
}

/// Settings of the accepting side.
pub fn server(crypto: Arc<quinn::crypto::rustls::QuicServerConfig>) -> quinn::ServerConfig {
    let mut server = quinn::ServerConfig::with_crypto(crypto);
    server
        .transport_config(transport())
        .max_incoming(HANDSHAKES)
        .incoming_buffer_size(32 << 10)
        .incoming_buffer_size_total(1 << 20);
    server
}

/// Settings of the dialling side.
pub fn client(crypto: Arc<quinn::crypto::rustls::QuicClientConfig>) -> quinn::ClientConfig {
    let mut client = quinn::ClientConfig::new(crypto);
    client.transport_config(transport());
    client
}

/// What connections are counted by: the IPv4 address, or the /64 of an IPv6 address.
pub fn source(address: SocketAddr) -> u128 {
    match plain(address).ip() {
        IpAddr::V4(v4) => u128::from(v4.to_ipv6_mapped()),
        IpAddr::V6(v6) if v6.is_loopback() => u128::from(v6),
        IpAddr::V6(v6) => u128::from(v6) >> 64 << 64,
    }
}
