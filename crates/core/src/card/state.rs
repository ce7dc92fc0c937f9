//! The states of a card and which of them follow which.
//!
//! **Invariant:** there is no way out of a final state, and no state changes but along
//! [`State::next`].

use crate::named;

named! {
    /// A card's state: what KeySecure's and Equals' states have in common, each named once.
    pub enum State {
        /// Being made. KeySecure `Pending`.
        Pending = "pending",
        /// Made and not yet activated. KeySecure `ToActivate`, Equals `UNACTIVATED`.
        Unactivated = "unactivated",
        /// In use. KeySecure `Activated`, Equals `ACTIVE`.
        Active = "active",
        /// Stopped for now. KeySecure `Frozen`, Equals `SUSPENDED`.
        Suspended = "suspended",
        /// Another card has taken its place. Equals `REPLACED`.
        Replaced = "replaced",
        /// Ended for good. KeySecure `Delete`, Equals `TERMINATED`.
        Terminated = "terminated",
        /// Could not be made. KeySecure `Fail`.
        Failed = "failed",
    }
}

impl State {
    /// The states that may follow it; none when it is final (Equals, "About card states": a
    /// terminated card stays so; KeySecure: card/status/update).
    pub const fn next(self) -> &'static [Self] {
        match self {
            Self::Pending => &[
                Self::Unactivated,
                Self::Active,
                Self::Failed,
                Self::Terminated,
            ],
            Self::Unactivated => &[Self::Active, Self::Terminated],
            Self::Active => &[Self::Suspended, Self::Replaced, Self::Terminated],
            Self::Suspended => &[Self::Active, Self::Replaced, Self::Terminated],
            Self::Replaced => &[Self::Terminated],
            Self::Terminated | Self::Failed => &[],
        }
    }

    /// Whether `to` may follow it.
    pub fn leads_to(self, to: Self) -> bool {
        self.next().contains(&to)
    }

    /// Whether nothing follows it.
    pub const fn is_final(self) -> bool {
        self.next().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    /// What each state may become, written down a second time, whole.
    #[test]
    fn the_machine_has_these_steps_and_no_others() {
        let steps: Vec<_> = State::ALL
            .into_iter()
            .flat_map(|from| State::ALL.map(|to| (from, to)))
            .filter(|(from, to)| from.leads_to(*to))
            .map(|(from, to)| format!("{} -> {}", from.as_str(), to.as_str()))
            .collect();
        let expected = "pending -> unactivated, pending -> active, pending -> terminated, \
             pending -> failed, unactivated -> active, unactivated -> terminated, \
             active -> suspended, active -> replaced, active -> terminated, \
             suspended -> active, suspended -> replaced, suspended -> terminated, \
             replaced -> terminated";
        assert_eq!(steps.join(", "), expected);
        let last: Vec<_> = State::ALL.into_iter().filter(|s| s.is_final()).collect();
        assert_eq!(last, [State::Terminated, State::Failed]);
    }

    #[test]
    fn a_state_is_read_by_its_name() {
        for state in State::ALL {
            assert_eq!(State::parse(state.as_str()), Some(state));
        }
        assert_eq!(State::parse("ACTIVE"), None);
    }

    proptest! {
        /// Whatever is asked, a card comes to rest, and stays there.
        #[test]
        fn no_path_leads_out_of_a_final_state(
            start in select(State::ALL.to_vec()),
            asked in prop::collection::vec(select(State::ALL.to_vec()), 0..40),
        ) {
            let mut state = start;
            let mut rested = state.is_final().then_some(state);
            for to in asked {
                if state.leads_to(to) {
                    state = to;
                }
                if let Some(rest) = rested {
                    prop_assert_eq!(state, rest);
                }
                rested = state.is_final().then_some(state);
            }
        }
    }
}
