//! Whom the operator lets in: an immutable snapshot, swapped whole.
//!
//! ```text
//! record, 64 bytes, big-endian:
//! list (1: 1 packets, 2 messages) | source (1: 0 anyone, 1 a key, 2 a prefix) | prefix length (1)
//! | every protocol (1) | protocol (1) | reserved (1) | number of the rule (2) | first port (2) | last port (2)
//! | reserved (4) | prefix (16) | key (32)
//! ```
//! One rule may need several records: one for each range of ports.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::fib::masked;
use crate::hash::Seeded;

/// Length of a packed record.
pub const RECORD: usize = 64;
/// Records that are taken: far above what people write.
pub const MOST_RECORDS: usize = 4096;

const LIST_PACKETS: u8 = 1;
const LIST_MESSAGES: u8 = 2;

/// Why records were refused. None of them was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    /// Not a whole number of records.
    #[error("{0} bytes aren't a whole number of records")]
    Length(usize),
    /// The record of this index says something unknown.
    #[error("record {0} is malformed")]
    Record(usize),
    /// More than [`MOST_RECORDS`].
    #[error("{0} records are too many")]
    Many(usize),
}

/// From whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Every node of the overlay.
    Anyone,
    /// The node with this key.
    Key([u8; 32]),
    /// Addresses of this prefix. The node that owns one has proven it.
    Prefix(u128, u8),
}

/// To what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Service {
    /// None: every protocol.
    pub protocol: Option<u8>,
    /// The first port.
    pub first: u16,
    /// The last one. All from 0 to 65535 includes what has no ports.
    pub last: u16,
}

impl Service {
    /// Whether it covers this; `port` is None where the protocol has none.
    #[inline]
    fn covers(&self, protocol: u8, port: Option<u16>) -> bool {
        let all = self.first == 0 && self.last == u16::MAX;
        self.protocol.is_none_or(|own| own == protocol)
            && port.map_or(all, |port| (self.first..=self.last).contains(&port))
    }
}

/// One record, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// From whom.
    pub source: Source,
    /// To what; None: messages.
    pub service: Option<Service>,
    /// The number of the rule.
    pub rule: u16,
}

impl Record {
    /// Read one record. None if it says something unknown, or contradicts itself.
    #[must_use]
    pub fn parse(bytes: &[u8; RECORD]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<16>()?;
        let (prefix, rest) = rest.split_first_chunk::<16>()?;
        let (key, _) = rest.split_first_chunk::<32>()?;
        let [
            list,
            source,
            length,
            every,
            protocol,
            _,
            r0,
            r1,
            f0,
            f1,
            l0,
            l1,
            ..,
        ] = *head;
        let prefix = u128::from_be_bytes(*prefix);
        let source = match source {
            0 => Source::Anyone,
            1 => Source::Key(*key),
            2 if length <= 128 && masked(prefix, length) == prefix => Source::Prefix(prefix, length),
            _ => return None,
        };
        let service = Service {
            protocol: (every == 0).then_some(protocol),
            first: u16::from_be_bytes([f0, f1]),
            last: u16::from_be_bytes([l0, l1]),
        };
        let service = match list {
            LIST_PACKETS if service.first <= service.last => Some(service),
            LIST_MESSAGES => None,
            _ => return None,
        };
        Some(Self {
            source,
            service,
            rule: u16::from_be_bytes([r0, r1]),
        })
    }
}

/// What one source may reach.
#[derive(Debug, Default, Clone)]
struct Grants {
    services: Vec<(Service, u16)>,
    /// The first rule that lets its messages in.
    messages: Option<u16>,
}

impl Grants {
    fn add(&mut self, record: &Record) {
        match record.service {
            Some(service) => self.services.push((service, record.rule)),
            None => self.messages = Some(self.messages.map_or(record.rule, |first| first.min(record.rule))),
        }
    }

    fn rule(&self, wanted: Option<(u8, Option<u16>)>) -> Option<u16> {
        let Some((protocol, port)) = wanted else {
            return self.messages;
        };
        let services = self.services.iter();
        let covering = services.filter(|(service, _)| service.covers(protocol, port));
        covering.map(|(_, rule)| *rule).min()
    }
}

/// The snapshot. What it lets in, it lets in whatever the order of the rules; that only tells which one counts.
#[derive(Debug)]
pub struct Rules {
    anyone: Grants,
    keys: HashMap<[u8; 32], Grants, Seeded>,
    /// By length.
    prefixes: Vec<(u8, HashMap<u128, Grants, Seeded>)>,
    hits: Vec<AtomicU64>,
}

impl Rules {
    /// Nobody.
    #[must_use]
    pub fn none() -> Self {
        Self {
            anyone: Grants::default(),
            keys: HashMap::with_hasher(Seeded::new(0)),
            prefixes: Vec::new(),
            hits: Vec::new(),
        }
    }

    /// Read packed records. `seed` is secret.
    ///
    /// # Errors
    /// Nothing is taken of records one of which is malformed, or that are too many.
    pub fn parse(packed: &[u8], seed: u64) -> Result<Self, RulesError> {
        let (records, rest) = packed.as_chunks::<RECORD>();
        if !rest.is_empty() {
            return Err(RulesError::Length(packed.len()));
        }
        if records.len() > MOST_RECORDS {
            return Err(RulesError::Many(records.len()));
        }
        let seed = Seeded::new(seed);
        let mut rules = Self::none();
        rules.keys = HashMap::with_hasher(seed.clone());
        for (at, bytes) in records.iter().enumerate() {
            let record = Record::parse(bytes).ok_or(RulesError::Record(at))?;
            rules.grants(record.source, &seed).add(&record);
            let count = rules.hits.len().max(usize::from(record.rule) + 1);
            rules.hits.resize_with(count, AtomicU64::default);
        }
        Ok(rules)
    }

    fn grants(&mut self, source: Source, seed: &Seeded) -> &mut Grants {
        match source {
            Source::Anyone => &mut self.anyone,
            Source::Key(key) => self.keys.entry(key).or_default(),
            Source::Prefix(prefix, length) => {
                let at = match self.prefixes.iter().position(|level| level.0 == length) {
                    Some(at) => at,
                    None => {
                        self.prefixes.push((length, HashMap::with_hasher(seed.clone())));
                        self.prefixes.len() - 1
                    }
                };
                // It was just found, or put there.
                match self.prefixes.get_mut(at) {
                    Some(level) => level.1.entry(prefix).or_default(),
                    None => &mut self.anyone,
                }
            }
        }
    }

    /// The first rule that lets this in; `wanted` is protocol and port, or None for a message.
    #[must_use]
    pub fn admit(&self, key: &[u8; 32], source: u128, wanted: Option<(u8, Option<u16>)>) -> Option<u16> {
        let levels = self.prefixes.iter();
        let by_prefix = levels.filter_map(|(length, level)| level.get(&masked(source, *length)));
        let grants = [Some(&self.anyone), self.keys.get(key)].into_iter().flatten();
        grants
            .chain(by_prefix)
            .filter_map(|grants| grants.rule(wanted))
            .min()
    }

    /// Count what a rule has let in.
    pub fn hit(&self, rule: u16) {
        if let Some(hits) = self.hits.get(usize::from(rule)) {
            hits.fetch_add(1, Relaxed);
        }
    }

    /// How often each rule has let in something new, by its number.
    #[must_use]
    pub fn hits(&self) -> Vec<u64> {
        self.hits.iter().map(|hits| hits.load(Relaxed)).collect()
    }
}
