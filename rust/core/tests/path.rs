//! The longest frame of a path, found over paths that carry some, all or nothing.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use zosnet_core::path::{FRAMES, PathMtu};

/// Run until nothing is due before `until`; the path carries frames up to `carries`.
fn run(mtu: &mut PathMtu, carries: usize, from: f64, until: f64) -> f64 {
    let mut now = from;
    loop {
        for probe in mtu.probes() {
            if carries > 0 && probe.frame.is_none_or(|frame| frame <= carries) {
                mtu.answered(probe.number, now + 0.02);
            }
        }
        match mtu.deadline() {
            Some(due) if due <= until => now = due.max(now),
            _ => return now,
        }
        mtu.wake(now, 0.02);
    }
}

proptest! {
    #[test]
    fn what_the_path_carries_is_found_within_two_seconds_whatever_it_was_before(
        before in 0usize..4, after in 0usize..4,
    ) {
        let mut mtu = PathMtu::default();
        mtu.suspect(0.0, 0.02);
        run(&mut mtu, FRAMES[before], 0.0, 10.0);
        prop_assert_eq!(mtu.longest(), FRAMES[before]);
        mtu.suspect(20.0, 0.02);
        let settle = if after >= before { 22.0 } else { 400.0 };
        run(&mut mtu, FRAMES[after], 20.0, settle);
        prop_assert_eq!(mtu.longest(), FRAMES[after]);
    }
}

#[test]
fn a_dead_path_changes_nothing_and_is_left_alone() {
    let mut mtu = PathMtu::default();
    mtu.suspect(0.0, 0.02);
    run(&mut mtu, 0, 0.0, 1000.0);
    assert_eq!(mtu.longest(), FRAMES[0]);
    assert_eq!(mtu.deadline(), None);
}

#[test]
fn a_path_thinner_than_all_of_them_ends_at_the_last() {
    let mut mtu = PathMtu::default();
    mtu.suspect(0.0, 0.02);
    run(&mut mtu, 200, 0.0, 30.0);
    assert_eq!(mtu.longest(), FRAMES[3]);
}

#[test]
fn one_lost_probe_is_no_black_hole() {
    let mut mtu = PathMtu::default();
    mtu.suspect(0.0, 0.02);
    let probes = mtu.probes();
    assert!(!mtu.answered(probes[0].number, 0.02));
    assert!(!mtu.wake(0.2, 0.02));
    let again = mtu.probes();
    assert_eq!(again.len(), 2);
    assert!(!mtu.answered(again[1].number, 0.22));
    assert_eq!((mtu.longest(), mtu.deadline()), (FRAMES[0], None));
}
