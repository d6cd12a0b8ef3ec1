//! What a keeper of sessions says: for tests and the fuzz crate.

use std::sync::Arc;

use zosnet_core::session::{Action, Keeper, Transport};

/// What a keeper sends, and the keys that it has now.
pub fn drain(keeper: &mut Keeper) -> (Vec<Vec<u8>>, Vec<Arc<Transport>>) {
    let (mut frames, mut keys) = (Vec::new(), Vec::new());
    while let Some(action) = keeper.poll() {
        match action {
            Action::Send { frame, .. } => frames.push(frame),
            Action::Receive(transport) => keys.push(transport),
            _ => {}
        }
    }
    (frames, keys)
}
