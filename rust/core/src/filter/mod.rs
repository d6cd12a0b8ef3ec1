//! Closed doors: what may come in over the overlay for this host. Nothing, unless it answers what this host sent,
//! asks for an echo, or a rule lets it in.
//!
//! | module | owns |
//! |---|---|
//! | [`packet`] | what a packet says of itself, extension headers and fragments included |
//! | [`flow`], [`flows`] | the connections that live, and how long they are remembered |
//! | [`fragments`] | packets in pieces whose first piece was let in |
//! | [`message`] | the message protocol: which packets answer a message of this node |
//! | [`rules`] | whom the operator lets in |
//! | [`recall`] | connections that were there before the filter |
//! | [`refusals`] | what was refused, to be explained |
//!
//! All lanes share one [`Filter`]. With its doors open it costs one load, and remembers nothing.

pub mod flow;
pub mod flows;
pub mod fragments;
pub mod message;
pub mod packet;
pub mod recall;
pub mod refusals;
pub mod rules;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::ipv6::{ICMPV6, TCP, UDP};
use crate::reason::DropReason;
use crate::{Address, upper};

use flow::{Flow, FlowKey, IN, INWARD, OUT, came, sent};
use flows::{Figures, Flows, Limits, Recent};
use fragments::Fragments;
use packet::{ACK, ECHO_REPLY, ECHO_REQUEST, Packet, RST, SYN, has_ports};
use recall::Connection;
use refusals::{Refusal, Refusals};
use rules::{Rules, RulesError};

/// What to do with a packet that came for this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Deliver it.
    Pass,
    /// Count it and forget it. It is remembered as refused already.
    Refuse {
        /// Why.
        reason: DropReason,
        /// Its sender may be told that this is prohibited: it began something, and waits for an answer.
        tell: bool,
    },
}

/// The generation of rules that nobody has seen: flows that those let in are judged by the first that come.
const OLD_RULES: u32 = 0;

/// The filter of one node.
#[derive(Debug)]
pub struct Filter {
    open: AtomicBool,
    rules: RwLock<Arc<Rules>>,
    /// Which rules those are: flows that older ones let in are judged again.
    generation: AtomicU32,
    flows: Flows,
    fragments: Fragments,
    refusals: Mutex<Refusals>,
    seed: u64,
}

impl Filter {
    /// With all doors closed. `seed` must be random and secret.
    #[must_use]
    pub fn new(seed: u64, limits: Limits) -> Self {
        Self {
            open: AtomicBool::new(false),
            rules: RwLock::new(Arc::new(Rules::none())),
            generation: AtomicU32::new(1),
            flows: Flows::new(limits, seed),
            fragments: Fragments::default(),
            refusals: Mutex::default(),
            seed,
        }
    }

    /// Replace all rules by packed records ([`rules`]). `open`: let everything in, whatever they say.
    ///
    /// What the old rules let in goes on only if the new ones do so too; what this host began goes on.
    ///
    /// # Errors
    /// Records that make no sense change nothing.
    pub fn replace(&self, open: bool, packed: &[u8]) -> Result<(), RulesError> {
        let rules = Arc::new(Rules::parse(packed, self.seed)?);
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
        self.generation.fetch_add(1, Ordering::Release);
        self.open.store(open, Ordering::Release);
        Ok(())
    }

    /// The rules in force.
    #[must_use]
    pub fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether everything may come in.
    #[inline]
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// What the flow table has come to.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.flows.figures()
    }

    /// The latest refusals.
    #[must_use]
    pub fn refusals(&self, limit: usize) -> Vec<Refusal> {
        let refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.latest(limit)
    }

    /// Remember the flow of a packet that this host sends to the node of `key`: its answers may come in. Once for a
    /// super-packet.
    #[inline]
    pub fn outbound(&self, recent: &mut Recent, key: &[u8; 32], packet: &[u8], now: f64) {
        if self.is_open() {
            return;
        }
        let Ok(packet) = Packet::read(packet) else { return };
        let later = packet.piece.is_some_and(|piece| piece.from > 0);
        // Of ICMPv6 only an echo request waits for an answer.
        if later || (packet.protocol == ICMPV6 && packet.kind != ECHO_REQUEST) {
            return;
        }
        let (flow_key, bits, now) = (FlowKey::outbound(&packet), sent(&packet), now as u32);
        match self.flows.find(recent, &flow_key, now) {
            Some(flow) if !packet.is_bare_syn() => flow.see(bits, now),
            None if !packet.is_bare_syn() => self.resume(recent, key, &packet, now),
            _ => self.flows.begin(recent, &flow_key, bits, 0, now),
        }
    }

    /// Remember a flow that begins with a packet of this host, or that was forgotten while it lived: what the rules let
    /// in is theirs, so that it ends with them.
    fn resume(&self, recent: &mut Recent, key: &[u8; 32], packet: &Packet<'_>, now: u32) {
        // Neither the end of a connection nor the answer to a request for one opens a door.
        if packet.flags & RST != 0 || packet.flags & (SYN | ACK) == SYN | ACK {
            return;
        }
        let (flow_key, generation) = (FlowKey::outbound(packet), self.generation.load(Ordering::Acquire));
        let port = has_ports(packet.protocol).then_some(packet.ports.0);
        // An echo request asks, whatever the rules say of ICMPv6.
        let theirs = packet.protocol != ICMPV6
            && self
                .rules()
                .admit(key, packet.dst, Some((packet.protocol, port)))
                .is_some();
        let bits = sent(packet) | if theirs { INWARD } else { 0 };
        self.flows.begin(recent, &flow_key, bits, generation, now);
    }

    /// Remember a connection that the host had before this filter was made. What the other side began goes on only if
    /// the rules of now let it in.
    pub fn recall(&self, recent: &mut Recent, connection: &Connection, now: f64) {
        let packet = connection.packet();
        let heard = if connection.answered { IN } else { 0 };
        let (key, bits, now) = (FlowKey::outbound(&packet), sent(&packet) | heard, now as u32);
        // Anew: what is remembered of its ports may be of before, when a rule had let it in.
        match connection.accepted {
            true => self.flows.begin(recent, &key, INWARD | bits, OLD_RULES, now),
            false => self.flows.sent(recent, &key, bits, true, now),
        }
    }

    /// Decide about a packet for this host that was opened with the session of `key`.
    #[inline]
    pub fn inbound(&self, recent: &mut Recent, key: &[u8; 32], packet: &[u8], now: f64) -> Verdict {
        if self.is_open() {
            return Verdict::Pass;
        }
        match Packet::read(packet) {
            Ok(read) => match self.judge(recent, key, &read, now as u32) {
                Ok(()) => Verdict::Pass,
                Err(reason) => self.refuse(key, &read, reason, now),
            },
            Err(_) => self.refuse_unread(key, packet, now),
        }
    }

    #[inline]
    fn judge(
        &self,
        recent: &mut Recent,
        key: &[u8; 32],
        packet: &Packet<'_>,
        now: u32,
    ) -> Result<(), DropReason> {
        let Some(piece) = packet.piece else {
            return self.judge_whole(recent, key, packet, now);
        };
        if piece.from > 0 {
            return match self.fragments.admits(packet, piece, now) {
                true => Ok(()),
                false => Err(DropReason::RefusedFragment),
            };
        }
        self.judge_whole(recent, key, packet, now)?;
        self.fragments.admit(packet, piece, now);
        Ok(())
    }

    /// Decide about a packet with its transport header in it.
    #[inline]
    fn judge_whole(
        &self,
        recent: &mut Recent,
        key: &[u8; 32],
        packet: &Packet<'_>,
        now: u32,
    ) -> Result<(), DropReason> {
        if packet.protocol == ICMPV6 {
            return self.judge_icmp(recent, key, packet, now);
        }
        let (flow_key, generation) = (FlowKey::inbound(packet), self.generation.load(Ordering::Acquire));
        let flow = self.flows.find(recent, &flow_key, now);
        // A request for a connection belongs to no old one.
        let flow = flow.filter(|flow| !packet.is_bare_syn() || flow.is_opening());
        if let Some(flow) = flow.filter(|flow| !flow.is_outdated(generation)) {
            flow.see(came(packet), now);
            return Ok(());
        }
        let Some(rule) = self.rule_for(key, packet) else {
            let stray = flow.is_none() && packet.protocol == TCP && !packet.is_bare_syn();
            return Err(match stray {
                true => DropReason::RefusedStray,
                false => DropReason::RefusedService,
            });
        };
        match flow {
            Some(flow) => {
                flow.renew(generation);
                flow.see(came(packet), now);
            }
            None => {
                rule.0.hit(rule.1);
                let bits = INWARD | came(packet);
                self.flows.begin(recent, &flow_key, bits, generation, now);
            }
        }
        Ok(())
    }

    fn judge_icmp(
        &self,
        recent: &mut Recent,
        key: &[u8; 32],
        packet: &Packet<'_>,
        now: u32,
    ) -> Result<(), DropReason> {
        let verdict = |right: bool, reason| if right { Ok(()) } else { Err(reason) };
        match packet.kind {
            ECHO_REQUEST => Ok(()),
            ECHO_REPLY => {
                let flow = self.flows.find(recent, &FlowKey::inbound(packet), now);
                verdict(flow.is_some_and(Flow::has_sent), DropReason::RefusedStray)
            }
            // The errors of RFC 4443; no others are defined.
            1..=4 => verdict(self.is_about_us(recent, packet, now), DropReason::RefusedError),
            // What concerns one network segment (RFC 4890, section 4.4): listeners, routers, neighbours,
            // redirects and their kin. The overlay is none, and nobody on it is this host's router.
            130..=137 | 141..=143 | 148 | 149 | 151..=153 => Err(DropReason::RefusedDiscovery),
            _ => match self.rule_for(key, packet) {
                Some((rules, rule)) => {
                    rules.hit(rule);
                    Ok(())
                }
                None => Err(DropReason::RefusedService),
            },
        }
    }

    /// Whether an error quotes a packet that this host has sent to the node that complains: nobody else can have
    /// read it, as transit nodes see it sealed, and report out of band ([`crate::icmp::recover`]).
    fn is_about_us(&self, recent: &mut Recent, error: &Packet<'_>, now: u32) -> bool {
        let Ok(quoted) = Packet::read_quote(error.quote) else {
            return false;
        };
        let later = quoted.piece.is_some_and(|piece| piece.from > 0);
        let theirs = quoted.src == error.dst && quoted.dst >> 64 == error.src >> 64;
        if !theirs || later || (quoted.protocol == ICMPV6 && quoted.kind != ECHO_REQUEST) {
            return false;
        }
        let flow = self.flows.find(recent, &FlowKey::outbound(&quoted), now);
        flow.is_some_and(Flow::has_sent)
    }

    fn rule_for(&self, key: &[u8; 32], packet: &Packet<'_>) -> Option<(Arc<Rules>, u16)> {
        let port = has_ports(packet.protocol).then_some(packet.ports.1);
        let rules = self.rules();
        let rule = rules.admit(key, packet.src, Some((packet.protocol, port)))?;
        Some((rules, rule))
    }

    /// Remember that this node sends a packet of the message protocol: those that answer it may come in.
    pub fn message_out(&self, recent: &mut Recent, destination: &Address, body: &[u8], now: f64) {
        if !self.is_open()
            && let Some(id) = message::asks(body)
        {
            let key = FlowKey::message(upper(destination), id);
            self.flows.sent(recent, &key, OUT, false, now as u32);
        }
    }

    /// Whether a packet of the message protocol may come in; a refusal is remembered.
    pub fn message_in(
        &self,
        recent: &mut Recent,
        key: &[u8; 32],
        source: &Address,
        body: &[u8],
        now: f64,
    ) -> bool {
        if self.is_open() {
            return true;
        }
        if let Some(id) = message::answers(body) {
            let flow_key = FlowKey::message(upper(source), id);
            if let Some(flow) = self.flows.find(recent, &flow_key, now as u32) {
                flow.see(flow::IN, now as u32);
                return true;
            }
        }
        let rules = self.rules();
        if let Some(rule) = rules.admit(key, u128::from_be_bytes(*source), None) {
            // Each message counts once.
            if message::begins(body) {
                rules.hit(rule);
            }
            return true;
        }
        self.remember(key, *source, (0, 0), DropReason::RefusedMessage, now);
        false
    }

    fn refuse(&self, key: &[u8; 32], packet: &Packet<'_>, reason: DropReason, now: f64) -> Verdict {
        let what = (packet.protocol, packet.ports.1);
        self.remember(key, packet.src.to_be_bytes(), what, reason, now);
        let began = packet.is_bare_syn() || packet.protocol == UDP;
        let tell = began && reason == DropReason::RefusedService;
        Verdict::Refuse { reason, tell }
    }

    fn refuse_unread(&self, key: &[u8; 32], packet: &[u8], now: f64) -> Verdict {
        let source = packet.get(8..).and_then(<[u8]>::first_chunk).copied();
        let reason = DropReason::RefusedHeader;
        self.remember(key, source.unwrap_or_default(), (0, 0), reason, now);
        Verdict::Refuse { reason, tell: false }
    }

    fn remember(&self, key: &[u8; 32], source: Address, what: (u8, u16), reason: DropReason, now: f64) {
        // No lane waits for another to note down the same flood; the counters have it anyway.
        if let Ok(mut refusals) = self.refusals.try_lock() {
            refusals.add(Refusal {
                key: *key,
                source,
                protocol: what.0,
                port: what.1,
                reason,
                count: 1,
                first: now,
                last: now,
            });
        }
    }
}
