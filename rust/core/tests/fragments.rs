//! Packets in pieces.
#![allow(clippy::unwrap_used)]

use proptest::collection::vec;
use proptest::prelude::*;
use zosnet_core::fragments::{Fragments, PIECE_HEADER, cut};

proptest! {
    #[test]
    fn pieces_in_any_order_give_the_packet_back_once(
        packet in vec(any::<u8>(), 1..1281), room in PIECE_HEADER + 60..1200, order in any::<u64>(),
    ) {
        let mut pieces: Vec<_> = cut(7, &packet, room).collect();
        prop_assert!(pieces.iter().all(|piece| piece.len() <= room));
        let mut state = order;
        for at in (1..pieces.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            pieces.swap(at, (state >> 33) as usize % (at + 1));
        }
        let mut fragments = Fragments::new();
        let whole: Vec<_> = pieces.iter().filter_map(|piece| fragments.take(1, piece, 0.0)).collect();
        prop_assert_eq!(whole, [packet]);
    }

    #[test]
    fn whatever_comes_nothing_is_longer_than_its_pieces(pieces in vec(vec(any::<u8>(), 0..64), 0..200)) {
        let mut fragments = Fragments::new();
        let mut arrived = 0;
        for (at, piece) in pieces.iter().enumerate() {
            arrived += piece.len();
            let whole = fragments.take(at as u32 % 3, piece, at as f64 / 50.0);
            prop_assert!(whole.is_none_or(|whole| whole.len() <= arrived));
        }
    }
}

#[test]
fn a_repeated_or_contradicting_piece_ends_the_packet() {
    let pieces: Vec<_> = cut(1, &[9; 100], PIECE_HEADER + 50).collect();
    let mut fragments = Fragments::new();
    assert_eq!(fragments.take(1, &pieces[0], 0.0), None);
    assert_eq!(fragments.take(1, &pieces[0], 0.0), None);
    assert_eq!(fragments.take(1, &pieces[1], 0.0), None, "the first one is gone");
}

#[test]
fn pieces_of_different_keys_are_different_packets_and_late_ones_come_to_nothing() {
    let pieces: Vec<_> = cut(1, &[9; 100], PIECE_HEADER + 50).collect();
    let mut fragments = Fragments::new();
    assert_eq!(fragments.take(1, &pieces[0], 0.0), None);
    assert_eq!(fragments.take(2, &pieces[1], 0.0), None);
    for number in 2..200 {
        let piece = cut(number, &[1; 100], PIECE_HEADER + 50).next().unwrap();
        assert_eq!(fragments.take(1, &piece, 1.5), None);
    }
    assert_eq!(fragments.take(1, &pieces[1], 1.5), None);
}
