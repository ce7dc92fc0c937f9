//! Who holds a listener's connections (P8): so many in all, so many of one address, and so many of
//! one trusted proxy. When the listener is full, the address that holds most of them loses one
//! first.
//!
//! **Invariant:** whoever holds one connection alone loses it to nobody, and a proxy, whose
//! connections are other people's, to nobody either.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::http::limit::Connections;

/// Whose a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Occupant {
    Address(IpAddr),
    Proxy(IpAddr),
}

/// A listener's slots.
pub(super) struct Slots {
    most: usize,
    each: Connections,
    held: Mutex<Occupied>,
}

#[derive(Default)]
struct Occupied {
    count: usize,
    next: u64,
    /// Each occupant's connections, oldest first, with the way to tell that one is lost.
    of: HashMap<Occupant, BTreeMap<u64, oneshot::Sender<()>>>,
}

/// A connection's slot, until it is dropped.
pub(super) struct Slot {
    slots: Arc<Slots>,
    id: u64,
    occupant: Occupant,
}

/// Ends when the slot is lost to somebody else.
pub(super) type Lost = oneshot::Receiver<()>;

impl Slots {
    pub(super) fn new(most: usize, each: Connections) -> Arc<Self> {
        Arc::new(Self {
            most,
            each,
            held: Mutex::default(),
        })
    }

    /// A slot for one more connection, if there is one.
    pub(super) fn take(self: &Arc<Self>, occupant: Occupant) -> Option<(Slot, Lost)> {
        let mut held = self.held();
        let own = held.of(occupant);
        if own >= self.most_of(occupant) {
            return None;
        }
        if held.count >= self.most && !held.drop_of_the_largest(occupant, own) {
            return None;
        }
        let (tell, lost) = oneshot::channel();
        let id = held.next;
        held.next += 1;
        held.count += 1;
        held.of.entry(occupant).or_default().insert(id, tell);
        let slots = Arc::clone(self);
        Some((
            Slot {
                slots,
                id,
                occupant,
            },
            lost,
        ))
    }

    fn most_of(&self, occupant: Occupant) -> usize {
        let most = match occupant {
            Occupant::Address(_) => self.each.address,
            Occupant::Proxy(_) => self.each.proxy,
        };
        most.map_or(usize::MAX, |most| {
            usize::try_from(most.get()).unwrap_or(usize::MAX)
        })
    }

    fn held(&self) -> MutexGuard<'_, Occupied> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Occupied {
    fn of(&self, occupant: Occupant) -> usize {
        self.of.get(&occupant).map_or(0, BTreeMap::len)
    }

    /// Makes room for a connection of `newcomer`, who holds `own`: the oldest of the address that
    /// holds most, if it would then still hold no fewer than the newcomer.
    fn drop_of_the_largest(&mut self, newcomer: Occupant, own: usize) -> bool {
        let own = match newcomer {
            Occupant::Address(_) => own,
            Occupant::Proxy(_) => 0,
        };
        let addresses = self
            .of
            .iter()
            .filter(|(occupant, _)| matches!(occupant, Occupant::Address(_)));
        let largest = addresses.max_by_key(|(_, held)| held.len());
        let Some((largest, oldest)) = largest
            .filter(|(_, held)| held.len() > own + 1)
            .and_then(|(occupant, held)| Some((*occupant, *held.first_key_value()?.0)))
        else {
            return false;
        };
        if let Some(tell) = self.remove(largest, oldest) {
            // If nobody listens, the connection has just ended.
            let _ = tell.send(());
        }
        true
    }

    fn remove(&mut self, occupant: Occupant, id: u64) -> Option<oneshot::Sender<()>> {
        let held = self.of.get_mut(&occupant)?;
        let tell = held.remove(&id)?;
        if held.is_empty() {
            self.of.remove(&occupant);
        }
        self.count -= 1;
        Some(tell)
    }
}

impl Slot {
    /// The connection turns out to be `occupant`'s; whether there is a slot for it.
    pub(super) fn pass_to(&mut self, occupant: Occupant) -> bool {
        let mut held = self.slots.held();
        if held.of(occupant) >= self.slots.most_of(occupant) {
            return false;
        }
        // It may have been lost a moment ago.
        let Some(tell) = held.remove(self.occupant, self.id) else {
            return false;
        };
        held.count += 1;
        held.of.entry(occupant).or_default().insert(self.id, tell);
        drop(held);
        self.occupant = occupant;
        true
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        drop(self.slots.held().remove(self.occupant, self.id));
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn slots(most: usize, address: u32, proxy: u32) -> Arc<Slots> {
        let (address, proxy) = (NonZeroU32::new(address), NonZeroU32::new(proxy));
        Slots::new(most, Connections { address, proxy })
    }

    fn address(n: u8) -> Occupant {
        Occupant::Address([203, 0, 113, n].into())
    }

    fn proxy(n: u8) -> Occupant {
        Occupant::Proxy([10, 0, 0, n].into())
    }

    fn is_lost(taken: &mut (Slot, Lost)) -> bool {
        taken.1.try_recv().is_ok()
    }

    #[test]
    fn one_address_holds_so_many_and_a_proxy_so_many() {
        let slots = slots(100, 2, 3);
        let _one = [
            slots.take(address(1)).unwrap(),
            slots.take(address(1)).unwrap(),
        ];
        assert!(slots.take(address(1)).is_none());
        let _other = slots.take(address(2)).unwrap();
        let mut behind: Vec<_> = (0..3).map(|_| slots.take(proxy(1)).unwrap()).collect();
        assert!(slots.take(proxy(1)).is_none());
        behind.pop();
        assert!(slots.take(proxy(1)).is_some());
    }

    #[test]
    fn the_largest_holder_loses_its_oldest_when_the_listener_is_full() {
        let slots = slots(4, 0, 0);
        let mut flood: Vec<_> = (0..3).map(|_| slots.take(address(1)).unwrap()).collect();
        let mut quiet = slots.take(address(2)).unwrap();
        assert!(slots.take(address(1)).is_none(), "it is the largest itself");
        let _third = slots.take(address(3)).unwrap();
        assert!(is_lost(&mut flood[0]));
        flood.remove(0);
        let _fourth = slots.take(address(4)).unwrap();
        assert!(is_lost(&mut flood[0]));
        flood.remove(0);
        // One each: nobody loses the only one.
        assert!(slots.take(address(5)).is_none());
        assert!(slots.take(proxy(1)).is_none());
        assert!(!is_lost(&mut quiet) && !is_lost(&mut flood[0]));
        drop(quiet);
        assert!(slots.take(address(5)).is_some());
    }

    #[test]
    fn a_proxy_loses_none_to_others() {
        let slots = slots(4, 0, 0);
        let mut behind: Vec<_> = (0..3).map(|_| slots.take(proxy(1)).unwrap()).collect();
        let mut one = slots.take(address(1)).unwrap();
        assert!(slots.take(address(2)).is_none());
        assert!(!behind.iter_mut().any(is_lost) && !is_lost(&mut one));
    }

    /// Behind a load balancer that tells by the PROXY protocol, who is told counts.
    #[test]
    fn a_connection_is_his_for_whom_it_turns_out_to_be() {
        let slots = slots(100, 1, 2);
        let mut first = slots.take(proxy(1)).unwrap();
        assert!(first.0.pass_to(address(1)));
        let mut second = slots.take(proxy(1)).unwrap();
        assert!(!second.0.pass_to(address(1)), "he has one");
        assert!(second.0.pass_to(address(2)));
        let _third = [slots.take(proxy(1)).unwrap(), slots.take(proxy(1)).unwrap()];
        assert!(slots.take(proxy(1)).is_none());
        drop(first);
        assert!(slots.take(address(1)).is_some());
    }

    #[test]
    fn who_was_dropped_frees_no_place_twice() {
        let slots = slots(2, 0, 0);
        let flood = [
            slots.take(address(1)).unwrap(),
            slots.take(address(1)).unwrap(),
        ];
        let _second = slots.take(address(2)).unwrap();
        drop(flood);
        assert_eq!(slots.held().count, 1);
        assert!(slots.take(address(3)).is_some());
    }
}
