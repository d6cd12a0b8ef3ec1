//! The forwarding table: longest-prefix match over immutable snapshots.
//!
//! Python owns the truth and sends packed records; [`Builder`] applies them and makes a [`Table`], which the
//! lanes look up without any lock until they are handed the next one. Nearly every prefix of the overlay is
//! a /64, so those have a map of their own, keyed by half an address; other lengths cost nothing while there
//! are none.
//!
//! ```text
//! record, 64 bytes, big-endian:
//! op (1: 1 set, 0 remove) | length (1) | flags (1) | reserved (1) | prefix (16) | public key (32)
//! | primary link (4) | backup link (4) | reserved (4)
//! ```

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::Address;
use crate::hash::Seeded;

/// Length of a packed record.
pub const RECORD: usize = 64;

/// Flag: the node behind the prefix speaks the session suite `zosnet`.
pub const SPEAKS_SESSIONS: u8 = 1;
/// Flag: primary and backup are equally good, so flows are spread over both.
pub const SPREAD: u8 = 2;
/// Flag: the node at the other end of the primary announces the prefix as its own.
pub const ORIGINATES: u8 = 4;
/// Flag: so does the one at the other end of the backup.
pub const BACKUP_ORIGINATES: u8 = 8;

const OP_REMOVE: u8 = 0;
const OP_SET: u8 = 1;

/// Where packets for one prefix go, and under whose key they are sealed.
#[derive(Debug)]
pub struct Entry {
    /// X25519 key of the node that announced the prefix.
    pub public: [u8; 32],
    /// Link to send through; 0: the key is known, but there is no route.
    pub primary: u32,
    /// Feasible link to flip to while the primary is silent; 0: none.
    pub backup: u32,
    /// [`SPEAKS_SESSIONS`], [`SPREAD`], [`ORIGINATES`] and [`BACKUP_ORIGINATES`]. Others are ignored.
    pub flags: u8,
    /// Whether a packet used the entry since the last [`Builder::drain_used`].
    pub used: AtomicBool,
}

impl Entry {
    /// Whether the node of this entry is at the other end of `link`, so that nobody passes on what is sent there for it.
    #[inline]
    #[must_use]
    pub fn ends(&self, link: u32) -> bool {
        (link == self.primary && self.flags & ORIGINATES != 0)
            || (link == self.backup && self.flags & BACKUP_ORIGINATES != 0)
    }

    /// Note that a packet used this entry. Writes only the first time, so lanes don't fight for the line.
    #[inline]
    pub fn mark_used(&self) {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }
}

/// Why records were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FibError {
    /// Not a whole number of records. Nothing was applied.
    #[error("{0} bytes aren't a whole number of records")]
    Length(usize),
    /// The record of this index has an unknown op, a length above 128 or host bits set. Nothing was applied.
    #[error("record {0} is malformed")]
    Record(usize),
    /// The table is at its limit; all records before this index were applied.
    #[error("the table is full at record {0}")]
    Full(usize),
}

/// The entries of one prefix length other than 64.
#[derive(Debug, Clone)]
struct Level {
    length: u8,
    entries: HashMap<u128, Arc<Entry>, Seeded>,
}

/// An immutable snapshot. Lookups neither lock nor allocate.
#[derive(Debug, Clone)]
pub struct Table {
    subnets: HashMap<u64, Arc<Entry>, Seeded>,
    /// Longer than 64, longest first.
    longer: Vec<Level>,
    /// Shorter than 64, longest first.
    shorter: Vec<Level>,
}

impl Table {
    fn new(seed: Seeded) -> Self {
        Self {
            subnets: HashMap::with_hasher(seed),
            longer: Vec::new(),
            shorter: Vec::new(),
        }
    }

    /// The entry of the longest prefix that contains `address`.
    #[inline]
    #[must_use]
    pub fn lookup(&self, address: &Address) -> Option<&Arc<Entry>> {
        let word = u128::from_be_bytes(*address);
        self.longer
            .iter()
            .find_map(|level| level.entries.get(&masked(word, level.length)))
            .or_else(|| self.subnets.get(&((word >> 64) as u64)))
            .or_else(|| {
                self.shorter
                    .iter()
                    .find_map(|level| level.entries.get(&masked(word, level.length)))
            })
    }

    /// How many prefixes it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.subnets.len() + self.levels().map(|level| level.entries.len()).sum::<usize>()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn levels(&self) -> impl Iterator<Item = &Level> {
        self.longer.iter().chain(&self.shorter)
    }

    /// All entries: prefix, length, entry. In no order.
    pub fn iter(&self) -> impl Iterator<Item = (Address, u8, &Arc<Entry>)> {
        let subnets = self
            .subnets
            .iter()
            .map(|(half, entry)| (u128::from(*half) << 64, 64, entry));
        let others = self.levels().flat_map(|level| {
            level
                .entries
                .iter()
                .map(|(prefix, entry)| (*prefix, level.length, entry))
        });
        subnets
            .chain(others)
            .map(|(prefix, length, entry)| (prefix.to_be_bytes(), length, entry))
    }

    fn get(&self, prefix: u128, length: u8) -> Option<&Arc<Entry>> {
        if length == 64 {
            return self.subnets.get(&((prefix >> 64) as u64));
        }
        self.levels()
            .find(|level| level.length == length)?
            .entries
            .get(&prefix)
    }

    fn set(&mut self, prefix: u128, length: u8, entry: Arc<Entry>) {
        if length == 64 {
            self.subnets.insert((prefix >> 64) as u64, entry);
            return;
        }
        let seed = self.subnets.hasher().clone();
        let levels = if length > 64 {
            &mut self.longer
        } else {
            &mut self.shorter
        };
        let at = levels.partition_point(|level| level.length > length);
        match levels.get_mut(at) {
            Some(level) if level.length == length => {
                level.entries.insert(prefix, entry);
            }
            _ => {
                let mut entries = HashMap::with_hasher(seed);
                entries.insert(prefix, entry);
                levels.insert(at, Level { length, entries });
            }
        }
    }

    fn remove(&mut self, prefix: u128, length: u8) {
        if length == 64 {
            self.subnets.remove(&((prefix >> 64) as u64));
            return;
        }
        let levels = if length > 64 {
            &mut self.longer
        } else {
            &mut self.shorter
        };
        for level in levels.iter_mut().filter(|level| level.length == length) {
            level.entries.remove(&prefix);
        }
        levels.retain(|level| !level.entries.is_empty());
    }
}

/// `word` with its host bits cleared.
#[inline]
pub(crate) const fn masked(word: u128, length: u8) -> u128 {
    match length {
        0 => 0,
        1..=127 => word & (u128::MAX << (128 - length)),
        _ => word,
    }
}

/// One parsed record.
struct Record {
    set: bool,
    length: u8,
    flags: u8,
    prefix: u128,
    public: [u8; 32],
    primary: u32,
    backup: u32,
}

impl Record {
    fn parse(bytes: &[u8; RECORD]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<4>()?;
        let (prefix, rest) = rest.split_first_chunk::<16>()?;
        let (public, rest) = rest.split_first_chunk::<32>()?;
        let (primary, rest) = rest.split_first_chunk::<4>()?;
        let (backup, _) = rest.split_first_chunk::<4>()?;
        let [op, length, flags, _] = *head;
        let prefix = u128::from_be_bytes(*prefix);
        let set = match op {
            OP_SET => true,
            OP_REMOVE => false,
            _ => return None,
        };
        (length <= 128 && masked(prefix, length) == prefix).then_some(Self {
            set,
            length,
            flags,
            prefix,
            public: *public,
            primary: u32::from_be_bytes(*primary),
            backup: u32::from_be_bytes(*backup),
        })
    }
}

/// The master copy, from which snapshots are made. One thread owns it.
#[derive(Debug)]
pub struct Builder {
    table: Table,
    limit: usize,
}

impl Builder {
    /// An empty table of at most `limit` prefixes. `seed` must be random and secret: it keeps strangers,
    /// who choose the prefixes, from choosing hash collisions too.
    #[must_use]
    pub fn new(limit: usize, seed: u64) -> Self {
        Self {
            table: Table::new(Seeded::new(seed)),
            limit,
        }
    }

    /// Apply packed records in their order; returns how many there were. Removing what isn't there is fine.
    /// An entry that is only changed keeps its `used` flag.
    ///
    /// # Errors
    /// Malformed input changes nothing. A full table keeps what was applied up to then.
    pub fn apply(&mut self, packed: &[u8]) -> Result<usize, FibError> {
        let (records, rest) = packed.as_chunks::<RECORD>();
        if !rest.is_empty() {
            return Err(FibError::Length(packed.len()));
        }
        if let Some(at) = records.iter().position(|record| Record::parse(record).is_none()) {
            return Err(FibError::Record(at));
        }
        let mut count = self.table.len();
        for (at, record) in records.iter().filter_map(Record::parse).enumerate() {
            let old = self.table.get(record.prefix, record.length);
            if !record.set {
                count -= usize::from(old.is_some());
                self.table.remove(record.prefix, record.length);
                continue;
            }
            if old.is_none() {
                if count >= self.limit {
                    return Err(FibError::Full(at));
                }
                count += 1;
            }
            let used = old.is_some_and(|entry| entry.used.load(Ordering::Relaxed));
            let entry = Entry {
                public: record.public,
                primary: record.primary,
                backup: record.backup,
                flags: record.flags,
                used: AtomicBool::new(used),
            };
            self.table.set(record.prefix, record.length, Arc::new(entry));
        }
        Ok(records.len())
    }

    /// The table as it is now. Entries are shared with earlier snapshots, so their `used` flags live on.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Table> {
        Arc::new(self.table.clone())
    }

    /// The prefixes used since the last call, and clear their marks.
    #[must_use]
    pub fn drain_used(&mut self) -> Vec<(Address, u8)> {
        self.table
            .iter()
            .filter(|(_, _, entry)| entry.used.swap(false, Ordering::Relaxed))
            .map(|(prefix, length, _)| (prefix, length))
            .collect()
    }

    /// How many prefixes it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }
}
