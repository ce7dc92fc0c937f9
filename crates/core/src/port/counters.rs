//! Calls that nodes of a deployment have admitted, which the others count too.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::Result;

/// How many rounds of each node are kept: those who are further behind begin anew.
pub const ROUNDS_KEPT: i64 = 16;

/// One running process. Random, so that one which starts again is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId(pub [u8; 16]);

/// How many calls of one caller a node has admitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// The name of the limit. A node passes over names that it does not know: another may be newer.
    pub limit: Box<str>,
    /// Whose calls, in the words of that limit.
    pub caller: Box<str>,
    /// How many.
    pub calls: u32,
}

/// What a node has admitted since it told the last time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Who tells.
    pub node: NodeId,
    /// From 1 on, and always more.
    pub round: i64,
    /// What it tells; nothing is not kept.
    pub counts: Vec<Count>,
}

/// The last round that was heard of each node.
pub type Heard = BTreeMap<NodeId, i64>;

/// What nodes tell each other for their rate limits. It is the one verb that promises neither to be
/// durable nor to be audited: what is lost here makes a limit wider for a moment and decides
/// nothing else. The stores of several nodes keep it where it costs no sync.
///
/// It knows no time, so that nodes need not agree on it: what is heard counts when it is heard.
#[async_trait]
pub trait Counters: Send + Sync {
    /// Keeps what a node tells, as one of its last [`ROUNDS_KEPT`] rounds, and returns the rounds
    /// of the other nodes after those that it has heard, in the order of nodes and rounds. `None`
    /// from a store that only one node can use: then there is nobody to ask again.
    async fn exchange(&self, told: Told, heard: &Heard) -> Result<Option<Vec<Told>>>;
}
