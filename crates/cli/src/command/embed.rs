//! `cardveil embed`.

use std::path::Path;

use cardveil_core::audit::{Kind, Target};
use cardveil_core::id::{EmbedId, MerchantId};
use cardveil_core::merchant::Embed;
use cardveil_core::port::{Change, Set};
use cardveil_seal::SystemEntropy;
use clap::Subcommand;

use crate::command::something;
use crate::deployment::Deployment;
use crate::deployment::config;
use crate::deployment::missing;
use crate::print;

#[derive(Subcommand)]
pub(crate) enum EmbedCommand {
    /// Add one
    Add {
        /// Of which merchant
        #[arg(long)]
        merchant: MerchantId,
        /// An origin whose pages may frame cards, exact; repeat for several; none for a native app
        #[arg(long = "origin")]
        origins: Vec<String>,
        /// Allow the CVV to be copied
        #[arg(long)]
        copy_cvv: bool,
        /// Allow parts without looks, which a page lays over a button of its own (Marqeta.js'
        /// mode: transparent)
        #[arg(long)]
        transparent: bool,
    },
    /// List all
    List,
    /// Show one
    Show { id: EmbedId },
    /// Change one
    Set {
        id: EmbedId,
        /// Put it into or out of use
        #[arg(long)]
        enabled: Option<bool>,
        /// Origins in place of those that were set; repeat for several
        #[arg(long = "origin")]
        origins: Vec<String>,
        /// Whether the CVV may be copied
        #[arg(long)]
        copy_cvv: Option<bool>,
        /// Whether parts may be without looks
        #[arg(long)]
        transparent: Option<bool>,
    },
}

/// `cardveil embed`.
pub(crate) async fn run(config: &Path, command: EmbedCommand) -> anyhow::Result<()> {
    let deployment = Deployment::load(config).await?;
    let checked = |origins: Vec<String>| {
        origins
            .iter()
            .map(|origin| config::embed_origin(origin))
            .collect::<anyhow::Result<Vec<_>>>()
    };
    match command {
        EmbedCommand::Add {
            merchant,
            origins,
            copy_cvv,
            transparent,
        } => {
            let embed = Embed {
                id: EmbedId::generate(&SystemEntropy),
                merchant: merchant.clone(),
                origins: checked(origins)?,
                copy_cvv,
                transparent,
                enabled: true,
                created_at: deployment.service.now(),
            };
            let target = Target {
                embed: Some(embed.id.clone()),
                ..Target::default()
            };
            let change = Change::AddEmbed(embed.clone());
            deployment
                .change(change, Kind::EmbedAdded, Some(&merchant), target)
                .await?;
            print::fields(&embed)
        }
        EmbedCommand::List => {
            let embeds = deployment.store.embeds().await?;
            deployment.tell_left_out();
            print::list(&embeds, &["id", "merchant", "origins", "enabled"])
        }
        EmbedCommand::Show { id } => print::fields(&deployment.find_embed(&id).await?),
        EmbedCommand::Set {
            id,
            enabled,
            origins,
            copy_cvv,
            transparent,
        } => {
            let flags = [enabled, copy_cvv, transparent];
            something(!origins.is_empty() || flags.iter().any(Option::is_some))?;
            let was = deployment.find_embed(&id).await?;
            let mut embed = was.clone();
            embed.enabled = enabled.unwrap_or(embed.enabled);
            embed.copy_cvv = copy_cvv.unwrap_or(embed.copy_cvv);
            embed.transparent = transparent.unwrap_or(embed.transparent);
            if !origins.is_empty() {
                embed.origins = checked(origins)?;
            }
            let merchant = embed.merchant.clone();
            let target = Target {
                embed: Some(id),
                ..Target::default()
            };
            deployment
                .change(
                    Change::SetEmbed(Set::boxed(was, embed.clone())),
                    Kind::EmbedChanged,
                    Some(&merchant),
                    target,
                )
                .await?;
            print::done(&embed)
        }
    }
}

impl Deployment {
    async fn find_embed(&self, id: &EmbedId) -> anyhow::Result<Embed> {
        self.store.embed(id).await?.ok_or_else(|| missing("embed"))
    }
}
