//! Why packets are dropped, by name.

/// Why a packet is dropped. Each reason is a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// From the TUN: not a whole IPv6 packet.
    NotIpv6,
    /// From the TUN: multicast, which the overlay doesn't carry.
    Multicast,
    /// From a link: the payload is too short to be sealed.
    ShortPayload,
    /// From a link: the source or the destination lies outside 400::/7.
    NotOverlay,
    /// From a link: for this node, and said to be from this node.
    OwnSource,
    /// Not sealed by the node that owns the outer source.
    NotAuthentic,
    /// The sender's key is of low order.
    LowOrderKey,
    /// Opened: an inner header of another version or type, to be ignored.
    UnknownInner,
    /// Opened: not a whole IPv6 packet.
    BadInner,
    /// Opened: the inner source isn't in the sender's /64.
    InnerSource,
    /// Opened: the inner destination isn't in this node's /64.
    InnerDestination,
    /// An error of a transit node that makes no sense.
    BadError,
    /// No route, and nobody can be told.
    NoRoute,
    /// Too much waits for a route already.
    WaitingFull,
    /// Waited for a route or for a key for too long.
    WaitingExpired,
    /// The next link's queue is full.
    LinkFull,
    /// A super-packet that can't be cut.
    BadOffload,
    /// Longer than any link carries.
    TooBig,
    /// There is no TUN device to deliver to.
    NoTun,
    /// The TUN device refused it.
    TunRefused,
    /// A session frame, or a relayed packet, under keys that this node hasn't or has no more.
    NoSession,
    /// A frame that was opened before, or is older than what is remembered.
    Replayed,
    /// Mycelium's suite from a node that has shown that it speaks the suite `zosnet`.
    Downgraded,
    /// Congestion on the way, and nowhere to say so in the packet (RFC 6040).
    Congested,
    /// For this host: no rule lets its sender in there.
    RefusedService,
    /// For this host: it belongs to no connection that lives.
    RefusedStray,
    /// For this host: an ICMPv6 error about nothing that this host sent.
    RefusedError,
    /// For this host: it wants to be its neighbour or router.
    RefusedDiscovery,
    /// For this host: a fragment whose first one wasn't let in.
    RefusedFragment,
    /// For this host: headers that can't be followed, or that ask for detours.
    RefusedHeader,
    /// A message from somebody who may not send any.
    RefusedMessage,
}

impl DropReason {
    /// All of them, in the order of their counters.
    pub const ALL: [Self; 31] = [
        Self::NotIpv6,
        Self::Multicast,
        Self::ShortPayload,
        Self::NotOverlay,
        Self::OwnSource,
        Self::NotAuthentic,
        Self::LowOrderKey,
        Self::UnknownInner,
        Self::BadInner,
        Self::InnerSource,
        Self::InnerDestination,
        Self::BadError,
        Self::NoRoute,
        Self::WaitingFull,
        Self::WaitingExpired,
        Self::LinkFull,
        Self::BadOffload,
        Self::TooBig,
        Self::NoTun,
        Self::TunRefused,
        Self::NoSession,
        Self::Replayed,
        Self::Downgraded,
        Self::Congested,
        Self::RefusedService,
        Self::RefusedStray,
        Self::RefusedError,
        Self::RefusedDiscovery,
        Self::RefusedFragment,
        Self::RefusedHeader,
        Self::RefusedMessage,
    ];

    /// The name of its counter.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotIpv6 => "not_ipv6",
            Self::Multicast => "multicast",
            Self::ShortPayload => "short_payload",
            Self::NotOverlay => "not_overlay",
            Self::OwnSource => "own_source",
            Self::NotAuthentic => "not_authentic",
            Self::LowOrderKey => "low_order_key",
            Self::UnknownInner => "unknown_inner",
            Self::BadInner => "bad_inner",
            Self::InnerSource => "inner_source",
            Self::InnerDestination => "inner_destination",
            Self::BadError => "bad_error",
            Self::NoRoute => "no_route",
            Self::WaitingFull => "waiting_full",
            Self::WaitingExpired => "waiting_expired",
            Self::LinkFull => "link_full",
            Self::BadOffload => "bad_offload",
            Self::TooBig => "too_big",
            Self::NoTun => "no_tun",
            Self::TunRefused => "tun_refused",
            Self::NoSession => "no_session",
            Self::Replayed => "replayed",
            Self::Downgraded => "downgraded",
            Self::Congested => "congested",
            Self::RefusedService => "refused_service",
            Self::RefusedStray => "refused_stray",
            Self::RefusedError => "refused_error",
            Self::RefusedDiscovery => "refused_discovery",
            Self::RefusedFragment => "refused_fragment",
            Self::RefusedHeader => "refused_header",
            Self::RefusedMessage => "refused_message",
        }
    }

    /// Its place in [`DropReason::ALL`].
    #[inline]
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}
