//! `cardveil card`: add, list, show, set, import. No command prints a card number (PCI DSS 3.4.2).

mod import;

use std::path::Path;
use std::process::ExitCode;

use cardveil_core::card::{
    Card, CardRef, Changed, InvalidText, Reason, Removal, Removed, State, Transition,
};
use cardveil_core::id::{AccountId, CardId, CardNo, MerchantId, PersonId};
use cardveil_core::port::{CardFilter, Order, Paging};
use cardveil_core::text::CardNumberIn;
use cardveil_core::verb::Commit;
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;

use crate::deployment::{Deployment, operator};
use crate::deployment::{missing, refused};
use crate::print::Yes;
use crate::print::{self, hinted, say};

#[derive(Subcommand)]
pub(crate) enum CardCommand {
    /// Add one; it is read as one JSON object from standard input, so that no number is in the
    /// shell's history
    Add {
        /// Of which merchant
        #[arg(long)]
        merchant: MerchantId,
    },
    /// Add many from a CSV or JSON lines file; `-` reads standard input
    Import(import::Args),
    /// List cards
    List(ListArgs),
    /// Delete one that has ended, with the keys of its fields
    Remove {
        card_no: CardNo,
        /// Of which merchant
        #[arg(long)]
        merchant: MerchantId,
        #[command(flatten)]
        yes: Yes,
    },
    /// Show one
    Show {
        #[arg(required_unless_present = "card_id")]
        card_no: Option<CardNo>,
        /// By its id, as events and the audit log name it
        #[arg(long, conflicts_with = "card_no")]
        card_id: Option<CardId>,
        /// Of which merchant
        #[arg(long)]
        merchant: MerchantId,
    },
    /// Change one's state, along the steps that there are
    Set {
        card_no: CardNo,
        /// Of which merchant
        #[arg(long)]
        merchant: MerchantId,
        /// pending, unactivated, active, suspended, replaced, terminated or failed
        #[arg(long, value_parser = state)]
        state: State,
        /// Why, for the audit log; no card number
        #[arg(long, value_parser = reason)]
        reason: Option<Reason>,
        #[command(flatten)]
        yes: Yes,
    },
}

#[derive(Args)]
pub(crate) struct ListArgs {
    /// Of this merchant only
    #[arg(long)]
    merchant: Option<MerchantId>,
    /// In this state only; may be given several times
    #[arg(long, value_parser = state)]
    state: Vec<State>,
    /// Of this account only
    #[arg(long)]
    account: Option<AccountId>,
    /// Of this person only
    #[arg(long)]
    person: Option<PersonId>,
    /// With this text in the label, or with these last four digits
    #[arg(long)]
    search: Option<String>,
    /// The newest first
    #[arg(long)]
    newest: bool,
    /// Skip so many
    #[arg(long, default_value_t = 0)]
    offset: usize,
    /// At most so many
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

fn state(text: &str) -> Result<State, String> {
    State::parse(text).ok_or_else(|| {
        let names = State::ALL.map(State::as_str).join(", ");
        format!("must be one of {names}")
    })
}

fn own_numbers(wrong: CardNumberIn) -> anyhow::Error {
    let hint = "a card number belongs into pan alone; an issuer whose own numbers look so names the field \
                in numbering.own";
    hinted(wrong.to_string(), hint)
}

fn reason(text: &str) -> Result<Reason, InvalidText> {
    Reason::parse(text)
}

/// A card as it may be shown.
#[derive(Serialize)]
pub(crate) struct CardView {
    card_no: String,
    card_id: String,
    merchant: String,
    account_id: String,
    person_id: String,
    r#type: &'static str,
    state: &'static str,
    network: &'static str,
    last_four: String,
    label: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    product: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    card_unique_no: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cardholder_no: Option<String>,
    has_cvv: bool,
    created_at: String,
    updated_at: String,
}

impl From<&Card> for CardView {
    fn from(card: &Card) -> Self {
        Self {
            card_no: card.no.to_string(),
            card_id: card.id.to_string(),
            merchant: card.merchant.to_string(),
            account_id: card.account.to_string(),
            person_id: card.person.to_string(),
            r#type: card.kind.as_str(),
            state: card.state.as_str(),
            network: card.network.as_str(),
            last_four: card.last_four.as_str().to_owned(),
            label: card.label.clone(),
            product: card.attributes.product.clone(),
            card_unique_no: card.attributes.unique_no.clone(),
            cardholder_no: card.attributes.holder_no.clone(),
            has_cvv: card.sealed.cvv.is_some(),
            created_at: card.created_at.to_string(),
            updated_at: card.updated_at.to_string(),
        }
    }
}

/// `cardveil card`.
pub(crate) async fn run(config: &Path, command: CardCommand) -> anyhow::Result<ExitCode> {
    let deployment = Deployment::load(config).await?;
    match command {
        CardCommand::Import(args) => return import::run(&deployment, args).await,
        CardCommand::Add { merchant } => {
            let new = import::one_from_stdin(&deployment, &merchant)?;
            let (no, merchant) = (new.no.clone(), new.merchant.clone());
            let (change, event) = deployment
                .service
                .card_change(new, &operator())?
                .map_err(own_numbers)?;
            deployment
                .service
                .change(change, event)
                .await?
                .map_err(refused)?;
            let card = find(&deployment, &merchant, &CardRef::No(no)).await?;
            print::fields(&CardView::from(&card))?;
        }
        CardCommand::List(args) => list(&deployment, args).await?,
        CardCommand::Show {
            card_no,
            card_id,
            merchant,
        } => {
            let card = card_no
                .map(CardRef::No)
                .or_else(|| card_id.map(CardRef::Id));
            let card = card.ok_or_else(|| missing("card"))?;
            let card = find(&deployment, &merchant, &card).await?;
            print::fields(&CardView::from(&card))?;
        }
        CardCommand::Remove {
            card_no,
            merchant,
            yes,
        } => {
            yes.confirm(&format!(
                "The card {card_no} of {merchant} is deleted, with its keys, its PIN and its wallet tokens."
            ))?;
            remove(&deployment, merchant, card_no).await?;
        }
        CardCommand::Set {
            card_no,
            merchant,
            state,
            reason,
            yes,
        } => {
            if state.is_final() {
                let state = state.as_str();
                yes.confirm(&format!(
                    "The card {card_no} of {merchant} is {state} for good."
                ))?;
            }
            set(&deployment, merchant, card_no, state, reason).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(deployment: &Deployment, args: ListArgs) -> anyhow::Result<()> {
    let filter = CardFilter {
        merchant: args.merchant,
        person: args.person,
        account: args.account,
        states: args.state,
        search: args.search,
        ..CardFilter::default()
    };
    let paging = Paging {
        order: if args.newest {
            Order::NewestFirst
        } else {
            Order::OldestFirst
        },
        offset: args.offset,
        limit: args.limit,
        ..Paging::default()
    };
    let page = deployment.store.list_cards(&filter, paging).await?;
    deployment.tell_left_out();
    let views: Vec<_> = page.cards.iter().map(CardView::from).collect();
    let columns = [
        "card_no",
        "merchant",
        "type",
        "state",
        "network",
        "last_four",
        "label",
    ];
    print::list(&views, &columns)?;
    if page.next.is_some() && page.cards.len() == args.limit {
        say(&format!(
            "there may be more: --offset {}",
            args.offset + args.limit
        ));
    }
    Ok(())
}

async fn remove(deployment: &Deployment, merchant: MerchantId, no: CardNo) -> anyhow::Result<()> {
    let removal = Removal {
        merchant,
        card: CardRef::No(no.clone()),
        why: "by an operator",
        at: deployment.service.now(),
        source: operator(),
    };
    match deployment.store.commit(removal).await? {
        Removed::Done => print::done(&json!({ "removed": no })),
        Removed::Refused(state) => Err(hinted(
            format!("a card that is {} is not removed", state.as_str()),
            "end it first: `cardveil card set ... --state terminated`, and let its merchant be told",
        )),
        Removed::Unknown => Err(missing("card")),
    }
}

async fn set(
    deployment: &Deployment,
    merchant: MerchantId,
    no: CardNo,
    to: State,
    reason: Option<Reason>,
) -> anyhow::Result<()> {
    let card = CardRef::No(no);
    let transition = Transition {
        merchant: merchant.clone(),
        card: card.clone(),
        to,
        from: None,
        reason,
        at: deployment.service.now(),
        source: operator(),
    };
    match deployment.store.commit(transition).await? {
        Changed::Done(_) => {}
        Changed::Already(_) => say(&format!("the card is {} already", to.as_str())),
        Changed::Refused(from) => {
            return Err(hinted(
                format!(
                    "a card that is {} cannot become {}",
                    from.as_str(),
                    to.as_str()
                ),
                if from.is_final() {
                    "that state is final: add another card".to_owned()
                } else {
                    let next: Vec<_> = from.next().iter().map(|state| state.as_str()).collect();
                    format!("it can become {}", next.join(", "))
                },
            ));
        }
        Changed::Unknown => return Err(missing("card")),
    }
    print::done(&CardView::from(&find(deployment, &merchant, &card).await?))
}

async fn find(
    deployment: &Deployment,
    merchant: &MerchantId,
    card: &CardRef,
) -> anyhow::Result<Card> {
    deployment
        .store
        .card(merchant, card)
        .await?
        .ok_or_else(|| missing("card"))
}
