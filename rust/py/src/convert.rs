//! Values and errors of the data plane as Python has them.

use std::io;

use pyo3::exceptions::{PyMemoryError, PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};
use zosnet_core::fib::FibError;
use zosnet_core::filter::refusals::Refusal;
use zosnet_core::filter::rules::RulesError;
use zosnet_io::events::Event;
use zosnet_io::handoff::{LinkInfo, SessionInfo, host};
use zosnet_io::node::StartError;
use zosnet_io::sys::reason;

/// `bytes` as an array, or a ValueError that names the argument.
pub fn array<const N: usize>(bytes: &[u8], name: &str) -> PyResult<[u8; N]> {
    bytes
        .try_into()
        .map_err(|_| PyValueError::new_err(format!("{name} must have {N} bytes, not {}", bytes.len())))
}

/// OSError with errno, whose subclass Python picks by it: FileNotFoundError, PermissionError and so on.
fn os_error(what: &str, error: &io::Error) -> PyErr {
    let text = format!("{what}{}", reason(error));
    match error.raw_os_error() {
        Some(errno) => PyOSError::new_err((errno, text)),
        None => PyOSError::new_err(text),
    }
}

/// Why the data plane didn't start.
pub fn start_error(error: StartError) -> PyErr {
    match error {
        StartError::Secret => PyValueError::new_err("the secret is not a usable X25519 key"),
        StartError::Tun(error) => os_error("TUN device: ", &error),
        StartError::Tcp(error) => os_error("TCP listener: ", &error),
        StartError::Quic(error) => os_error("QUIC listener: ", &error),
        StartError::Udp(error) => os_error("UDP port: ", &error),
        StartError::System(error) => os_error("", &error),
    }
}

/// Why route records were refused.
pub fn fib_error(error: FibError) -> PyErr {
    match error {
        FibError::Length(_) | FibError::Record(_) => PyValueError::new_err(error.to_string()),
        FibError::Full(_) => PyMemoryError::new_err(error.to_string()),
    }
}

/// Why rules were refused.
pub fn rules_error(error: RulesError) -> PyErr {
    match error {
        RulesError::Length(_) | RulesError::Record(_) | RulesError::Many(_) => {
            PyValueError::new_err(error.to_string())
        }
    }
}

/// A refusal as a dict.
pub fn refusal_dict(py: Python<'_>, refusal: Refusal) -> PyResult<Bound<'_, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("key", PyBytes::new(py, &refusal.key))?;
    dict.set_item("source", PyBytes::new(py, &refusal.source))?;
    dict.set_item("protocol", refusal.protocol)?;
    dict.set_item("port", refusal.port)?;
    dict.set_item("reason", refusal.reason.as_str())?;
    dict.set_item("count", refusal.count)?;
    dict.set_item("first", refusal.first)?;
    dict.set_item("last", refusal.last)?;
    Ok(dict)
}

/// An event as a tuple, its kind first.
pub fn event_tuple(py: Python<'_>, event: Event) -> PyResult<Bound<'_, PyTuple>> {
    match event {
        Event::Control {
            link,
            packet,
            at,
            rtt,
        } => ("control", link.up.link, PyBytes::new(py, &packet), at, rtt).into_pyobject(py),
        Event::LinkUp(up, at) => {
            let (local, remote) = (up.local.to_string(), host(up.remote));
            (
                "link_up",
                up.link,
                up.token,
                up.proto,
                local,
                remote,
                up.remote.port(),
                at,
                up.key.map(|key| PyBytes::new(py, &key)),
            )
                .into_pyobject(py)
        }
        Event::DialFailed(token, errno, reason) => ("dial_failed", token, errno, reason).into_pyobject(py),
        Event::LinkDown(link, reason, at) => ("link_down", link, reason, at).into_pyobject(py),
        Event::Stalled(link, stalled, at) => {
            (if stalled { "stalled" } else { "resumed" }, link, at).into_pyobject(py)
        }
        Event::Busy(link, busy, at) => (if busy { "busy" } else { "idle" }, link, at).into_pyobject(py),
        Event::NeedRoute(destination, for_others) => {
            ("need_route", PyBytes::new(py, &destination), for_others).into_pyobject(py)
        }
        Event::Message {
            source,
            destination,
            key,
            body,
        } => {
            let bytes = |bytes: &[u8]| PyBytes::new(py, bytes);
            (
                "message",
                bytes(&source),
                bytes(&destination),
                bytes(&key),
                bytes(&body),
            )
                .into_pyobject(py)
        }
        Event::Measured(link, rtt, loss, at) => ("measured", link, rtt, loss, at).into_pyobject(py),
        Event::Pinned(key, at) => ("pinned", PyBytes::new(py, &key), at).into_pyobject(py),
        Event::Downgraded(key, at) => ("downgraded", PyBytes::new(py, &key), at).into_pyobject(py),
        Event::Probe(packet, at) => ("probe", PyBytes::new(py, &packet), at).into_pyobject(py),
        Event::Failed(text) => ("failed", text).into_pyobject(py),
    }
}

/// Figures of a link as a dict.
pub fn link_dict(py: Python<'_>, info: LinkInfo) -> PyResult<Bound<'_, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("id", info.up.link)?;
    dict.set_item("proto", info.up.proto)?;
    dict.set_item("local", info.up.local.to_string())?;
    dict.set_item("remote", info.up.remote.to_string())?;
    dict.set_item("tx_bytes", info.tx_bytes)?;
    dict.set_item("rx_bytes", info.rx_bytes)?;
    dict.set_item("tx_packets", info.tx_packets)?;
    dict.set_item("rx_packets", info.rx_packets)?;
    dict.set_item("queued_bytes", info.queued_bytes)?;
    dict.set_item("dropped", info.dropped)?;
    dict.set_item("rtt", info.rtt)?;
    dict.set_item("stalled", info.stalled)?;
    dict.set_item("busy", info.busy)?;
    dict.set_item("since", info.since)?;
    dict.set_item("loss", info.loss)?;
    dict.set_item("max_datagram", info.max_datagram)?;
    dict.set_item("key", info.up.key.map(|key| PyBytes::new(py, &key)))?;
    Ok(dict)
}

/// One session as a dict.
pub fn session_dict<'py>(py: Python<'py>, info: &SessionInfo) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("key", PyBytes::new(py, &info.key))?;
    dict.set_item("suite", "zosnet")?;
    dict.set_item("cipher", info.cipher)?;
    dict.set_item("state", info.state)?;
    dict.set_item("via", info.via)?;
    dict.set_item("age", info.age)?;
    dict.set_item("tx_frames", info.tx_frames)?;
    dict.set_item("rx_frames", info.rx_frames)?;
    dict.set_item("max_frame", info.max_frame)?;
    Ok(dict)
}
