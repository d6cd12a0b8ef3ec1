//! What a keeper counts.

macro_rules! totals {
    ($($field:ident => $name:literal,)*) => {
        /// What happened since the start.
        #[derive(Debug, Default, Clone, Copy)]
        pub(super) struct Totals { $(pub(super) $field: u64,)* }

        impl Totals {
            pub(super) fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$(($name, self.$field),)*]
            }
        }
    };
}

totals! {
    malformed => "session.malformed",
    wrong_endpoint => "session.wrong_endpoint",
    bad_mac => "session.bad_mac",
    cookies => "session.cookies",
    flooded => "session.flooded",
    bad_handshake => "session.bad_handshake",
    forged => "session.forged",
    repeated => "session.repeated",
    full => "session.full",
    granted => "session.granted",
    made => "session.made",
    unanswered => "session.unanswered",
    failed => "session.failed",
    hints => "session.hints",
    unheeded => "session.unheeded",
    unknown => "session.unknown",
    expired => "session.expired",
    no_random => "session.no_random",
}
