//! `cardveil webhook`: who is told of what, what is on its way, and once more.

use std::io::BufRead as _;
use std::path::Path;

use anyhow::Context as _;
use cardveil_core::Time;
use cardveil_core::audit::Topic;
use cardveil_core::flow::{NewSubscription, Replay, SubscriptionChange, SubscriptionRefusal};
use cardveil_core::hook::{Delivery, Endpoint, Form, Subscription};
use cardveil_core::id::{AccountId, DeliveryId, MerchantId, SubscriptionId};
use cardveil_core::port::DeliveryFilter;
use cardveil_seal::Secret;
use cardveil_server::courier::callable;
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use serde_json::json;

use crate::deployment::{Deployment, operator};
use crate::print::Yes;
use crate::print::{self, hinted, say};

/// How many deliveries are read at a time.
const PAGE: usize = 1_000;

#[derive(Subcommand)]
pub(crate) enum WebhookCommand {
    /// Add a subscription; its secret is read from stdin
    Add(AddArgs),
    /// List all
    List,
    /// Show one
    Show { id: SubscriptionId },
    /// Change one
    Set {
        id: SubscriptionId,
        /// Where messages go
        #[arg(long)]
        url: Option<Endpoint>,
        /// What it is told of, in place of what was set; repeat for several
        #[arg(long = "topic", value_parser = topic)]
        topics: Vec<Topic>,
        /// Put it into or out of use
        #[arg(long)]
        enabled: Option<bool>,
        /// Read a new secret from stdin
        #[arg(long)]
        secret_stdin: bool,
    },
    /// Remove one, with all that waits for it
    Remove {
        id: SubscriptionId,
        #[command(flatten)]
        yes: Yes,
    },
    /// List what is on its way, what arrived and what was given up
    Deliveries {
        /// In this state
        #[arg(long, value_enum)]
        state: Option<StateArg>,
        /// To this subscription
        #[arg(long)]
        subscription: Option<SubscriptionId>,
    },
    /// Send again: one delivery, or all to a subscription since a moment
    Replay {
        /// The one
        #[arg(
            required_unless_present = "subscription",
            conflicts_with = "subscription"
        )]
        delivery: Option<DeliveryId>,
        /// All to this subscription
        #[arg(long, requires = "since")]
        subscription: Option<SubscriptionId>,
        /// Of events that happened at or after this moment (RFC 3339)
        #[arg(long, value_parser = crate::command::time, requires = "subscription")]
        since: Option<Time>,
    },
}

#[derive(Args)]
pub(crate) struct AddArgs {
    /// Of which merchant
    #[arg(long)]
    merchant: MerchantId,
    /// Where messages go
    #[arg(long)]
    url: Endpoint,
    /// What messages look like. For keysecure the Api-Key is read from stdin
    #[arg(long, value_enum, default_value = "standard")]
    form: FormArg,
    /// What it is told of; repeat for several
    #[arg(long = "topic", value_parser = topic, default_value = "card.state")]
    topics: Vec<Topic>,
    /// Only of this account's cards
    #[arg(long)]
    account: Option<AccountId>,
    /// Read its secret from stdin: whsec_..., or a text of Equals' receivers
    #[arg(long)]
    secret_stdin: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum FormArg {
    Standard,
    Equals,
    Keysecure,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum StateArg {
    Waiting,
    Delivered,
    Failed,
}

fn topic(text: &str) -> Result<Topic, String> {
    let names = Topic::ALL.map(Topic::as_str).join(", ");
    Topic::parse(text).ok_or_else(|| format!("give one of {names}"))
}

/// A subscription as it may be shown: without its secrets.
#[derive(Serialize)]
struct View<'a> {
    id: SubscriptionId,
    merchant: &'a MerchantId,
    form: Form,
    url: &'a str,
    topics: &'a [Topic],
    account: Option<&'a AccountId>,
    enabled: bool,
    created_at: String,
    updated_at: String,
    /// What signs, when it was made now: shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

impl<'a> From<&'a Subscription> for View<'a> {
    fn from(known: &'a Subscription) -> Self {
        Self {
            id: known.id,
            merchant: &known.merchant,
            form: known.form,
            url: known.url.as_str(),
            topics: &known.topics,
            account: known.account.as_ref(),
            enabled: known.enabled,
            created_at: known.created_at.to_string(),
            updated_at: known.updated_at.to_string(),
            secret: None,
        }
    }
}

#[derive(Serialize)]
struct DeliveryView {
    id: DeliveryId,
    subscription: SubscriptionId,
    topic: &'static str,
    line: String,
    event: i64,
    state: &'static str,
    attempts: u32,
    queued_at: String,
    due_at: Option<String>,
    last: Option<String>,
}

impl From<&Delivery> for DeliveryView {
    fn from(known: &Delivery) -> Self {
        let waits = known.state.ended_at().is_none();
        Self {
            id: known.id,
            subscription: known.subscription,
            topic: known.topic.as_str(),
            line: known.line.to_string(),
            event: known.seq,
            state: known.state.as_str(),
            attempts: known.attempts,
            queued_at: known.queued_at.to_string(),
            due_at: waits.then(|| known.due_at.to_string()),
            last: known
                .last
                .map(|tried| format!("{}: {}", tried.at, tried.answer)),
        }
    }
}

/// `cardveil webhook`.
pub(crate) async fn run(config: &Path, command: WebhookCommand) -> anyhow::Result<()> {
    let deployment = Deployment::load(config).await?;
    match command {
        WebhookCommand::Add(args) => add(&deployment, args).await,
        WebhookCommand::List => {
            let all = deployment.store.subscriptions(None).await?;
            deployment.tell_left_out();
            let views: Vec<_> = all.iter().map(View::from).collect();
            let columns = ["id", "merchant", "form", "url", "topics", "enabled"];
            print::list(&views, &columns)
        }
        WebhookCommand::Show { id } => print::fields(&View::from(&find(&deployment, id).await?)),
        WebhookCommand::Set {
            id,
            url,
            topics,
            enabled,
            secret_stdin,
        } => {
            let known = find(&deployment, id).await?;
            if let Some(url) = &url {
                check_url(&deployment, url)?;
            }
            let asked = SubscriptionChange {
                url,
                topics: Some(topics).filter(|topics| !topics.is_empty()),
                enabled,
                secret: read_secret(secret_stdin)?.map(Some),
                ..SubscriptionChange::default()
            };
            let set = deployment
                .service
                .set_subscription(&known.merchant, id, asked, &operator())
                .await?;
            print::done(&View::from(&set.map_err(refused)?))
        }
        WebhookCommand::Remove { id, yes } => {
            let known = find(&deployment, id).await?;
            yes.confirm(&format!(
                "The subscription {id} of {} is removed, with all that waits for it.",
                known.merchant
            ))?;
            let removed = deployment
                .service
                .unsubscribe(&known.merchant, id, &operator())
                .await?;
            removed.map_err(refused)?;
            print::done(&json!({ "removed": id }))
        }
        WebhookCommand::Deliveries {
            state,
            subscription,
        } => deliveries(&deployment, state, subscription).await,
        WebhookCommand::Replay {
            delivery,
            subscription,
            since,
        } => replay(&deployment, delivery, subscription.zip(since)).await,
    }
}

async fn add(deployment: &Deployment, args: AddArgs) -> anyhow::Result<()> {
    check_url(deployment, &args.url)?;
    let form = match args.form {
        FormArg::Standard => Form::Standard,
        FormArg::Equals => Form::Equals,
        FormArg::Keysecure => Form::KeySecure,
    };
    let new = NewSubscription {
        merchant: args.merchant,
        account: args.account,
        form,
        url: args.url,
        topics: args.topics,
        enabled: true,
        secret: read_secret(args.secret_stdin || form == Form::KeySecure)?,
        authorization: None,
    };
    let added = deployment.service.subscribe(new, &operator()).await?;
    let added = added.map_err(refused)?;
    let made = added.made.as_ref().map(Secret::expose);
    let view = View {
        secret: made.map(|secret| String::from_utf8_lossy(secret).into_owned()),
        ..View::from(&added.subscription)
    };
    print::fields(&view)
}

async fn find(deployment: &Deployment, id: SubscriptionId) -> anyhow::Result<Subscription> {
    let found = deployment.store.subscription(id).await?;
    found.ok_or_else(|| {
        hinted(
            "there is no such subscription",
            "see `cardveil webhook list`",
        )
    })
}

fn check_url(deployment: &Deployment, url: &Endpoint) -> anyhow::Result<()> {
    callable(url, deployment.config.webhooks.allow_private).map_err(|why| {
        hinted(
            format!("the URL {why}"),
            "give another, or set webhooks.allow_private for receivers of your own network",
        )
    })
}

/// The first line of stdin, so that no secret is in the list of processes.
fn read_secret(wanted: bool) -> anyhow::Result<Option<Secret>> {
    if !wanted {
        return Ok(None);
    }
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .context("cannot read the secret from stdin")?;
    let text = line.trim_end_matches(['\r', '\n']).as_bytes().to_vec();
    Ok(Some(Secret::new(text)))
}

fn refused(refusal: SubscriptionRefusal) -> anyhow::Error {
    let hint = match refusal {
        SubscriptionRefusal::TooMany => "remove one first",
        SubscriptionRefusal::Unknown => "see `cardveil merchant list` and `cardveil webhook list`",
        SubscriptionRefusal::Topics => "keysecure has messages for card.state alone",
        SubscriptionRefusal::Secret => "leave --secret-stdin out, and one is made",
        SubscriptionRefusal::Account => "see numbering.own in `cardveil help configuration`",
        // Cannot be: operators may have any topic.
        SubscriptionRefusal::Scope => "give the credential mfa:codes",
        SubscriptionRefusal::ApiKey => "give the merchant's Api-Key on stdin",
    };
    hinted(refusal.to_string(), hint)
}

async fn deliveries(
    deployment: &Deployment,
    state: Option<StateArg>,
    subscription: Option<SubscriptionId>,
) -> anyhow::Result<()> {
    let filter = DeliveryFilter {
        subscription,
        state: state.map(|state| match state {
            StateArg::Waiting => "waiting",
            StateArg::Delivered => "delivered",
            StateArg::Failed => "failed",
        }),
        ..DeliveryFilter::default()
    };
    let (mut list, mut rows) = (print::List::new(), Vec::new());
    let mut after = None;
    loop {
        let page = deployment.store.deliveries(&filter, after, PAGE).await?;
        after = page.last().map(|last| (last.seq, last.id));
        let more = page.len() == PAGE;
        for delivery in page.iter().map(DeliveryView::from) {
            list.add(&delivery, |delivery| {
                rows.push(serde_json::to_value(delivery)?);
                Ok(())
            })?;
        }
        if !more {
            break;
        }
    }
    let columns = ["id", "topic", "line", "state", "attempts", "due_at", "last"];
    list.end(|| print::table(&rows, &columns))
}

async fn replay(
    deployment: &Deployment,
    delivery: Option<DeliveryId>,
    since: Option<(SubscriptionId, Time)>,
) -> anyhow::Result<()> {
    let selection = match (delivery, since) {
        (Some(id), _) => Replay::One(id),
        (None, Some((subscription, since))) => Replay::Since(subscription, since),
        (None, None) => {
            return Err(hinted(
                "nothing is chosen",
                "name a delivery, or give --subscription and --since",
            ));
        }
    };
    match deployment.service.replay(selection, &operator()).await? {
        0 => Err(hinted(
            "there is no such delivery",
            "see `cardveil webhook deliveries`",
        )),
        count => {
            say(&format!("queued {count} once more"));
            print::done(&json!({ "queued": count }))
        }
    }
}
