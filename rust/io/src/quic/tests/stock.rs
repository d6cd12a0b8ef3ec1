//! Peers that are not ours: quinn with a stock node's settings, and worse.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::{Connection, Endpoint, EndpointConfig, TransportConfig, VarInt};
use tokio::runtime::Runtime;

use super::peers::{Node, data, hello, number, v4};
use crate::quic::{config, tls};

/// Transport settings of a stock node (reference, section 2.4).
fn stock() -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    let mut mtu = quinn::MtuDiscoveryConfig::default();
    mtu.upper_bound(1452);
    transport
        .max_idle_timeout(Some(VarInt::from_u32(60_000).into()))
        .keep_alive_interval(Some(Duration::from_secs(20)))
        .max_concurrent_bidi_streams(5u8.into())
        .max_concurrent_uni_streams(0u8.into())
        .datagram_receive_buffer_size(Some(16 << 20))
        .datagram_send_buffer_size(16 << 20)
        .initial_mtu(1500)
        .mtu_discovery_config(Some(mtu));
    Arc::new(transport)
}

/// A stock-like endpoint: it says that it takes 1472 bytes a packet.
fn endpoint(runtime: &Runtime) -> Endpoint {
    let _guard = runtime.enter();
    let mut server = quinn::ServerConfig::with_crypto(tls::server("peer").unwrap());
    server.transport_config(stock());
    let socket = std::net::UdpSocket::bind(v4()).unwrap();
    let config = EndpointConfig::default();
    assert_eq!(config.get_max_udp_payload_size(), 1472);
    let mut endpoint = Endpoint::new(config, Some(server), socket, Arc::new(quinn::TokioRuntime)).unwrap();
    let mut client = config::client(tls::client().unwrap());
    client.transport_config(stock());
    endpoint.set_default_client_config(client);
    endpoint
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

async fn connect(endpoint: &Endpoint, to: SocketAddr) -> Connection {
    endpoint.connect(to, "anything").unwrap().await.unwrap()
}

#[test]
fn a_stock_dialler_is_served() {
    let (node, runtime) = (Node::new(&[v4()]), runtime());
    let endpoint = endpoint(&runtime);
    runtime.block_on(async {
        let connection = connect(&endpoint, node.listening()).await;
        let (mut send, mut receive) = connection.open_bi().await.unwrap();
        send.write_all(&hello()).await.unwrap();
        let link = node.log.up().link;
        // Its usable datagram is what our advertisement allows it: more than the 1434 between two of its kind.
        assert!(connection.max_datagram_size().unwrap() >= 1434);
        connection.send_datagram(data(1, 1394).into()).unwrap();
        connection.send_datagram(hello().into()).unwrap();
        send.write_all(&data(2, 5000)).await.unwrap();
        node.log.packets(link, 4);

        // What we send it is within its own limit, however large the packet.
        tokio::time::sleep(Duration::from_millis(200)).await;
        node.sink
            .push(link, [data(3, 1000), data(4, 1400), data(5, 9000)].concat());
        let first = connection.read_datagram().await.unwrap();
        assert_eq!(number(&first), 3);
        let mut rest = vec![0; 40 * 2 + 1400 + 9000];
        receive.read_exact(&mut rest).await.unwrap();
        assert_eq!(rest, [data(4, 1400), data(5, 9000)].concat());
        connection.close(VarInt::from_u32(0), b"");
        assert_eq!(node.log.down(link), "closed by the peer");
    });
}

#[test]
fn a_stock_listener_is_dialled() {
    let (node, runtime) = (Node::new(&[]), runtime());
    let endpoint = endpoint(&runtime);
    node.sink.dial(4, endpoint.local_addr().unwrap(), 5.0);
    runtime.block_on(async {
        let incoming = endpoint.accept().await.unwrap();
        let connection = incoming.await.unwrap();
        let link = node.log.up().link;
        node.sink.push_control(link, hello());
        let (mut send, mut receive) = connection.accept_bi().await.unwrap();
        let mut first = vec![0; hello().len()];
        receive.read_exact(&mut first).await.unwrap();
        assert_eq!(first, hello());
        send.write_all(&hello()).await.unwrap();
        node.log.packets(link, 1);
        // A full packet of a 1360-byte TUN fits a datagram once the path is known.
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            node.sink.push(link, data(1, 1392));
            let datagram = tokio::time::timeout(Duration::from_millis(100), connection.read_datagram()).await;
            if datagram.is_ok() {
                break;
            }
            assert!(Instant::now() < deadline, "the path's packet size was not found");
        }
    });
}

#[test]
fn garbage_in_datagrams_is_counted_and_garbage_on_the_stream_ends_the_link() {
    let (node, runtime) = (Node::new(&[v4()]), runtime());
    let endpoint = endpoint(&runtime);
    runtime.block_on(async {
        let connection = connect(&endpoint, node.listening()).await;
        let (mut send, _receive) = connection.open_bi().await.unwrap();
        send.write_all(&hello()).await.unwrap();
        let link = node.log.up().link;
        let truncated = data(1, 100).split_off(1);
        let trailing = [hello(), vec![0]].concat();
        let short = data(1, 100)[..90].to_vec();
        for bad in [vec![], vec![9; 50], truncated, trailing, short] {
            connection.send_datagram(bad.into()).unwrap();
        }
        connection.send_datagram(data(7, 10).into()).unwrap();
        assert_eq!(node.log.packets(link, 2)[1], data(7, 10));
        assert_eq!(node.counter("drop.quic_datagram"), 5);

        // Streams besides the first are none of our business.
        let (mut other, _unused) = connection.open_bi().await.unwrap();
        other.write_all(&[9; 100]).await.unwrap();
        send.write_all(&hello()).await.unwrap();
        node.log.packets(link, 3);

        send.write_all(&[9; 100]).await.unwrap();
        assert!(node.log.down(link).starts_with("unreadable stream"));
        connection.closed().await;
    });
}

#[test]
fn a_dialler_without_a_stream_is_sent_away() {
    let (node, runtime) = (Node::new(&[v4()]), runtime());
    let endpoint = endpoint(&runtime);
    runtime.block_on(async {
        let connection = connect(&endpoint, node.listening()).await;
        let start = Instant::now();
        connection.closed().await;
        let waited = start.elapsed();
        assert!(
            waited > Duration::from_secs(9) && waited < Duration::from_secs(13),
            "{waited:?}"
        );
    });
    assert!(node.sink.links().is_empty());
}

#[test]
fn a_crowd_is_asked_to_prove_its_addresses_and_then_refused() {
    let (node, runtime) = (Node::new(&[v4()]), runtime());
    let endpoint = endpoint(&runtime);
    runtime.block_on(async {
        // None of them opens its stream, so all stay in the handshake.
        let mut inside = Vec::new();
        for _ in 0..config::HANDSHAKES + 3 {
            inside.extend(endpoint.connect(node.listening(), "anything").unwrap().await);
        }
        assert_eq!(inside.len(), config::HANDSHAKES);
        assert_eq!(node.counter("quic.refused"), 3);
        assert!(node.counter("quic.retried") >= config::HANDSHAKES as u64 / 2);
        inside
            .iter()
            .for_each(|connection| connection.close(VarInt::from_u32(0), b""));
        let deadline = Instant::now() + Duration::from_secs(5);
        while endpoint
            .connect(node.listening(), "anything")
            .unwrap()
            .await
            .is_err()
        {
            assert!(Instant::now() < deadline, "places come free");
        }
    });
}
