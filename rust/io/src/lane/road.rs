//! How frames get to a node at the moment: over which link, in what, and how long they may be.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use socket2::SockAddr;

use zosnet_core::Address;
use zosnet_core::datagram::{LinkKeys, RELAY_OVERHEAD};
use zosnet_core::fib::Entry;
use zosnet_core::frame::DataHeader;
use zosnet_core::repair;
use zosnet_core::session::{ENTRY_HEADER, OVERHEAD, RESERVED_IID};

use crate::handoff::LinkId;
use crate::keeper::ToKeeper;
use crate::link::{DatagramLink, LinkState};
use crate::peers::{FRAME_RELAYED, Peer};

use super::Lane;

/// The longest frame over a stream to the node itself: several packets are sealed at once, and lost or come together.
/// Measured (docs/benchmarks.md, "Long frames"): most of what there is to gain, and on a link of 10 Mbit/s the first of
/// these packets waits 6 ms for the last.
const LONG_FRAME: usize = 9000;

/// How frames get to one node at the moment.
pub(super) struct Road {
    pub(super) link: LinkId,
    pub(super) kind: Kind,
    /// The longest frame that the peer takes.
    cap: usize,
    /// The longest frame.
    pub(super) longest: usize,
    hop_limit: u8,
    pub(super) src: Address,
    dst: Address,
    /// The address of the node at its end.
    pub(super) node: Address,
    /// Nobody passes on what takes it.
    ends: bool,
}

pub(super) enum Kind {
    /// With how often the remote end had moved.
    Direct(Arc<LinkState>, SockAddr, u32),
    Relayed(Arc<LinkState>, Arc<LinkKeys>, SockAddr),
    Wrapped,
}

impl Road {
    /// The most bytes of entries that a frame holds.
    pub(super) fn room(&self) -> usize {
        self.longest.saturating_sub(OVERHEAD)
    }

    /// The same where a repair of the frame, which is longer, has to fit as well.
    pub(super) fn repaired_room(&self) -> usize {
        self.room().saturating_sub(repair::OVERHEAD).min(repair::LONGEST)
    }

    /// The same of a frame for several packets.
    pub(super) fn shared_room(&self) -> usize {
        if self.is_repaired() {
            self.repaired_room()
        } else {
            self.room()
        }
    }

    /// The longest packet that a frame holds.
    pub(super) fn longest_packet(&self) -> usize {
        self.longest.saturating_sub(OVERHEAD + ENTRY_HEADER)
    }

    /// Whether it ends at the node's own stream, where frames are long and segments share them.
    pub(super) fn is_long(&self) -> bool {
        self.longest == LONG_FRAME
    }

    /// Whether what goes over it is followed by repairs: where it ends at the next node, which alone can use them.
    #[inline]
    pub(super) fn is_repaired(&self) -> bool {
        match &self.kind {
            Kind::Direct(state, ..) => state.datagram.as_ref().is_some_and(DatagramLink::is_repaired),
            Kind::Relayed(..) | Kind::Wrapped => false,
        }
    }

    /// The header of a data packet on this road; its length is still to be filled in.
    pub(super) fn header(&self) -> DataHeader {
        DataHeader {
            len: 0,
            hop_limit: self.hop_limit,
            src: self.src,
            dst: self.dst,
        }
    }

    /// Whether it is kept when the turn is over. It holds no keys: those that are replaced are to be wiped.
    pub(super) fn may_stay(&self) -> bool {
        matches!(self.kind, Kind::Direct(..))
    }

    /// Whether one of an earlier turn would be found the same again, as long as no table was replaced.
    fn is_as_it_was(&self) -> bool {
        match &self.kind {
            Kind::Direct(state, _, moves) => state
                .datagram
                .as_ref()
                .is_some_and(|udp| udp.moves() == *moves && udp.max_datagram().min(self.cap) == self.longest),
            Kind::Relayed(..) | Kind::Wrapped => false,
        }
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.link == other.link && self.hop_limit == other.hop_limit && self.dst == other.dst
    }
}

/// The road that packets took last, for whom, and whether that was in this turn.
pub(super) struct Latest {
    peer: Arc<Peer>,
    road: Arc<Road>,
    checked: bool,
}

impl Lane {
    /// The turn is over: what can be checked again stays, for the next packet that comes alone.
    pub(super) fn rest_road(&mut self) {
        match &mut self.latest_road {
            Some(latest) if latest.road.may_stay() => latest.checked = false,
            _ => self.latest_road = None,
        }
    }

    /// The road of frames to `peer`, the node of `entry`, through `link`; found anew in each turn, unless nothing has
    /// changed. `cap`: the longest frame that the node takes.
    pub(super) fn road(
        &mut self,
        peer: &Arc<Peer>,
        cap: usize,
        entry: &Entry,
        link: LinkId,
        hop_limit: u8,
    ) -> Arc<Road> {
        let ends = entry.ends(link);
        if let Some(Latest {
            peer: for_peer,
            road,
            checked,
        }) = &mut self.latest_road
            && Arc::ptr_eq(for_peer, peer)
            && road.link == link
            && road.hop_limit == hop_limit
            && road.cap == cap
            && road.ends == ends
            && (*checked || road.is_as_it_was())
        {
            *checked = true;
            return Arc::clone(road);
        }
        let road = Arc::new(self.road_to(peer, cap, link, ends, hop_limit));
        if peer.takes(link) && !matches!(road.kind, Kind::Direct(..)) {
            let _ = self.shared.keeper.post(ToKeeper::Rerouted(peer.key));
        }
        self.latest_road = Some(Latest {
            peer: Arc::clone(peer),
            road: Arc::clone(&road),
            checked: true,
        });
        road
    }

    fn road_to(&self, peer: &Peer, cap: usize, link: LinkId, ends: bool, hop_limit: u8) -> Road {
        let state = self.carrier.known.get(&link);
        let datagram = state.and_then(|state| Some((state, state.datagram.as_ref()?)));
        let through_relays = peer.path_frame.load(Relaxed) as usize;
        let (kind, longest) = match datagram {
            Some((state, udp)) if udp.peer == peer.key => {
                let moves = udp.moves();
                let kind = Kind::Direct(Arc::clone(state), udp.target(), moves);
                (kind, udp.max_datagram())
            }
            Some((state, udp)) => {
                let longest = udp.max_datagram().saturating_sub(RELAY_OVERHEAD);
                let kind = Kind::Relayed(Arc::clone(state), udp.keys(), udp.target());
                (kind, longest.min(through_relays))
            }
            None if ends && self.carrier.is_stream(link) => (Kind::Wrapped, LONG_FRAME),
            None => (Kind::Wrapped, through_relays.min(FRAME_RELAYED)),
        };
        Road {
            link,
            kind,
            cap,
            longest: longest.min(cap),
            hop_limit,
            src: self.node.address,
            dst: node_frame_address(peer.prefix),
            node: peer.address,
            ends,
        }
    }
}

/// Where frames for the node with this /64 go: one reserved interface id tells them from Mycelium's ciphertext.
pub(super) fn node_frame_address(prefix: u64) -> Address {
    let id = u64::from_be_bytes(RESERVED_IID);
    (u128::from(prefix) << 64 | u128::from(id)).to_be_bytes()
}

/// Whether frames are sent to this address.
pub(super) fn is_frame_address(address: &Address) -> bool {
    address.ends_with(&RESERVED_IID)
}
