//! Pages of the ledger's authenticated tree, as `zosnet.ledger.tree` has them, faster.
//!
//! A page holds the 16 subtrees four levels below its top: nothing, a leaf (path ‖ H(value)) or a node (a hash).
//! Both implementations pass `tests/ledger/test_tree.py`.

use aws_lc_rs::digest::{Context, SHA256};

/// The hash of nothing.
const EMPTY: [u8; 32] = [0; 32];
const LEAF: usize = 64;
const NODE: usize = 32;

/// A subtree: no bytes for nothing, 64 for a leaf, 32 for a node.
type Slot = Vec<u8>;

/// These bytes are no page, or no subtree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are no page of a tree")]
pub struct NoPage;

fn hash(tag: u8, left: &[u8], right: &[u8]) -> Slot {
    let mut context = Context::new(&SHA256);
    context.update(&[tag]);
    context.update(left);
    context.update(right);
    context.finish().as_ref().to_vec()
}

/// The hash of a subtree.
fn digest(slot: Slot) -> Slot {
    match slot.len() {
        0 => EMPTY.to_vec(),
        LEAF => hash(0, &slot, &[]),
        _ => slot,
    }
}

/// The subtree above two: nothing, the one leaf, or a node.
fn above(left: Slot, right: Slot) -> Slot {
    match (left.len(), right.len()) {
        (0, 0 | LEAF) => right,
        (LEAF, 0) => left,
        _ => hash(1, &digest(left), &digest(right)),
    }
}

fn decode(raw: &[u8]) -> Result<[Slot; 16], NoPage> {
    let mut slots: [Slot; 16] = Default::default();
    let Some((head, mut rest)) = raw.split_first_chunk::<4>() else {
        return if raw.is_empty() { Ok(slots) } else { Err(NoPage) };
    };
    let head = u32::from_be_bytes(*head);
    let (leaves, nodes) = (head >> 16, head & 0xffff);
    for (place, slot) in slots.iter_mut().enumerate() {
        let bit = 0x8000 >> place;
        let size = match (leaves & bit != 0, nodes & bit != 0) {
            (false, false) => continue,
            (true, false) => LEAF,
            (false, true) => NODE,
            (true, true) => return Err(NoPage),
        };
        let (here, after) = rest.split_at_checked(size).ok_or(NoPage)?;
        *slot = here.to_vec();
        rest = after;
    }
    if rest.is_empty() { Ok(slots) } else { Err(NoPage) }
}

fn encode(slots: &[Slot; 16]) -> Vec<u8> {
    let (mut leaves, mut nodes) = (0_u16, 0_u16);
    for (place, slot) in slots.iter().enumerate() {
        match slot.len() {
            0 => {}
            LEAF => leaves |= 0x8000 >> place,
            _ => nodes |= 0x8000 >> place,
        }
    }
    let mut raw = Vec::with_capacity(4 + slots.iter().map(Vec::len).sum::<usize>());
    raw.extend(leaves.to_be_bytes());
    raw.extend(nodes.to_be_bytes());
    slots.iter().for_each(|slot| raw.extend(slot));
    raw
}

/// Put subtrees into a page (no bytes: an empty one): its new bytes, and the subtree above it.
///
/// # Errors
/// [`NoPage`] for bytes that are no page, a place above 15, or a subtree of another length.
pub fn fold<S: AsRef<[u8]>>(raw: &[u8], changes: &[(usize, S)]) -> Result<(Vec<u8>, Slot), NoPage> {
    let mut slots = decode(raw)?;
    for (place, slot) in changes {
        let slot = slot.as_ref();
        if !matches!(slot.len(), 0 | LEAF | NODE) {
            return Err(NoPage);
        }
        *slots.get_mut(*place).ok_or(NoPage)? = slot.to_vec();
    }
    let page = encode(&slots);
    let mut row = slots.to_vec();
    while row.len() > 1 {
        let mut each = row.into_iter();
        let mut next = Vec::with_capacity(8);
        while let (Some(left), Some(right)) = (each.next(), each.next()) {
            next.push(above(left, right));
        }
        row = next;
    }
    Ok((page, row.pop().unwrap_or_default()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_page_comes_back_as_it_was() {
        let leaf = [7; LEAF];
        let (page, top) = fold(&[], &[(3, &leaf[..])]).unwrap();
        assert_eq!(top, leaf);
        let (other, node) = fold(&page, &[(12, &[1; NODE][..])]).unwrap();
        assert_eq!(node.len(), NODE);
        assert_eq!(fold(&other, &[(12, &[][..])]).unwrap(), (page, leaf.to_vec()));
        assert_eq!(fold::<&[u8]>(&[], &[]).unwrap(), (vec![0; 4], Vec::new()));
    }

    #[test]
    fn other_bytes_are_refused() {
        let none: &[(usize, &[u8])] = &[];
        for raw in [
            &[0][..],
            &[0x80, 0, 0x80, 0],
            &[0x80, 0, 0, 0, 1],
            &[0, 0, 0, 0, 1],
        ] {
            assert_eq!(fold(raw, none), Err(NoPage));
        }
        assert_eq!(fold(&[], &[(16, &[1; NODE][..])]), Err(NoPage));
        assert_eq!(fold(&[], &[(1, &[1; 5][..])]), Err(NoPage));
    }
}
