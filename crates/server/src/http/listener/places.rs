//! Who holds a listener's connections (P8): so many in all, so many of one address, and so many of one
//! trusted proxy. When the listener is full, the address that holds most of them loses one first.
//!
//! **Invariant:** whoever holds one connection alone loses it to nobody, and a proxy, whose connections are
//! other people's, to nobody either.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::http::limit::Connections;

/// Whose a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Holder {
    Address(IpAddr),
    Proxy(IpAddr),
}

/// A listener's places.
pub(super) struct Places {
    most: usize,
    each: Connections,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    count: usize,
    next: u64,
    /// Each holder's connections, oldest first, with the way to tell that one is lost.
    of: HashMap<Holder, BTreeMap<u64, oneshot::Sender<()>>>,
}

/// A connection's place, until it is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    id: u64,
    holder: Holder,
}

/// Ends when the place is lost to somebody else.
pub(super) type Lost = oneshot::Receiver<()>;

impl Places {
    pub(super) fn new(most: usize, each: Connections) -> Arc<Self> {
        Arc::new(Self {
            most,
            each,
            held: Mutex::default(),
        })
    }

    /// A place for one more connection, if there is one.
    pub(super) fn take(self: &Arc<Self>, holder: Holder) -> Option<(Place, Lost)> {
        let mut held = self.held();
        let own = held.of(holder);
        if own >= self.most_of(holder) {
            return None;
        }
        if held.count >= self.most && !held.drop_of_the_largest(holder, own) {
            return None;
        }
        let (tell, lost) = oneshot::channel();
        let id = held.next;
        held.next += 1;
        held.count += 1;
        held.of.entry(holder).or_default().insert(id, tell);
        let places = Arc::clone(self);
        Some((Place { places, id, holder }, lost))
    }

    fn most_of(&self, holder: Holder) -> usize {
        let most = match holder {
            Holder::Address(_) => self.each.address,
            Holder::Proxy(_) => self.each.proxy,
        };
        most.map_or(usize::MAX, |most| {
            usize::try_from(most.get()).unwrap_or(usize::MAX)
        })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn of(&self, holder: Holder) -> usize {
        self.of.get(&holder).map_or(0, BTreeMap::len)
    }

    /// Makes room for a connection of `newcomer`, who holds `own`: the oldest of the address that holds most,
    /// if it would then still hold no fewer than the newcomer.
    fn drop_of_the_largest(&mut self, newcomer: Holder, own: usize) -> bool {
        let own = match newcomer {
            Holder::Address(_) => own,
            Holder::Proxy(_) => 0,
        };
        let addresses = self
            .of
            .iter()
            .filter(|(holder, _)| matches!(holder, Holder::Address(_)));
        let largest = addresses.max_by_key(|(_, held)| held.len());
        let Some((largest, oldest)) = largest
            .filter(|(_, held)| held.len() > own + 1)
            .and_then(|(holder, held)| Some((*holder, *held.first_key_value()?.0)))
        else {
            return false;
        };
        if let Some(tell) = self.remove(largest, oldest) {
            // If nobody listens, the connection has just ended.
            let _ = tell.send(());
        }
        true
    }

    fn remove(&mut self, holder: Holder, id: u64) -> Option<oneshot::Sender<()>> {
        let held = self.of.get_mut(&holder)?;
        let tell = held.remove(&id)?;
        if held.is_empty() {
            self.of.remove(&holder);
        }
        self.count -= 1;
        Some(tell)
    }
}

impl Place {
    /// The connection turns out to be `holder`'s; whether there is a place for it.
    pub(super) fn pass_to(&mut self, holder: Holder) -> bool {
        let mut held = self.places.held();
        if held.of(holder) >= self.places.most_of(holder) {
            return false;
        }
        // It may have been lost a moment ago.
        let Some(tell) = held.remove(self.holder, self.id) else {
            return false;
        };
        held.count += 1;
        held.of.entry(holder).or_default().insert(self.id, tell);
        drop(held);
        self.holder = holder;
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.places.held().remove(self.holder, self.id));
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn places(most: usize, address: u32, proxy: u32) -> Arc<Places> {
        let (address, proxy) = (NonZeroU32::new(address), NonZeroU32::new(proxy));
        Places::new(most, Connections { address, proxy })
    }

    fn address(n: u8) -> Holder {
        Holder::Address([203, 0, 113, n].into())
    }

    fn proxy(n: u8) -> Holder {
        Holder::Proxy([10, 0, 0, n].into())
    }

    fn is_lost(taken: &mut (Place, Lost)) -> bool {
        taken.1.try_recv().is_ok()
    }

    #[test]
    fn one_address_holds_so_many_and_a_proxy_so_many() {
        let places = places(100, 2, 3);
        let _one = [
            places.take(address(1)).unwrap(),
            places.take(address(1)).unwrap(),
        ];
        assert!(places.take(address(1)).is_none());
        let _other = places.take(address(2)).unwrap();
        let mut behind: Vec<_> = (0..3).map(|_| places.take(proxy(1)).unwrap()).collect();
        assert!(places.take(proxy(1)).is_none());
        behind.pop();
        assert!(places.take(proxy(1)).is_some());
    }

    #[test]
    fn the_largest_holder_loses_its_oldest_when_the_listener_is_full() {
        let places = places(4, 0, 0);
        let mut flood: Vec<_> = (0..3).map(|_| places.take(address(1)).unwrap()).collect();
        let mut quiet = places.take(address(2)).unwrap();
        assert!(
            places.take(address(1)).is_none(),
            "it is the largest itself"
        );
        let _third = places.take(address(3)).unwrap();
        assert!(is_lost(&mut flood[0]));
        flood.remove(0);
        let _fourth = places.take(address(4)).unwrap();
        assert!(is_lost(&mut flood[0]));
        flood.remove(0);
        // One each: nobody loses the only one.
        assert!(places.take(address(5)).is_none());
        assert!(places.take(proxy(1)).is_none());
        assert!(!is_lost(&mut quiet) && !is_lost(&mut flood[0]));
        drop(quiet);
        assert!(places.take(address(5)).is_some());
    }

    #[test]
    fn a_proxy_loses_none_to_others() {
        let places = places(4, 0, 0);
        let mut behind: Vec<_> = (0..3).map(|_| places.take(proxy(1)).unwrap()).collect();
        let mut one = places.take(address(1)).unwrap();
        assert!(places.take(address(2)).is_none());
        assert!(!behind.iter_mut().any(is_lost) && !is_lost(&mut one));
    }

    /// Behind a load balancer that tells by the PROXY protocol, who is told counts.
    #[test]
    fn a_connection_is_his_for_whom_it_turns_out_to_be() {
        let places = places(100, 1, 2);
        let mut first = places.take(proxy(1)).unwrap();
        assert!(first.0.pass_to(address(1)));
        let mut second = places.take(proxy(1)).unwrap();
        assert!(!second.0.pass_to(address(1)), "he has one");
        assert!(second.0.pass_to(address(2)));
        let _third = [
            places.take(proxy(1)).unwrap(),
            places.take(proxy(1)).unwrap(),
        ];
        assert!(places.take(proxy(1)).is_none());
        drop(first);
        assert!(places.take(address(1)).is_some());
    }

    #[test]
    fn who_was_dropped_frees_no_place_twice() {
        let places = places(2, 0, 0);
        let flood = [
            places.take(address(1)).unwrap(),
            places.take(address(1)).unwrap(),
        ];
        let _second = places.take(address(2)).unwrap();
        drop(flood);
        assert_eq!(places.held().count, 1);
        assert!(places.take(address(3)).is_some());
    }
}
