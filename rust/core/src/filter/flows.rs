//! The table of live flows: shared between lanes, in shards, bounded in all and per remote node.
//!
//! A lane looks first in its own [`Recent`], without any lock. Flows that have run out are swept when others
//! come; in a full table the one goes that would run out first, of a few, and one that a rule let in before all
//! that this host began: the rule knows it again.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::flow::{Flow, FlowKey, INWARD};
use crate::hash::Seeded;

/// Shards: with a handful of lanes two seldom meet in one.
const SHARDS: usize = 16;
/// Flows that are looked at to find one that can go.
const SAMPLE: usize = 16;
/// The same while one of a certain node is looked for, which has many of them.
const SAMPLE_OF_NODE: usize = 128;
/// Flows that are looked at whenever one is added: the table shrinks while it is used.
const SWEEP: usize = 2;
/// Flows that a lane finds without a lock.
const SLOTS: usize = 256;

/// How much may be remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Flows in all: one costs some 220 bytes.
    pub flows: usize,
    /// Flows with one node, so that none takes the place of all others.
    pub per_node: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            flows: 1 << 16,
            per_node: 1 << 14,
        }
    }
}

/// What the table has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// Flows remembered now, some of which may have run out.
    pub flows: u64,
    /// Flows that made room for others while they lived.
    pub evicted: u64,
    /// Flows not remembered, as their node has too many.
    pub unremembered: u64,
}

/// The flows that one lane has met of late.
#[derive(Debug)]
pub struct Recent(Vec<Option<(FlowKey, Arc<Flow>)>>);

impl Default for Recent {
    fn default() -> Self {
        Self(vec![const { None }; SLOTS])
    }
}

impl Recent {
    #[inline]
    fn slot(&mut self, hash: u64) -> Option<&mut Option<(FlowKey, Arc<Flow>)>> {
        self.0.get_mut(hash as usize % SLOTS)
    }
}

#[derive(Debug)]
struct Shard {
    flows: HashMap<FlowKey, Arc<Flow>, Seeded>,
    /// All keys, in the order in which they are looked at.
    hand: VecDeque<FlowKey>,
    /// How many flows each node has.
    nodes: HashMap<u64, usize, Seeded>,
}

/// The table.
#[derive(Debug)]
pub struct Flows {
    shards: Vec<Mutex<Shard>>,
    seed: Seeded,
    limits: Limits,
    evicted: AtomicU64,
    unremembered: AtomicU64,
}

impl Flows {
    /// An empty table. `seed` must be secret: remote nodes choose addresses and ports.
    #[must_use]
    pub fn new(limits: Limits, seed: u64) -> Self {
        let seed = Seeded::new(seed);
        let shard = || {
            Mutex::new(Shard {
                flows: HashMap::with_hasher(seed.clone()),
                hand: VecDeque::new(),
                nodes: HashMap::with_hasher(seed.clone()),
            })
        };
        Self {
            shards: (0..SHARDS).map(|_| shard()).collect(),
            seed,
            limits: Limits {
                flows: limits.flows.div_ceil(SHARDS),
                per_node: limits.per_node.div_ceil(SHARDS),
            },
            evicted: AtomicU64::new(0),
            unremembered: AtomicU64::new(0),
        }
    }

    fn shard(&self, hash: u64) -> Option<MutexGuard<'_, Shard>> {
        let shard = self.shards.get((hash >> 32) as usize % SHARDS)?;
        // Whole at any moment: a panic elsewhere doesn't spoil it.
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The live flow of `key`.
    #[inline]
    pub fn find<'r>(&self, recent: &'r mut Recent, key: &FlowKey, now: u32) -> Option<&'r Flow> {
        let hash = self.seed.hash_one(key);
        let slot = recent.slot(hash)?;
        let known = matches!(slot, Some((held, flow)) if held == key && flow.is_live(key, now));
        if !known {
            let flow = Arc::clone(self.shard(hash)?.flows.get(key)?);
            if !flow.is_live(key, now) {
                return None;
            }
            *slot = Some((*key, flow));
        }
        slot.as_ref().map(|(_, flow)| &**flow)
    }

    /// Remember a flow that begins now; one that was there begins anew.
    pub fn begin(&self, recent: &mut Recent, key: &FlowKey, bits: u32, generation: u32, now: u32) {
        let hash = self.seed.hash_one(key);
        let Some(mut shard) = self.shard(hash) else { return };
        let flow = match shard.flows.get(key) {
            Some(flow) => {
                flow.restart(bits, generation, now);
                Arc::clone(flow)
            }
            None => {
                let (room, evicted) = shard.make_room(&self.limits, key.node(), now);
                self.evicted.fetch_add(evicted, Relaxed);
                if !room {
                    self.unremembered.fetch_add(1, Relaxed);
                    return;
                }
                let flow = Arc::new(Flow::new(bits, generation, now));
                shard.insert(*key, Arc::clone(&flow));
                flow
            }
        };
        drop(shard);
        if let Some(slot) = recent.slot(hash) {
            *slot = Some((*key, flow));
        }
    }

    /// A packet that this node sent: its flow lives, and gets these bits. `anew`: it starts a connection.
    #[inline]
    pub fn sent(&self, recent: &mut Recent, key: &FlowKey, bits: u32, anew: bool, now: u32) {
        match self.find(recent, key, now) {
            Some(flow) if !anew => flow.see(bits, now),
            _ => self.begin(recent, key, bits & !INWARD, 0, now),
        }
    }

    /// What it has come to.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let count = |shard: &Mutex<Shard>| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.flows.len() as u64
        };
        Figures {
            flows: self.shards.iter().map(count).sum(),
            evicted: self.evicted.load(Relaxed),
            unremembered: self.unremembered.load(Relaxed),
        }
    }
}

impl Shard {
    fn insert(&mut self, key: FlowKey, flow: Arc<Flow>) {
        *self.nodes.entry(key.node()).or_insert(0) += 1;
        self.hand.push_back(key);
        self.flows.insert(key, flow);
    }

    /// Remove what is no longer in the hand.
    fn remove(&mut self, key: &FlowKey) {
        if let Some(flow) = self.flows.remove(key) {
            flow.forget();
        }
        if let Some(count) = self.nodes.get_mut(&key.node()) {
            *count -= 1;
            if *count == 0 {
                self.nodes.remove(&key.node());
            }
        }
    }

    /// Make sure that a flow with `node` may be added: whether it may, and how many had to go that lived.
    fn make_room(&mut self, limits: &Limits, node: u64, now: u32) -> (bool, u64) {
        self.sweep(SWEEP, now);
        if self
            .nodes
            .get(&node)
            .is_some_and(|count| *count >= limits.per_node)
        {
            let evicted = self.evict(SAMPLE_OF_NODE, Some(node), now);
            return (evicted.is_some(), evicted.unwrap_or(0));
        }
        if self.flows.len() < limits.flows {
            return (true, 0);
        }
        (true, self.evict(SAMPLE, None, now).unwrap_or(0))
    }

    /// Look at the next few, and drop those that have run out.
    fn sweep(&mut self, count: usize, now: u32) {
        for _ in 0..count.min(self.hand.len()) {
            let Some(key) = self.hand.pop_front() else { return };
            if self.flows.get(&key).is_some_and(|flow| flow.is_live(&key, now)) {
                self.hand.push_back(key);
            } else {
                self.remove(&key);
            }
        }
    }

    /// Of the next few, those of `node` if one is named, drop the one that is missed least. How many lived of those
    /// that went; None when none could go.
    fn evict(&mut self, count: usize, node: Option<u64>, now: u32) -> Option<u64> {
        let mut victim: Option<((bool, u32), FlowKey)> = None;
        for _ in 0..count.min(self.hand.len()) {
            let key = self.hand.pop_front()?;
            let flow = self.flows.get(&key);
            let worth = flow.map_or((false, 0), |flow| flow.worth(&key));
            let eligible = node.is_none_or(|node| node == key.node());
            if !eligible || victim.is_some_and(|(least, _)| least <= worth) {
                self.hand.push_back(key);
            } else if let Some((_, spared)) = victim.replace((worth, key)) {
                self.hand.push_back(spared);
            }
        }
        let ((_, deadline), key) = victim?;
        self.remove(&key);
        Some(u64::from(deadline >= now))
    }
}
