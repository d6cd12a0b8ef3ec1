//! The Python binding `zosnet._core`: translation only.

mod convert;

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict, PyTuple};
use zosnet_core::{ed25519, tree};
use zosnet_io::node::{Config, Node, Secret, Transport};

use convert::{
    array, event_tuple, fib_error, link_dict, refusal_dict, rules_error, session_dict, start_error,
};

/// The packet path of a node. Thread-safe; no call here ever waits for the network, but `close`.
#[pyclass(frozen, module = "zosnet._core")]
struct Core(Node);

/// Run `work` without the interpreter lock. No panic crosses into Python.
fn detached<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> PyResult<T> {
    py.detach(|| catch_unwind(AssertUnwindSafe(work)))
        .map_err(|_| PyRuntimeError::new_err("the data plane failed"))
}

fn socket_address(ip: &str, port: u16, scope: u32) -> PyResult<SocketAddr> {
    match ip.parse() {
        Ok(IpAddr::V6(v6)) => Ok(SocketAddrV6::new(v6, port, 0, scope).into()),
        Ok(v4) => Ok(SocketAddr::new(v4, port)),
        Err(_) => Err(PyValueError::new_err(format!("{ip:?} is not an IP address"))),
    }
}

fn addresses(listed: Vec<(String, u16)>) -> PyResult<Vec<SocketAddr>> {
    listed
        .into_iter()
        .map(|(ip, port)| socket_address(&ip, port, 0))
        .collect()
}

fn key_list(listed: &[Vec<u8>]) -> PyResult<Vec<[u8; 32]>> {
    listed.iter().map(|key| array(key, "key")).collect()
}

fn secret_of(bytes: &[u8]) -> PyResult<Secret> {
    let length = bytes.len();
    Secret::copied(bytes)
        .ok_or_else(|| PyValueError::new_err(format!("secret must have 32 bytes, not {length}")))
}

#[pymethods]
impl Core {
    #[new]
    #[pyo3(signature = (*, secret, address, tun_name, tun_mtu, tcp_listen, quic_listen, udp_listen, session_suite,
                        repair, pins, max_link_mtu, lanes, firewall_mark, router_id_text, events_limit))]
    #[expect(clippy::too_many_arguments, reason = "all by keyword")]
    fn new(
        py: Python<'_>,
        secret: &[u8],
        address: &[u8],
        tun_name: Option<String>,
        tun_mtu: u32,
        tcp_listen: Vec<(String, u16)>,
        quic_listen: Vec<(String, u16)>,
        udp_listen: Vec<(String, u16)>,
        session_suite: bool,
        repair: bool,
        pins: Vec<Vec<u8>>,
        max_link_mtu: u16,
        lanes: usize,
        firewall_mark: u32,
        router_id_text: String,
        events_limit: usize,
    ) -> PyResult<Self> {
        let config = Config {
            secret: secret_of(secret)?,
            address: array(address, "address")?,
            tun_name,
            tun_mtu,
            tcp_listen: addresses(tcp_listen)?,
            quic_listen: addresses(quic_listen)?,
            udp_listen: match addresses(udp_listen)?.as_slice() {
                [] => None,
                [one] => Some(*one),
                _ => return Err(PyValueError::new_err("datagram links have one port")),
            },
            max_packet: max_link_mtu,
            session_suite,
            repair,
            pins: key_list(&pins)?,
            lanes,
            firewall_mark,
            router_id_text,
            events_limit,
        };
        detached(py, || Node::start(config))?
            .map(Self)
            .map_err(start_error)
    }

    #[getter]
    fn fd(&self) -> RawFd {
        self.0.fd()
    }

    #[getter]
    fn tun_name(&self) -> Option<&str> {
        self.0.tun_name()
    }

    #[getter]
    fn listening(&self) -> Vec<(&'static str, String, u16)> {
        let named = ["tcp", "quic", "udp"].into_iter().zip(self.0.listening());
        named
            .flat_map(|(name, all)| all.iter().map(move |at| (name, at)))
            .map(|(proto, at)| (proto, at.ip().to_string(), at.port()))
            .collect()
    }

    #[pyo3(signature = (limit = 1024))]
    fn drain_events<'py>(&self, py: Python<'py>, limit: usize) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        let events = detached(py, || self.0.drain_events(limit))?;
        events.into_iter().map(|event| event_tuple(py, event)).collect()
    }

    #[pyo3(signature = (token, proto, ip, port, scope, timeout, key = None))]
    #[expect(
        clippy::too_many_arguments,
        reason = "the eight parts of an endpoint and its dial"
    )]
    fn dial(
        &self,
        py: Python<'_>,
        token: i64,
        proto: &str,
        ip: &str,
        port: u16,
        scope: u32,
        timeout: f64,
        key: Option<&[u8]>,
    ) -> PyResult<()> {
        let transport = match proto {
            "tcp" => Transport::Tcp,
            "quic" => Transport::Quic,
            "udp" => Transport::Udp(key.map(|key| array(key, "key")).transpose()?),
            _ => return Err(PyValueError::new_err(format!("no transport is called {proto:?}"))),
        };
        if !timeout.is_finite() || timeout <= 0.0 {
            return Err(PyValueError::new_err(
                "the timeout must be a positive number of seconds",
            ));
        }
        let remote = socket_address(ip, port, scope)?;
        detached(py, || self.0.dial(token, transport, remote, timeout))
    }

    fn renew_session(&self, py: Python<'_>, key: &[u8]) -> PyResult<()> {
        let key = array(key, "key")?;
        detached(py, || self.0.renew_session(key))
    }

    fn forget_pin(&self, py: Python<'_>, key: &[u8]) -> PyResult<bool> {
        let key = array(key, "key")?;
        detached(py, || self.0.forget_pin(key))
    }

    #[pyo3(signature = (keys))]
    fn replace_allowed_links(&self, py: Python<'_>, keys: Option<Vec<Vec<u8>>>) -> PyResult<()> {
        let allowed = keys.map(|keys| key_list(&keys)).transpose()?;
        detached(py, || self.0.allow_links(allowed))
    }

    fn sessions<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let sessions = detached(py, || self.0.sessions())?;
        sessions.into_iter().map(|info| session_dict(py, &info)).collect()
    }

    fn close_link(&self, py: Python<'_>, link: u32) -> PyResult<()> {
        detached(py, || self.0.close_link(link))
    }

    fn send_control(&self, py: Python<'_>, batch: Vec<(u32, Vec<u8>)>) -> PyResult<()> {
        detached(py, || self.0.send_control(batch))
    }

    fn apply_routes(&self, py: Python<'_>, packed: &[u8]) -> PyResult<()> {
        detached(py, || self.0.apply_routes(packed))?
            .map(drop)
            .map_err(fib_error)
    }

    fn used_routes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &detached(py, || self.0.used_routes())?))
    }

    fn replace_filter(&self, py: Python<'_>, open: bool, packed: &[u8]) -> PyResult<()> {
        detached(py, || self.0.replace_filter(open, packed))?.map_err(rules_error)
    }

    fn rule_hits(&self, py: Python<'_>) -> PyResult<Vec<u64>> {
        detached(py, || self.0.rule_hits())
    }

    #[pyo3(signature = (limit = 256))]
    fn refusals<'py>(&self, py: Python<'py>, limit: usize) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let refusals = detached(py, || self.0.refusals(limit))?;
        refusals
            .into_iter()
            .map(|refusal| refusal_dict(py, refusal))
            .collect()
    }

    fn send_message(&self, py: Python<'_>, destination: &[u8], body: &[u8]) -> PyResult<()> {
        let destination = array(destination, "destination")?;
        detached(py, || self.0.send_message(destination, body.to_vec()))
    }

    fn inject(&self, py: Python<'_>, packet: &[u8]) -> PyResult<()> {
        detached(py, || self.0.inject(packet.to_vec()))
    }

    fn watch_probe(&self, py: Python<'_>, magic: &[u8]) -> PyResult<()> {
        let magic = array(magic, "magic")?;
        detached(py, || self.0.watch_probe(magic))
    }

    fn links<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let links = detached(py, || self.0.links())?;
        links.into_iter().map(|info| link_dict(py, info)).collect()
    }

    fn counters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for (name, total) in detached(py, || self.0.counters())? {
            dict.set_item(name, total)?;
        }
        Ok(dict)
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        detached(py, || self.0.close())
    }
}

/// Judge Ed25519 signatures, each a key, a message and a signature, by the ledger's rule.
#[pyfunction]
fn verify_signatures(
    py: Python<'_>,
    batch: Vec<(PyBackedBytes, PyBackedBytes, PyBackedBytes)>,
) -> PyResult<Vec<bool>> {
    detached(py, || {
        batch
            .iter()
            .map(|(key, message, signature)| ed25519::verify(key, message, signature))
            .collect()
    })
}

/// Whether these bytes may be an Ed25519 key, by the ledger's rule.
#[pyfunction]
fn is_point(key: &[u8]) -> bool {
    ed25519::is_point(key)
}

/// Put subtrees into a page of the ledger's tree: its new bytes, and the subtree above it.
#[pyfunction]
fn fold_page<'py>(
    py: Python<'py>,
    page: &[u8],
    changes: Vec<(usize, PyBackedBytes)>,
) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
    // A few microseconds: giving the interpreter away for them would cost more.
    let (page, top) = tree::fold(page, &changes).map_err(|error| PyValueError::new_err(error.to_string()))?;
    Ok((PyBytes::new(py, &page), PyBytes::new(py, &top)))
}

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(fold_page, module)?)?;
    module.add_function(wrap_pyfunction!(is_point, module)?)?;
    module.add_function(wrap_pyfunction!(verify_signatures, module)?)?;
    module.add_class::<Core>()
}
