//! `cardveil token`: revoking tokens.

use std::io::BufRead as _;
use std::path::Path;

use anyhow::Context as _;
use cardveil_core::card::CardRef;
use cardveil_core::id::{CardId, CardNo, MerchantId};
use cardveil_core::port::Selection;
use cardveil_core::token::{TokenHash, Unchecked};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::deployment::{Deployment, missing, operator};
use crate::print::Yes;
use crate::print::{self, hinted};

#[derive(Subcommand)]
pub(crate) enum TokenCommand {
    /// Revoke tokens: no key gets anything for them any more
    Revoke(RevokeArgs),
}

#[derive(Args)]
#[group(id = "which", required = true, multiple = false, args = ["sha256", "stdin", "card_id", "merchant"])]
pub(crate) struct RevokeArgs {
    /// The one with this SHA-256 (base64url, as audit records show it)
    #[arg(long)]
    sha256: Option<String>,
    /// The one that is read from standard input
    #[arg(long)]
    stdin: bool,
    /// All of the card with this id
    #[arg(long)]
    card_id: Option<CardId>,
    /// All of this merchant
    #[arg(long)]
    merchant: Option<MerchantId>,
    /// Of the merchant, only those of the card with this order number
    #[arg(long, requires = "merchant")]
    card_no: Option<CardNo>,
    #[command(flatten)]
    yes: Yes,
}

/// `cardveil token`.
pub(crate) async fn run(config: &Path, command: TokenCommand) -> anyhow::Result<()> {
    let TokenCommand::Revoke(args) = command;
    let deployment = Deployment::load(config).await?;
    let yes = args.yes;
    let selection = deployment.selection(args).await?;
    yes.confirm("What these tokens were for has to be asked for anew.")?;
    let revoked = deployment.service.revoke(&selection, &operator()).await?;
    print::object(&json!({ "revoked": revoked }), |_| {
        print::line(&format!("revoked {revoked}"))
    })
}

impl Deployment {
    /// Which tokens are meant; what does not exist is an error, so that nothing seems revoked.
    async fn selection(&self, args: RevokeArgs) -> anyhow::Result<Selection> {
        if let Some(text) = args.sha256 {
            let hash = TokenHash::parse(&text).ok_or_else(|| {
                hinted(
                    "--sha256 is not 32 bytes in base64url",
                    "copy it from `cardveil audit tail`",
                )
            })?;
            return Ok(Selection::Hash(hash));
        }
        if args.stdin {
            let mut text = String::new();
            std::io::stdin().lock().read_line(&mut text)?;
            let token = Unchecked::parse(text.trim(), self.config.environment)?;
            return Ok(Selection::Hash(token.key().hash));
        }
        if let Some(id) = args.card_id {
            return Ok(Selection::Card(id));
        }
        let merchant = args.merchant.context("name the tokens")?;
        self.find_merchant(&merchant).await?;
        match args.card_no {
            Some(no) => {
                let card = self.store.card(&merchant, &CardRef::No(no)).await?;
                Ok(Selection::Card(card.ok_or_else(|| missing("card"))?.id))
            }
            None => Ok(Selection::Merchant(merchant)),
        }
    }
}
