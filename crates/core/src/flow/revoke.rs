//! Revoking tokens.

use super::{Fault, Service};
use crate::audit::Source;
use crate::port::Selection;

/// How many tokens are revoked in one commit: redemptions of these wait for it (P8).
const TOGETHER: usize = 500;

impl Service {
    /// Revokes all tokens of a selection that are good for anything; tells how many. Each has its own
    /// record, in the commit that revokes it. Should it end half-way, it can be done again.
    pub async fn revoke(&self, selection: &Selection, source: &Source) -> Result<usize, Fault> {
        let at = self.now();
        let (mut after, mut revoked) = (None, 0);
        loop {
            let tokens = self.store.revocable(selection, at, after, TOGETHER).await?;
            after = tokens.last().copied();
            let more = tokens.len() == TOGETHER;
            if !tokens.is_empty() {
                revoked += self.store.revoke(tokens, at, source.clone()).await?;
            }
            if !more {
                return Ok(revoked);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cardveil_seal::{FileRoot, Keyring, SeededEntropy};

    use super::*;
    use crate::audit::Kind;
    use crate::card::Environment;
    use crate::port::{Admin as _, Audit as _, Tokens as _};
    use crate::testing::sample::{self, START};
    use crate::testing::{ManualClock, Memory};
    use crate::vault::Vault;

    #[tokio::test]
    async fn more_tokens_than_one_commit_takes_are_all_revoked() {
        let folder = tempfile::tempdir().unwrap();
        let entropy = SeededEntropy::new(1);
        let root = FileRoot::create(&folder.path().join("root"), &entropy).unwrap();
        let keys = Keyring::generate(&root, "sandbox", &entropy).unwrap();
        let keyring = Keyring::open(&root, "sandbox", &keys).unwrap();
        let entropy = Arc::new(entropy);
        let vault = Vault::new(keyring, Environment::Sandbox, entropy.clone());
        let store = Arc::new(Memory::default());
        let epoch = store.epoch().await.unwrap();
        let clock = Arc::new(ManualClock::at(START));
        let service = Service::new(store.clone(), Arc::new(vault), clock, entropy);
        let all = Selection::Card(sample::card(1).id);
        let by = sample::operator();
        for (round, count) in [(1, 2 * TOGETHER), (2, 2 * TOGETHER + 1)] {
            for n in 0..count {
                let mut issue = sample::issue(round, START, epoch);
                let [low, high, ..] = n.to_le_bytes();
                issue.record.key.hash.0[..2].copy_from_slice(&[low, high]);
                store.issue(issue).await.unwrap();
            }
            assert_eq!(service.revoke(&all, &by).await.unwrap(), count);
            assert_eq!(service.revoke(&all, &by).await.unwrap(), 0);
        }
        let log = store.entries(0, 10_000).await.unwrap();
        let revoked = log.iter().filter(|it| it.event.kind == Kind::TokenRevoked);
        assert_eq!(revoked.count(), 4 * TOGETHER + 1);
    }
}
