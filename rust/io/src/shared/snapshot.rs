//! Values that many read and few replace: whole, behind a lock that is held for a moment.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A panic elsewhere must not take the data plane with it: all guarded values are whole at any moment.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A value that is replaced whole.
#[derive(Debug)]
pub struct Snapshot<T> {
    value: Mutex<Arc<T>>,
    generation: AtomicU64,
}

impl<T> Snapshot<T> {
    /// The first value, of generation 1.
    pub fn new(value: T) -> Self {
        Self::from(Arc::new(value))
    }

    /// Number of the present value.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The present value.
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&lock(&self.value))
    }

    /// Replace the value by what `change` makes of it.
    pub fn replace(&self, change: impl FnOnce(&T) -> Arc<T>) {
        let mut value = lock(&self.value);
        *value = change(&value);
        self.generation.fetch_add(1, Ordering::Release);
    }
}

impl<T> From<Arc<T>> for Snapshot<T> {
    fn from(value: Arc<T>) -> Self {
        Self {
            value: Mutex::new(value),
            generation: AtomicU64::new(1),
        }
    }
}
