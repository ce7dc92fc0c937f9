//! The courier: takes what is due from the outbox and posts it to its receivers.
//!
//! It decides nothing about what is sent when: that is `cardveil_core::hook`. It wakes when the
//! next delivery is due, when something is queued in this process, and once a round for what other
//! processes queue. Any number of couriers may run on one store.
//!
//! **Invariant:** an attempt ends before its lease does, so one delivery is never on two ways at
//! once.
//!
//! **Invariant:** the log has a delivery's id, its subscription's id, the attempt and how it ended:
//! never a URL, a header, a body or what the receiver said.

mod post;

use std::sync::Arc;
use std::time::Duration;

use cardveil_core::clock::Time;
use cardveil_core::hook::delivery::RETENTION;
use cardveil_core::hook::{Answer, Attempted, State};
use cardveil_core::port::{Due, Take};
use cardveil_core::verb::{Commit, DateDeliveries, ForgetDeliveries};
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::post::Post;
use crate::http::app::App;
use crate::http::chain::Chain;
use crate::http::listener::DRAIN_TIMEOUT;
use crate::http::outward;
pub use crate::http::outward::receiver::{Resolve, SystemResolver, Uncallable, callable};
pub use crate::http::outward::{Authorities, NoTls};
use crate::http::stack::Traceless;

/// What a courier is told.
#[derive(Clone, Debug)]
pub struct Webhooks {
    /// Whether receivers may be at addresses that are not of the public Internet, and without TLS.
    pub allow_private: bool,
    /// Whose certificates of receivers are good, besides those that the system knows.
    pub authorities: Authorities,
    /// How long an attempt may take, from the name's lookup to the answer.
    pub timeout: Duration,
    /// How many deliveries are under way at once.
    pub concurrency: usize,
    /// How many of them go to one subscription.
    pub per_subscription: usize,
    /// How often it looks for what other processes have queued.
    pub round: Duration,
}

impl Default for Webhooks {
    fn default() -> Self {
        Self {
            allow_private: false,
            authorities: Authorities::default(),
            timeout: Duration::from_secs(10),
            concurrency: 16,
            per_subscription: 4,
            round: Duration::from_secs(1),
        }
    }
}

/// How often what arrived long ago is forgotten, and how much at a time.
const FORGET_EVERY: Duration = Duration::from_secs(3_600);
const FORGET_ROWS: usize = 1_000;

/// Takes what is due and posts it.
#[derive(Clone)]
pub struct Courier {
    app: Arc<App>,
    settings: Webhooks,
    post: Arc<Post>,
}

impl Courier {
    /// With the system's root certificates. Without any, deliveries over TLS fail, are kept, and
    /// the log says why.
    pub fn new(
        app: &Arc<App>,
        settings: Webhooks,
        resolver: Arc<dyn Resolve>,
    ) -> Result<Self, NoTls> {
        let post = Post {
            resolver,
            tls: outward::connector(&settings.authorities)?,
            allow_private: settings.allow_private,
            timeout: settings.timeout,
        };
        Ok(Self {
            app: Arc::clone(app),
            settings,
            post: Arc::new(post),
        })
    }

    /// Works until it is told to stop; then finishes what is under way, and returns after
    /// [`DRAIN_TIMEOUT`] at the latest. What is broken off then is sent again once its lease has
    /// ended.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let bell = self.app.service.store().bell();
        let mut under_way = JoinSet::new();
        let mut forget_at = self.app.service.now();
        loop {
            let rung = bell.times();
            let pause = self.round(&mut under_way).await;
            self.forget(&mut forget_at).await;
            tokio::select! {
                () = crate::http::listener::stopped(&mut stop) => break,
                () = bell.heard(rung) => {}
                () = tokio::time::sleep(pause) => {}
                Some(_) = under_way.join_next() => {}
            }
        }
        let ended = async { while under_way.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN_TIMEOUT, ended).await.is_err() {
            let left = under_way.len();
            tracing::warn!(
                webhook.deliveries = left,
                "webhooks were still under way at the end"
            );
        }
    }

    /// Sends what is due, as far as there is room; tells how long nothing else will be.
    async fn round(&self, under_way: &mut JoinSet<()>) -> Duration {
        while under_way.try_join_next().is_some() {}
        match self.take(under_way).await {
            Ok(pause) => pause.min(self.settings.round),
            Err(error) => {
                tracing::error!(error = %Chain(&error), "the outbox could not be read");
                self.settings.round
            }
        }
    }

    async fn take(
        &self,
        under_way: &mut JoinSet<()>,
    ) -> Result<Duration, cardveil_core::port::Error> {
        let store = self.app.service.store();
        let room = self.settings.concurrency.saturating_sub(under_way.len());
        let Some(next) = store.next_due().await? else {
            return Ok(self.settings.round);
        };
        let now = self.app.service.now();
        if next > now {
            let millis = next.millis().saturating_sub(now.millis());
            return Ok(Duration::from_millis(u64::try_from(millis).unwrap_or(0)));
        }
        if room == 0 {
            return Ok(self.settings.round);
        }
        let take = Take {
            now,
            lease_until: now.plus(self.lease()),
            limit: room,
            per_subscription: self.settings.per_subscription,
        };
        for due in store.commit(take).await? {
            let (app, post) = (Arc::clone(&self.app), Arc::clone(&self.post));
            under_way.spawn(Traceless::new(async move {
                // What panics is sent again once its lease has ended.
                let _ = app.run_worker("delivery", deliver(&app, &post, due)).await;
            }));
        }
        Ok(self.settings.round)
    }

    /// Longer than an attempt and its recording can take.
    fn lease(&self) -> Duration {
        self.settings.timeout * 3
    }

    async fn forget(&self, at: &mut Time) {
        let now = self.app.service.now();
        if now < *at && !at.is_ahead_of(now.plus(FORGET_EVERY)) {
            return;
        }
        *at = now.plus(FORGET_EVERY);
        let store = self.app.service.store();
        loop {
            match store
                .commit(DateDeliveries {
                    now,
                    limit: FORGET_ROWS,
                })
                .await
            {
                Ok(FORGET_ROWS) => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::error!(error = %Chain(&error), "deliveries were not dated anew");
                    return;
                }
            }
        }
        loop {
            match store
                .commit(ForgetDeliveries {
                    before: now.minus(RETENTION),
                    limit: FORGET_ROWS,
                })
                .await
            {
                Ok(FORGET_ROWS) => {}
                Ok(_) => return,
                Err(error) => {
                    tracing::error!(error = %Chain(&error), "old deliveries were not forgotten");
                    return;
                }
            }
        }
    }
}

/// One attempt, and its record.
async fn deliver(app: &App, post: &Post, due: Due) {
    let Some(lease) = due.delivery.leased_until else {
        return;
    };
    let subscription = &due.subscription;
    let answer = match app.service.message(&due).await {
        Ok(Ok(message)) => {
            post.send(subscription.form, &subscription.url, &message)
                .await
        }
        Ok(Err(answer)) => answer,
        Err(fault) => {
            tracing::error!(error = %Chain(&fault), webhook.delivery = %due.delivery.id, "a message could not be made");
            Answer::Unprepared
        }
    };
    let attempted = Attempted {
        delivery: due.delivery.id,
        lease,
        at: app.service.now(),
        form: subscription.form,
        answer,
    };
    let recorded = app.service.store().commit(attempted).await;
    let state = match &recorded {
        Ok(row) => row.as_ref().map(|row| row.state),
        Err(error) => {
            // The lease ends, and it is sent again.
            tracing::error!(error = %Chain(error), webhook.delivery = %due.delivery.id, "an attempt could not be recorded");
            None
        }
    };
    count(app, state);
    tracing::info!(
        webhook.subscription = %subscription.id,
        webhook.delivery = %due.delivery.id,
        webhook.attempt = due.delivery.attempts.saturating_add(1),
        webhook.answer = %answer,
        webhook.state = state.map_or("unknown", State::as_str),
        "a webhook was sent"
    );
}

fn count(app: &App, state: Option<State>) {
    match state {
        Some(State::Delivered(_)) => app.metrics.webhooks_delivered.increment(),
        Some(State::Failed(_)) => {
            app.metrics.webhook_attempts_failed.increment();
            app.metrics.webhooks_given_up.increment();
        }
        Some(State::Waiting) => app.metrics.webhook_attempts_failed.increment(),
        None => {}
    }
}
