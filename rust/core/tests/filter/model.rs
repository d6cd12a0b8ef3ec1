//! Any conversation, against a naive reader of it; and any bytes.

use std::collections::HashMap;

use proptest::collection::vec;
use proptest::prelude::*;
use zosnet_core::filter::Verdict;

use crate::packets::{ACK, FIN, RST, SYN, ipv6, tcp, udp};
use crate::{KEY, TCP, UDP, World, address, here};

/// A step of a conversation: seconds that pass, the direction, TCP or UDP, the remote node, its port, flags.
type Step = (u16, bool, bool, u8, u8, u8);

/// What a naive reader remembers of a flow: seen out, seen in, past the first packet, both FINs, RST, when.
#[derive(Default, Clone, Copy)]
struct Seen {
    out: bool,
    came: bool,
    past: bool,
    fin: (bool, bool),
    reset: bool,
    at: u32,
}

impl Seen {
    fn lives(&self, is_tcp: bool, now: u32) -> bool {
        let lifetime = match (is_tcp, self.out && self.came) {
            (true, _) if self.reset => 10,
            (true, _) if self.fin == (true, true) => 120,
            (true, both) => [240, 7440][usize::from(both)],
            (false, both) => [120, 300][usize::from(both)],
        };
        now - self.at <= lifetime
    }
}

proptest! {
    #[test]
    fn flows_are_what_a_naive_reader_remembers(
        steps in vec((0u16..400, any::<bool>(), any::<bool>(), 2u8..4, 1u8..3, any::<u8>()), 1..60),
    ) {
        let mut world = World::new();
        let mut model: HashMap<(bool, u8, u8), Seen> = HashMap::new();
        for step in steps {
            let (wait, out, is_tcp, node, port, flags): Step = step;
            let flags = flags & (SYN | ACK | FIN | RST);
            world.now += f64::from(wait);
            let now = world.now as u32;
            let (from, to) = (4000, u16::from(port));
            let protocol = if is_tcp { TCP } else { UDP };
            let payload = |a, b| if is_tcp { tcp(a, b, flags) } else { udp(a, b) };
            let bare = is_tcp && flags & (SYN | ACK | RST) == SYN;
            let live = model.get(&(is_tcp, node, port)).copied().filter(|seen| seen.lives(is_tcp, now));
            if out {
                let packet = ipv6(&here(), &address(node, 1), protocol, &payload(from, to));
                world.filter.outbound(&mut world.recent, &KEY, &packet, world.now);
                if live.is_none() && is_tcp && (flags & RST != 0 || flags & (SYN | ACK) == SYN | ACK) {
                    continue;
                }
                let mut seen = live.filter(|_| !bare).unwrap_or_default();
                seen.out = true;
                if is_tcp {
                    seen.past |= flags & SYN == 0;
                    seen.fin.0 |= flags & FIN != 0;
                    seen.reset |= flags & RST != 0;
                }
                seen.at = now;
                model.insert((is_tcp, node, port), seen);
                continue;
            }
            let packet = ipv6(&address(node, 1), &here(), protocol, &payload(to, from));
            let passes = world.gets_as(&KEY, &packet) == Verdict::Pass;
            let expected = live.filter(|seen| !bare || !seen.past);
            prop_assert_eq!(passes, expected.is_some());
            if let Some(mut seen) = expected {
                seen.came = true;
                if is_tcp {
                    seen.fin.1 |= flags & FIN != 0;
                    seen.reset |= flags & RST != 0;
                }
                seen.at = now;
                model.insert((is_tcp, node, port), seen);
            }
        }
    }

    #[test]
    fn any_bytes_get_a_verdict(bytes in vec(any::<u8>(), 0..200), protocol: u8) {
        let mut world = World::new();
        let _ = world.gets_as(&KEY, &bytes);
        world.sends(protocol, &bytes);
        let _ = world.gets(protocol, &bytes);
    }
}
