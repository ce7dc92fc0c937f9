//! What nodes tell each other of the calls that they have admitted: rows of an unlogged table,
//! which each node writes for itself and all read.
//!
//! It has a connection of its own: it must wait neither for a commit nor for lookups. No row is
//! written by two nodes, so none waits for another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use cardveil_core::clock::Clock;
use cardveil_core::port::{self, Counters, Error, Heard, NodeId, ROUNDS_KEPT, Told};
use tokio::sync::Mutex;

use super::Postgres;
use super::fault::Fault;
use super::home::Home;
use super::link::Link;
use super::options::Options;
use super::writer::closed;
use crate::sql::value::{Json, Row as _, Value, values};

/// One statement is one transaction: tell, drop what is old, hear.
const EXCHANGE: &str = "
    WITH told AS (
        INSERT INTO counted (node, round, counts) SELECT $1, $2, $3::text WHERE $3::text IS NOT NULL
    ), old AS (
        DELETE FROM counted WHERE node = $1 AND round <= $2 - $4::bigint
    )
    SELECT counted.node, counted.round, counted.counts
    FROM counted LEFT JOIN unnest($5::bytea[], $6::bigint[]) AS heard (node, round)
        ON heard.node = counted.node
    WHERE counted.node <> $1 AND counted.round > coalesce(heard.round, 0)
    ORDER BY counted.node, counted.round";
/// Of processes that have ended.
const FORGET: &str = "DELETE FROM counted WHERE told_at < now() - interval '1 minute'";
/// So often, counted in rounds, is it looked whether there are any.
const FORGET_EVERY: i64 = 300;
const SETTINGS: &str = "SET statement_timeout = '2s'";

pub(super) struct Exchange {
    options: Options,
    home: Arc<Home>,
    clock: Arc<dyn Clock>,
    link: Mutex<Option<Link>>,
    closed: AtomicBool,
}

impl Exchange {
    pub(super) fn new(options: Options, home: Arc<Home>, clock: Arc<dyn Clock>) -> Self {
        Self {
            options,
            home,
            clock,
            link: Mutex::default(),
            closed: AtomicBool::new(false),
        }
    }

    /// A connection that failed, or whose exchange was given up, is not used again.
    async fn run(&self, told: Told, heard: &Heard) -> Result<Vec<Told>, Fault> {
        let mut kept = self.link.lock().await;
        if self.closed.load(Ordering::Relaxed) {
            return Err(Fault::Own(closed()));
        }
        let link = match kept.take().filter(|link| !link.is_closed()) {
            Some(link) => link,
            None => self.connect().await?,
        };
        if told.round % FORGET_EVERY == 0 {
            link.run(FORGET).await?;
        }
        let rounds = exchange(&link, told, heard).await?;
        *kept = Some(link);
        Ok(rounds)
    }

    async fn connect(&self) -> Result<Link, Fault> {
        let link = Link::connect(&self.options).await?;
        self.home.admit(&link, self.clock.now()).await?;
        link.run(SETTINGS).await?;
        link.run(FORGET).await?;
        Ok(link)
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        if let Ok(mut link) = self.link.try_lock() {
            *link = None;
        }
    }
}

async fn exchange(link: &Link, told: Told, heard: &Heard) -> Result<Vec<Told>, Fault> {
    let counts = (!told.counts.is_empty()).then_some(Json(&told.counts));
    let nodes: Value = heard.keys().map(|node| node.0).collect();
    let rounds: Value = heard.values().copied().collect();
    let values = values![told.node.0, told.round, counts, ROUNDS_KEPT, nodes, rounds,];
    let rows = link.query(EXCHANGE, &values).await?;
    let told = rows.iter().map(|row| {
        let Json(counts) = row.get(2)?;
        Ok(Told {
            node: NodeId(row.get(0)?),
            round: row.get(1)?,
            counts,
        })
    });
    told.collect()
}

#[async_trait]
impl Counters for Postgres {
    async fn exchange(&self, told: Told, heard: &Heard) -> port::Result<Option<Vec<Told>>> {
        match self.exchange.run(told, heard).await {
            Ok(told) => Ok(Some(told)),
            // A statement whose answer was lost may have told.
            Err(fault) => Err(match fault.nothing_written() {
                Error::Unavailable(text) => Error::Unknown(text),
                error @ (Error::Unknown(_) | Error::Corrupt(_)) => error,
            }),
        }
    }
}
