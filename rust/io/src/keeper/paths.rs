//! What frames the paths to nodes behind relays carry: one small machine for each, driven here.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use zosnet_core::path::PathMtu;
use zosnet_core::session::{EntryKind, OVERHEAD};

use crate::shared::{Shared, ToLane};

/// Paths watched at once; the one that was asked longest ago makes room.
const PATHS: usize = 4096;
/// A path is asked at most so often because it changed: flows that are spread change it with every packet.
const ASK_AGAIN: f64 = 1.0;
/// The round trip before any was measured.
const FIRST_RTT: f64 = 0.1;
/// Entry header, its kind, number and size in front of the padding of a probe.
const PROBE_HEADER: usize = 2 + 1 + 4;

struct Path {
    mtu: PathMtu,
    rtt: f64,
    asked: f64,
    /// When the last probes left.
    sent: f64,
}

/// See the module.
pub struct Paths {
    shared: Arc<Shared>,
    paths: HashMap<[u8; 32], Path>,
}

impl Paths {
    /// None yet.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            paths: HashMap::new(),
        }
    }

    /// The path to the node of `key` is new or changed, or nothing comes back over it.
    pub fn suspect(&mut self, key: &[u8; 32], now: f64) {
        if !self.paths.contains_key(key) && self.paths.len() >= PATHS {
            let oldest = self.paths.iter().min_by(|a, b| a.1.asked.total_cmp(&b.1.asked));
            if let Some(key) = oldest.map(|(key, _)| *key) {
                self.paths.remove(&key);
            }
        }
        let path = self.paths.entry(*key).or_insert_with(|| Path {
            mtu: PathMtu::default(),
            rtt: FIRST_RTT,
            asked: f64::NEG_INFINITY,
            sent: now,
        });
        if now - path.asked >= ASK_AGAIN {
            path.asked = now;
            path.mtu.suspect(now, path.rtt);
            self.probe(key, now);
        }
    }

    /// The node of `key` answered a probe.
    pub fn answered(&mut self, key: &[u8; 32], answer: &[u8], now: f64) {
        let (Some(path), Some(number)) = (self.paths.get_mut(key), answer.first_chunk::<4>()) else {
            return;
        };
        path.rtt = (now - path.sent).clamp(0.0, 2.0);
        if path.mtu.answered(u32::from_be_bytes(*number), now) {
            self.publish(key);
        }
    }

    /// When [`Self::wake`] is wanted.
    pub fn deadline(&self) -> Option<f64> {
        self.paths
            .values()
            .filter_map(|path| path.mtu.deadline())
            .min_by(f64::total_cmp)
    }

    /// Do what is due.
    pub fn wake(&mut self, now: f64) {
        let due: Vec<_> = self
            .paths
            .iter()
            .filter(|(_, path)| path.mtu.deadline().is_some_and(|at| at <= now))
            .map(|(key, _)| *key)
            .collect();
        for key in due {
            if let Some(path) = self.paths.get_mut(&key)
                && path.mtu.wake(now, path.rtt)
            {
                self.publish(&key);
            }
            self.probe(&key, now);
        }
    }

    fn publish(&self, key: &[u8; 32]) {
        if let Some(path) = self.paths.get(key) {
            let frame = path.mtu.longest() as u32;
            self.shared.peers.of(key).path_frame.store(frame, Relaxed);
        }
    }

    fn probe(&mut self, key: &[u8; 32], now: f64) {
        let Some(path) = self.paths.get_mut(key) else {
            return;
        };
        for probe in path.mtu.probes() {
            path.sent = now;
            let padding = probe
                .frame
                .map_or(0, |frame| frame.saturating_sub(OVERHEAD + PROBE_HEADER));
            let mut body = probe.number.to_be_bytes().to_vec();
            body.resize(body.len() + padding, 0);
            let _ = self
                .shared
                .post(0, ToLane::Entry(*key, EntryKind::PathProbe, body));
        }
    }
}
