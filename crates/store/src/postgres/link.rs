//! Connections: their settings, what is checked before one serves, and how statements are sent.
//!
//! **Invariant:** no connection serves before the server behind it was compared with the one that
//! the epoch is of ([`super::home`]).

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cardveil_core::port::Error;
use tokio_postgres::tls::{MakeTlsConnect, TlsStream};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Connection, NoTls, SimpleQueryMessage, Socket, Statement};

use super::fault::{Fault, describe};
use super::options::Options;
use super::row::Row;
use crate::sql::value::Value;

/// After this a statement counts as lost, and its connection with it.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(12);
/// How many statements a connection keeps prepared.
const STATEMENTS_CACHED: usize = 256;

/// What holds for all sessions: a commit is answered once it is on disk (and on the standbys that
/// the server waits for), whatever the database's default; nothing waits for ever; names are ours.
const SETTINGS: &str = "
    SET search_path = cardveil;
    SELECT set_config('synchronous_commit', CASE current_setting('synchronous_commit')
        WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false);
    SET default_transaction_isolation = 'read committed';
    SET lock_timeout = '6s';
    SET idle_in_transaction_session_timeout = '5s';
    SET client_min_messages = 'warning';
    SET timezone = 'UTC'";

/// A statement that was sent and not yet answered.
pub(super) type Sent = Pin<Box<dyn Future<Output = Result<u64, tokio_postgres::Error>> + Send>>;

pub(super) struct Link {
    client: Arc<Client>,
    answer_within: Duration,
    statements: Mutex<HashMap<String, Statement>>,
}

impl Link {
    /// Connects. The connection lives as long as this runtime.
    pub(super) async fn connect(options: &Options) -> Result<Self, Fault> {
        let link = Self::bare(options).await?;
        link.run(SETTINGS).await?;
        Ok(link)
    }

    /// Without our settings: who looks whether there is a session that would keep them.
    pub(super) async fn bare(options: &Options) -> Result<Self, Fault> {
        let (config, tls) = options.read().map_err(Fault::Connection)?;
        let client = match tls {
            Some(tls) => Box::pin(open(&config, tls.connector())).await?,
            None => Box::pin(open(&config, NoTls)).await?,
        };
        Ok(Self {
            client: Arc::new(client),
            answer_within: ANSWER_WITHIN,
            statements: Mutex::default(),
        })
    }

    /// For what an operator waits for: statements take as long as they take. A server that is gone
    /// is noticed by TCP, and one that hangs by the operator.
    pub(super) async fn patient(options: &Options) -> Result<Self, Fault> {
        let link = Self::connect(options).await?;
        link.run("SET statement_timeout = 0").await?;
        Ok(Self {
            answer_within: Duration::MAX,
            ..link
        })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Runs statements without parameters.
    pub(super) async fn run(&self, sql: &str) -> Result<(), Fault> {
        within(self.answer_within, self.client.batch_execute(sql)).await
    }

    /// The one word that a statement answers, which is sent without being prepared.
    pub(super) async fn word(&self, sql: &str) -> Result<String, Fault> {
        let answered = within(self.answer_within, self.client.simple_query(sql)).await?;
        let word = answered.iter().find_map(|message| {
            let SimpleQueryMessage::Row(row) = message else {
                return None;
            };
            row.get(0).map(str::to_owned)
        });
        word.ok_or_else(|| Fault::Connection("the server does not say a word".into()))
    }

    /// Ends a transaction that is not looked up when the answer is lost.
    pub(super) async fn commit(&self) -> Result<(), Error> {
        match self.run("COMMIT").await {
            Ok(()) => Ok(()),
            Err(fault) if fault.is_a_refusal() => Err(fault.nothing_written()),
            Err(Fault::Postgres(error)) => Err(Error::Unknown(describe(&error))),
            Err(Fault::Connection(text)) => Err(Error::Unknown(text)),
            Err(fault @ (Fault::Stale | Fault::Unfit(_) | Fault::Own(_))) => {
                Err(fault.nothing_written())
            }
        }
    }

    pub(super) async fn query(&self, sql: &str, values: &[Value]) -> Result<Vec<Row>, Fault> {
        let statement = self.statement(sql).await?;
        let values = references(values);
        let rows = within(self.answer_within, self.client.query(&statement, &values)).await?;
        Ok(rows.into_iter().map(Row).collect())
    }

    pub(super) async fn execute(&self, sql: &str, values: &[Value]) -> Result<u64, Fault> {
        let statement = self.statement(sql).await?;
        let values = references(values);
        within(self.answer_within, self.client.execute(&statement, &values)).await
    }

    /// Makes a statement ready to be sent: it is when what is returned is first polled.
    pub(super) async fn prepare(&self, sql: &str, values: Vec<Value>) -> Result<Sent, Fault> {
        let statement = self.statement(sql).await?;
        let client = Arc::clone(&self.client);
        Ok(Box::pin(async move {
            client.execute(&statement, &references(&values)).await
        }))
    }

    /// A statement without parameters, ready to be sent as [`prepare`](Self::prepare) has it.
    pub(super) fn ready(&self, sql: &'static str) -> Sent {
        let client = Arc::clone(&self.client);
        Box::pin(async move { client.batch_execute(sql).await.map(|()| 0) })
    }

    async fn statement(&self, sql: &str) -> Result<Statement, Fault> {
        let known = self.statements().get(sql).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = within(self.answer_within, self.client.prepare(sql)).await?;
        let mut statements = self.statements();
        if statements.len() < STATEMENTS_CACHED {
            statements.insert(sql.to_owned(), statement.clone());
        }
        Ok(statement)
    }

    fn statements(&self) -> MutexGuard<'_, HashMap<String, Statement>> {
        self.statements
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// One way for all: whether there is TLS is in the configuration's `ssl_mode` too.
async fn open<T>(config: &Config, tls: T) -> Result<Client, Fault>
where
    T: MakeTlsConnect<Socket, Stream: Send + 'static>,
{
    let connected = within(ANSWER_WITHIN, config.connect(tls)).await;
    let (client, connection) = connected.map_err(no_way)?;
    tokio::spawn(drive(connection));
    Ok(client)
}

async fn drive<S: TlsStream + Unpin>(connection: Connection<Socket, S>) {
    if let Err(error) = connection.await {
        tracing::debug!(error = describe(&error), "a connection has ended");
    }
}

/// Without the server's own words it is about the way there: another attempt may do better.
fn no_way(fault: Fault) -> Fault {
    match fault {
        Fault::Postgres(error) if error.code().is_none() => Fault::Connection(describe(&error)),
        Fault::Postgres(_)
        | Fault::Connection(_)
        | Fault::Stale
        | Fault::Unfit(_)
        | Fault::Own(_) => fault,
    }
}

pub(super) async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Fault> {
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Fault::Connection("the server does not answer".into())),
    }
}

fn references(values: &[Value]) -> Vec<&(dyn ToSql + Sync)> {
    values
        .iter()
        .map(|value| value as &(dyn ToSql + Sync))
        .collect()
}
