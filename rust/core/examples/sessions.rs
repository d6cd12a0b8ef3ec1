//! What sessions cost, on one core: `cargo run --release -p zosnet-core --example sessions`.
#![allow(clippy::unwrap_used)]

#[path = "../tests/common/numbers.rs"]
mod numbers;

use std::net::SocketAddr;
use std::time::Instant;

use numbers::Numbers;
use zosnet_core::address_of;
use zosnet_core::session::{Action, Config, From, Keeper, Limits};
use zosnet_core::suite::StaticKey;

const SESSIONS: usize = 10_000;

fn secret(number: usize) -> [u8; 32] {
    let mut secret = [0x5a; 32];
    // Not the first byte: X25519 ignores bits of it.
    secret[8..16].copy_from_slice(&(number as u64).to_le_bytes());
    secret
}

fn keeper(number: usize, rate: u32) -> Keeper {
    let secret = secret(number);
    let public = StaticKey::from_secret(&secret).unwrap().public();
    let mut config = Config::new(secret, address_of(&public));
    (config.lanes, config.has_aes) = (2, true);
    config.limits = Limits {
        handshakes_per_second: rate,
        ..Limits::default()
    };
    Keeper::new(config, Numbers(number as u64).fill())
}

fn from(number: usize) -> From {
    From::Link(SocketAddr::from(([10, 0, (number >> 8) as u8, 1], number as u16)))
}

fn frames(keeper: &mut Keeper, kept: &mut Vec<Action>) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while let Some(action) = keeper.poll() {
        match action {
            Action::Send { frame, .. } => frames.push(frame),
            other => kept.push(other),
        }
    }
    frames
}

/// Resident bytes of this process, where Linux tells.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = text
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .unwrap_or(0);
    pages * 4096
}

/// The session of `client` with `server`; a frame each way confirms it and makes the windows.
fn shake(server: &mut Keeper, client: &mut Keeper, number: usize, kept: &mut Vec<Action>) {
    let mut theirs = Vec::new();
    client.want(&server.public(), 1.0);
    let asked = frames(client, &mut theirs).remove(0);
    let start = kept.len();
    server.receive(&asked, from(number), 1.0);
    let response = frames(server, kept).remove(0);
    client.receive(&response, from(number), 1.0);
    frames(client, &mut theirs);
    let receive = |actions: &[Action]| {
        actions.iter().find_map(|action| match action {
            Action::Receive(transport) => Some(transport.clone()),
            _ => None,
        })
    };
    let (mine, other) = (receive(&kept[start..]).unwrap(), receive(&theirs).unwrap());
    let mut frame = [0; 64];
    other.seal(0, &mut frame).unwrap();
    mine.open(&mut frame).unwrap();
    server.heard(mine.local_index(), 1.0);
    frames(server, kept);
    kept.retain(|action| matches!(action, Action::Receive(_)));
}

fn main() {
    let (mut server, mut kept) = (keeper(0, u32::MAX), Vec::with_capacity(SESSIONS));
    let (memory, mut seconds) = (resident(), 0.0);
    for number in 1..=SESSIONS {
        let mut client = keeper(number, 500);
        let start = Instant::now();
        shake(&mut server, &mut client, number, &mut kept);
        seconds += start.elapsed().as_secs_f64();
    }
    println!(
        "handshakes, both ends on one core: {:.0}/s",
        SESSIONS as f64 / seconds
    );
    // With what the allocator keeps of the clients: an upper bound.
    let bytes = resident().saturating_sub(memory) / SESSIONS;
    println!("one idle session of the server: at most {bytes} bytes");

    let (start, mut now, rounds) = (Instant::now(), 1.0, 60);
    for _ in 0..rounds {
        now += 1.5;
        server.wake(now);
        while server.poll().is_some() {}
    }
    let each = start.elapsed().as_secs_f64() / f64::from(rounds);
    println!(
        "a second and a half of {SESSIONS} idle sessions: {:.2} ms",
        each * 1e3
    );

    let mut asker = keeper(1, 1);
    asker.want(&server.public(), 1.0);
    let valid = frames(&mut asker, &mut Vec::new()).remove(0);
    let mut garbage = valid.clone();
    garbage[30] ^= 1;
    let mut busy = keeper(0, 500);
    for (name, message) in [
        ("with a wrong mac1", &garbage),
        ("valid, beyond the limit", &valid),
    ] {
        let (start, count) = (Instant::now(), 300_000);
        for number in 0..count {
            // A flood of 100,000 a second.
            busy.receive(message, from(number), 1.0 + number as f64 * 1e-5);
            while busy.poll().is_some() {}
        }
        println!(
            "initiations {name}: {:.0}/s",
            count as f64 / start.elapsed().as_secs_f64()
        );
    }
    for (name, value) in busy.counters().into_iter().filter(|(_, value)| *value > 0) {
        println!("  {name} {value}");
    }
}
