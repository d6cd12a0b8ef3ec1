//! What was refused of late, so that it can be explained: who wanted what, how often, and when last.

use crate::Address;
use crate::reason::DropReason;

/// What is remembered in all.
const PLACES: usize = 256;
/// What is remembered of one key, so that one that tries all ports hides no other.
const PLACES_OF_KEY: usize = 16;

/// Something that was refused, once or more.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// Whose packet it was: the key that it was sealed under.
    pub key: [u8; 32],
    /// The address that it came from, the last time.
    pub source: Address,
    /// The protocol; 0 where it isn't known, and of messages.
    pub protocol: u8,
    /// The port that it was for, or the type of ICMPv6.
    pub port: u16,
    /// Why.
    pub reason: DropReason,
    /// How often.
    pub count: u64,
    /// When first, in seconds of the caller's clock.
    pub first: f64,
    /// When last.
    pub last: f64,
}

/// The latest refusals, bounded in all and per key.
#[derive(Debug, Default)]
pub struct Refusals {
    places: Vec<Refusal>,
    /// Where the last one was: floods are of one kind.
    hint: usize,
}

impl Refusals {
    /// It happened (again): `new.count` times at `new.last`.
    pub fn add(&mut self, new: Refusal) {
        let same = |old: &Refusal| {
            (old.port, old.protocol, old.reason) == (new.port, new.protocol, new.reason) && old.key == new.key
        };
        let hinted = self.places.get(self.hint).is_some_and(same);
        let known = if hinted {
            Some(self.hint)
        } else {
            self.places.iter().position(same)
        };
        if let Some(old) = known.and_then(|at| self.places.get_mut(at)) {
            self.hint = known.unwrap_or(0);
            old.source = new.source;
            old.count += new.count;
            old.last = new.last;
            return;
        }
        let of_key = |old: &&Refusal| old.key == new.key;
        let crowd = self.places.iter().filter(of_key).count() >= PLACES_OF_KEY;
        if !crowd && self.places.len() < PLACES {
            self.hint = self.places.len();
            self.places.push(new);
            return;
        }
        let candidates = self.places.iter().enumerate();
        let oldest = candidates
            .filter(|(_, old)| !crowd || old.key == new.key)
            .min_by(|(_, one), (_, other)| one.last.total_cmp(&other.last))
            .map_or(0, |(at, _)| at);
        self.hint = oldest;
        if let Some(place) = self.places.get_mut(oldest) {
            *place = new;
        }
    }

    /// At most `limit` of them, the latest first.
    #[must_use]
    pub fn latest(&self, limit: usize) -> Vec<Refusal> {
        let mut latest = self.places.clone();
        latest.sort_by(|one, other| other.last.total_cmp(&one.last));
        latest.truncate(limit);
        latest
    }
}
