//! The session of each key, made when its first packet comes; and the nonces.

use std::collections::HashMap;
use std::sync::Arc;

use zosnet_core::fib::Entry;
use zosnet_core::suite::{NONCE, Nonces, Session, SuiteError};

use crate::shared::Shared;
use crate::sys;

/// Sessions of one generation; two are kept. One costs some 600 bytes, making one some 30 us.
const GENERATION: usize = 8192;
/// Sessions found again by table entry alone, without hashing a key.
const SLOTS: usize = 256;

/// Sessions of one lane.
pub struct Sessions {
    shared: Arc<Shared>,
    nonces: Nonces,
    /// By address of the entry. The entry is held, so that no other can have its address.
    slots: Vec<Option<(Arc<Entry>, Arc<Session>)>>,
    young: HashMap<[u8; 32], Arc<Session>>,
    /// What was young one generation ago: forgotten, unless used again before the next one.
    old: HashMap<[u8; 32], Arc<Session>>,
}

impl Sessions {
    /// None yet.
    pub fn new(shared: Arc<Shared>) -> Self {
        let nonces = Nonces::new(|bytes| sys::random(bytes).map_err(|_| SuiteError::Random));
        let (young, old) = (HashMap::new(), HashMap::new());
        Self {
            shared,
            nonces,
            slots: vec![const { None }; SLOTS],
            young,
            old,
        }
    }

    /// A nonce never given before.
    pub fn nonce(&mut self) -> Result<[u8; NONCE], SuiteError> {
        self.nonces.take()
    }

    /// The session with the node of `entry`.
    pub fn of(&mut self, entry: &Arc<Entry>) -> Result<Arc<Session>, SuiteError> {
        // Entries are at least 64 bytes apart.
        let slot = (Arc::as_ptr(entry) as usize >> 6) % SLOTS;
        let known = self.slots.get(slot).and_then(Option::as_ref);
        if let Some((_, session)) = known.filter(|(held, _)| Arc::ptr_eq(held, entry)) {
            return Ok(Arc::clone(session));
        }
        let session = self.by_key(&entry.public)?;
        if let Some(place) = self.slots.get_mut(slot) {
            *place = Some((Arc::clone(entry), Arc::clone(&session)));
        }
        Ok(session)
    }

    fn by_key(&mut self, key: &[u8; 32]) -> Result<Arc<Session>, SuiteError> {
        if let Some(session) = self.young.get(key) {
            return Ok(Arc::clone(session));
        }
        let session = match self.old.remove(key) {
            Some(session) => session,
            None => Arc::new(self.shared.key.session(key)?),
        };
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(*key, Arc::clone(&session));
        Ok(session)
    }
}
