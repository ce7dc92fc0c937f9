//! `cardveil wallet-token`: the register of digital wallet tokens.

use std::path::Path;

use cardveil_core::card::{CardRef, Reason};
use cardveil_core::id::{CardId, MerchantId, WalletTokenId};
use cardveil_core::port::{ListedToken, WalletFilter, WalletPage};
use cardveil_core::verb::Commit;
use cardveil_core::wallet::{Change, Refused, State, Step, Wallet};
use clap::Subcommand;
use serde::Serialize;
use serde_json::json;

use crate::deployment::missing;
use crate::deployment::{Deployment, operator};
use crate::print::Yes;
use crate::print::{self, hinted};

#[derive(Subcommand)]
pub(crate) enum WalletTokenCommand {
    /// List them, in the order in which they came
    List {
        /// Of this merchant only
        #[arg(long)]
        merchant: Option<MerchantId>,
        /// Of this card only
        #[arg(long)]
        card_id: Option<CardId>,
        /// In this state only; may be given several times
        #[arg(long, value_parser = state)]
        state: Vec<State>,
        /// In this wallet only; may be given several times
        #[arg(long, value_parser = wallet)]
        wallet: Vec<Wallet>,
        /// Skip so many
        #[arg(long, default_value_t = 0)]
        offset: usize,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Change the state of one
    Set {
        /// Its id
        id: WalletTokenId,
        /// Of which merchant
        #[arg(long)]
        merchant: MerchantId,
        /// ACTIVE, SUSPENDED or TERMINATED
        #[arg(long, value_parser = step)]
        state: Step,
        /// Why, for the audit log
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        yes: Yes,
    },
}

fn state(text: &str) -> Result<State, String> {
    let names: Vec<_> = State::ALL.iter().map(|state| state.as_str()).collect();
    State::parse(text).ok_or_else(|| format!("give one of {}", names.join(", ")))
}

fn wallet(text: &str) -> Result<Wallet, String> {
    let names: Vec<_> = Wallet::ALL.iter().map(|wallet| wallet.as_str()).collect();
    Wallet::parse(text).ok_or_else(|| format!("give one of {}", names.join(", ")))
}

fn step(text: &str) -> Result<Step, String> {
    let step = State::parse(text).and_then(Step::to);
    step.ok_or_else(|| "give ACTIVE, SUSPENDED or TERMINATED".to_owned())
}

/// A token as it is shown.
#[derive(Serialize)]
struct View {
    id: String,
    merchant: MerchantId,
    card_id: String,
    last_four: String,
    wallet: Wallet,
    device_type: &'static str,
    device_id: String,
    state: State,
    fulfilment: &'static str,
    created_at: String,
    updated_at: String,
}

impl From<ListedToken> for View {
    fn from(listed: ListedToken) -> Self {
        let token = listed.token;
        Self {
            id: token.id.to_string(),
            merchant: token.merchant,
            card_id: token.card.to_string(),
            last_four: listed.last_four.as_str().to_owned(),
            wallet: token.device.wallet,
            device_type: token.device.device_type.as_str(),
            device_id: token.device.device_id.to_string(),
            state: token.state,
            fulfilment: token.fulfilment.as_str(),
            created_at: token.created_at.to_string(),
            updated_at: token.updated_at.to_string(),
        }
    }
}

/// `cardveil wallet-token`.
pub(crate) async fn run(config: &Path, command: WalletTokenCommand) -> anyhow::Result<()> {
    let deployment = Deployment::load(config).await?;
    match command {
        WalletTokenCommand::List {
            merchant,
            card_id,
            state,
            wallet,
            offset,
            limit,
        } => {
            let filter = WalletFilter {
                merchant,
                card: card_id,
                states: Some(state).filter(|states| !states.is_empty()),
                wallets: Some(wallet).filter(|wallets| !wallets.is_empty()),
                ..WalletFilter::default()
            };
            let page = WalletPage {
                after: None,
                offset,
                limit,
            };
            let found = deployment.store.wallet_tokens(&filter, page).await?;
            deployment.tell_left_out();
            let views: Vec<_> = found.into_iter().map(View::from).collect();
            let columns = [
                "id",
                "merchant",
                "wallet",
                "last_four",
                "device_id",
                "state",
            ];
            print::list(&views, &columns)
        }
        WalletTokenCommand::Set {
            id,
            merchant,
            state,
            reason,
            yes,
        } => {
            if state == Step::Terminate {
                yes.confirm(&format!(
                    "The token {id} of {merchant} is terminated for good."
                ))?;
            }
            set(&deployment, merchant, id, state, reason).await
        }
    }
}

async fn set(
    deployment: &Deployment,
    merchant: MerchantId,
    id: WalletTokenId,
    step: Step,
    reason: Option<String>,
) -> anyhow::Result<()> {
    let reason = reason.as_deref().map(Reason::parse).transpose();
    let token = deployment.store.wallet_token(&merchant, &id).await?;
    let card = CardRef::Id(token.ok_or_else(|| missing("wallet-token"))?.token.card);
    let card = deployment.store.card(&merchant, &card).await?;
    let card = card.ok_or_else(|| missing("wallet-token"))?;
    let change = Change {
        merchant,
        id,
        indexes: deployment.service.pan_indexes(&card).await?,
        step,
        reason: reason.map_err(|error| hinted(error.to_string(), "say it in other words"))?,
        at: deployment.service.now(),
        source: operator(),
    };
    match deployment.store.commit(change).await? {
        Ok(token) => print::done(&json!({ "id": token.id, "state": token.state })),
        Err(Refused::Unknown) => Err(missing("wallet-token")),
        Err(Refused::Final(state) | Refused::NotRequested(state)) => Err(hinted(
            format!("the token is {} for good", state.as_str()),
            "add the card to the wallet again: that makes a new token",
        )),
        Err(Refused::LimitReached) => Err(hinted(
            "the card has 25 active and suspended tokens",
            "terminate one of them first",
        )),
    }
}
