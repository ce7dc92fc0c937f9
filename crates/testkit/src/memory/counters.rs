//! What nodes tell each other, in memory.

use async_trait::async_trait;

use super::Memory;
use cardveil_core::port::{Counters, Heard, ROUNDS_KEPT, Result, Told};

#[async_trait]
impl Counters for Memory {
    async fn exchange(&self, told: Told, heard: &Heard) -> Result<Option<Vec<Told>>> {
        let mut inner = self.inner();
        let (node, round) = (told.node, told.round);
        if !told.counts.is_empty() {
            inner.told.insert((node, round), told);
        }
        inner
            .told
            .retain(|(of, at), _| *of != node || *at > round - ROUNDS_KEPT);
        let new = inner.told.values().filter(|told| {
            told.node != node && told.round > heard.get(&told.node).copied().unwrap_or(0)
        });
        Ok(Some(new.cloned().collect()))
    }
}
