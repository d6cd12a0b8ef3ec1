//! Datagrams in trains of equal size, in the order of their making: what one send call is given.
//!
//! A train is one entry of a send call: datagrams of one length and traffic class to one remote end, of which only the
//! last may be shorter. Datagrams lie one after another in one buffer, where they were sealed. Of sockets and of what
//! may wait this module knows nothing.

use std::collections::VecDeque;

use socket2::SockAddr;

use super::batch::Sending;

/// Datagrams of a train, the kernel's own limit on all versions.
const TRAIN_DATAGRAMS: usize = 64;
/// Bytes of a train: some more and the kernel cuts it up, and hands it over one by one at the other end.
pub const TRAIN_BYTES: usize = 65_000;
/// Bytes of sent trains that may lie in front of those that wait, before these move up.
const LEFT_BEHIND: usize = 1 << 20;

#[derive(Debug)]
struct Train {
    to: SockAddr,
    class: u8,
    start: usize,
    end: usize,
    /// Length of its first datagram.
    segment: usize,
    count: usize,
    /// A shorter datagram was its last.
    closed: bool,
}

impl Train {
    fn takes(&self, to: &SockAddr, class: u8, length: usize, longest: usize) -> bool {
        !self.closed
            && self.class == class
            && length <= self.segment
            && self.count < TRAIN_DATAGRAMS
            && self.end - self.start + length <= longest
            && self.to == *to
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Trains {
    bytes: Vec<u8>,
    trains: VecDeque<Train>,
    datagrams: usize,
    /// Every datagram is a train of its own.
    single: bool,
}

impl Trains {
    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.trains.is_empty()
    }

    /// How many bytes they have.
    pub fn bytes(&self) -> usize {
        match (self.trains.front(), self.trains.back()) {
            (Some(first), Some(last)) => last.end - first.start,
            _ => 0,
        }
    }

    /// How many datagrams they are.
    pub fn datagrams(&self) -> usize {
        self.datagrams
    }

    /// Whether every datagram is a train of its own, since [`Trains::cut_up`].
    pub fn is_single(&self) -> bool {
        self.single
    }

    /// Add one datagram, to a train that stays within `longest` bytes: `write` appends it to the bytes it is given, and
    /// says whether it did. If not, what it appended is forgotten.
    pub fn add(
        &mut self,
        to: &SockAddr,
        class: u8,
        longest: usize,
        write: impl FnOnce(&mut Vec<u8>) -> bool,
    ) -> bool {
        let start = self.bytes.len();
        if !write(&mut self.bytes) {
            self.bytes.truncate(start);
            return false;
        }
        let end = self.bytes.len();
        let length = end - start;
        self.datagrams += 1;
        let fits = !self.single
            && self
                .trains
                .back()
                .is_some_and(|train| train.end == start && train.takes(to, class, length, longest));
        match self.trains.back_mut() {
            Some(train) if fits => {
                train.end = end;
                train.count += 1;
                train.closed = length < train.segment;
            }
            _ => self.trains.push_back(Train {
                to: to.clone(),
                class,
                start,
                end,
                segment: length,
                count: 1,
                closed: length == 0,
            }),
        }
        true
    }

    fn bytes_of(&self, train: &Train) -> &[u8] {
        self.bytes.get(train.start..train.end).unwrap_or_default()
    }

    /// A single datagram without a traffic class, if that is all there is.
    pub fn alone(&self) -> Option<(&SockAddr, &[u8])> {
        let train = self.trains.front()?;
        (self.trains.len() == 1 && train.count == 1 && train.class == 0)
            .then(|| (&train.to, self.bytes_of(train)))
    }

    /// All of them, for a send call.
    pub fn sendings(&self) -> impl Iterator<Item = Sending<'_>> {
        self.trains.iter().map(|train| Sending {
            to: &train.to,
            bytes: self.bytes_of(train),
            segment: if train.count > 1 { train.segment } else { 0 },
            class: train.class,
        })
    }

    /// Forget the first `trains`; how many datagrams they were.
    pub fn forget(&mut self, trains: usize) -> usize {
        let first = self.trains.drain(..trains.min(self.trains.len()));
        let datagrams = first.map(|train| train.count).sum();
        self.datagrams -= datagrams;
        datagrams
    }

    /// Use the room of those that were forgotten again.
    pub fn move_up(&mut self) {
        if self.trains.is_empty() {
            self.bytes.clear();
        } else if let Some(start) = self.trains.front().map(|train| train.start)
            && start > LEFT_BEHIND
        {
            self.bytes.drain(..start);
            for train in &mut self.trains {
                train.start -= start;
                train.end -= start;
            }
        }
    }

    /// Every datagram a train of its own, from now on.
    pub fn cut_up(&mut self) {
        self.single = true;
        let trains = std::mem::take(&mut self.trains);
        for train in trains {
            let mut start = train.start;
            while start < train.end {
                let end = train.end.min(start + train.segment);
                self.trains.push_back(Train {
                    to: train.to.clone(),
                    class: train.class,
                    start,
                    end,
                    segment: end - start,
                    count: 1,
                    closed: true,
                });
                start = end;
            }
        }
        self.datagrams = self.trains.len();
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn add(trains: &mut Trains, class: u8, fill: u8, length: usize) {
        let to = SockAddr::from(SocketAddr::from(([127, 0, 0, 1], 9)));
        trains.add(&to, class, TRAIN_BYTES, |bytes| {
            bytes.resize(bytes.len() + length, fill);
            true
        });
    }

    /// Length, segment and class of each.
    fn shapes(trains: &Trains) -> Vec<(usize, usize, u8)> {
        let sendings = trains.sendings();
        sendings
            .map(|train| (train.bytes.len(), train.segment, train.class))
            .collect()
    }

    #[test]
    fn a_train_is_of_one_class_and_equal_sizes_and_ends_with_a_shorter_one() {
        let mut trains = Trains::default();
        for (length, class) in [(1400, 0), (1400, 0), (900, 0), (900, 2), (1400, 0), (20, 3)] {
            add(&mut trains, class, 7, length);
        }
        let wanted = [(3700, 1400, 0), (900, 0, 2), (1400, 0, 0), (20, 0, 3)];
        assert_eq!(shapes(&trains), wanted);
        assert_eq!((trains.bytes(), trains.datagrams()), (6020, 6));
        assert_eq!(trains.forget(2), 4);
        assert_eq!((trains.bytes(), trains.datagrams()), (1420, 2));
        assert_eq!(shapes(&trains), wanted[2..]);
    }

    #[test]
    fn trains_end_at_the_limits_of_the_kernel() {
        let mut trains = Trains::default();
        (0..130).for_each(|_| add(&mut trains, 0, 7, 100));
        assert_eq!(shapes(&trains), [(6400, 100, 0), (6400, 100, 0), (200, 100, 0)]);
        let mut trains = Trains::default();
        (0..50).for_each(|_| add(&mut trains, 0, 7, 1452));
        assert!(trains.sendings().all(|train| train.bytes.len() <= TRAIN_BYTES));
    }

    #[test]
    fn a_datagram_that_was_not_written_leaves_nothing() {
        let mut trains = Trains::default();
        add(&mut trains, 0, 1, 100);
        let to = SockAddr::from(SocketAddr::from(([127, 0, 0, 1], 9)));
        let written = trains.add(&to, 0, TRAIN_BYTES, |bytes| {
            bytes.extend_from_slice(&[2; 50]);
            false
        });
        add(&mut trains, 0, 3, 100);
        assert!(!written);
        assert_eq!((shapes(&trains), trains.datagrams()), (vec![(200, 100, 0)], 2));
    }

    #[test]
    fn those_that_wait_move_up_with_their_bytes() {
        let mut trains = Trains::default();
        for fill in 0..200 {
            add(&mut trains, fill % 2, fill, 10_000);
        }
        trains.forget(150);
        trains.move_up();
        let bytes: Vec<u8> = trains.sendings().map(|train| train.bytes[0]).collect();
        assert_eq!(bytes, (150..200).collect::<Vec<u8>>());
        assert_eq!((trains.bytes(), trains.bytes.len()), (500_000, 500_000));
    }

    #[test]
    fn cut_up_trains_keep_every_datagram_and_make_no_more_trains() {
        let mut trains = Trains::default();
        (1..=5).for_each(|fill| add(&mut trains, 0, fill, 300));
        add(&mut trains, 0, 6, 10);
        trains.cut_up();
        assert_eq!(
            shapes(&trains).iter().map(|train| train.0).collect::<Vec<_>>(),
            [300, 300, 300, 300, 300, 10]
        );
        (7..=8).for_each(|fill| add(&mut trains, 0, fill, 300));
        assert_eq!((trains.sendings().count(), trains.datagrams()), (8, 8));
        assert!(trains.alone().is_none());
        trains.forget(7);
        assert!(trains.alone().is_some());
    }
}
