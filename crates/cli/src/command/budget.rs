//! `cardveil budget`: how far a card's and a person's budget of reveals is used, and making it
//! whole.

use std::path::Path;

use cardveil_core::budget::{Budget, Of, Reset};
use cardveil_core::card::CardRef;
use cardveil_core::id::{CardNo, MerchantId, PersonId};
use cardveil_core::verb::Commit;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::deployment::missing;
use crate::deployment::{Deployment, operator};
use crate::print::{self, say};

/// Whose budget.
#[derive(Args)]
pub(crate) struct Whose {
    /// At which merchant
    #[arg(long)]
    merchant: MerchantId,
    /// The card's, by its card order number
    #[arg(long, required_unless_present = "person")]
    card: Option<CardNo>,
    /// The person's, over all of their cards
    #[arg(long, conflicts_with = "card")]
    person: Option<PersonId>,
}

#[derive(Subcommand)]
pub(crate) enum BudgetCommand {
    /// Show how far it is used, and when it is whole again
    Show {
        #[command(flatten)]
        whose: Whose,
    },
    /// Make it whole again
    Reset(Whose),
}

/// `cardveil budget`.
pub(crate) async fn run(config: &Path, command: BudgetCommand) -> anyhow::Result<()> {
    let deployment = Deployment::load(config).await?;
    match command {
        BudgetCommand::Show { whose } => {
            let (of, budget) = find(&deployment, &whose).await?;
            print::fields(&view(&deployment, &of, budget).await?)
        }
        BudgetCommand::Reset(whose) => {
            let (of, budget) = find(&deployment, &whose).await?;
            let reset = Reset {
                of: of.clone(),
                merchant: whose.merchant,
                budget,
                at: deployment.service.now(),
                source: operator(),
            };
            if !deployment.store.commit(reset).await? {
                say("it is whole: there is nothing to do");
            }
            print::done(&view(&deployment, &of, budget).await?)
        }
    }
}

async fn view(deployment: &Deployment, of: &Of, budget: Option<Budget>) -> anyhow::Result<Value> {
    let level = deployment.store.budget(of).await?;
    let now = deployment.service.now();
    let used = budget.map(|budget| level.map_or(0, |level| budget.used(level, now)));
    Ok(json!({
        "used": used,
        "most": budget.map(Budget::most),
        "whole_at": level.map(|level| level.whole_at.to_string()),
        "charged_at": level
            .and_then(|level| level.charged_at)
            .map(|at| at.to_string()),
    }))
}

async fn find(deployment: &Deployment, whose: &Whose) -> anyhow::Result<(Of, Option<Budget>)> {
    deployment.find_merchant(&whose.merchant).await?;
    let budgets = deployment.service.budgets();
    if let Some(person) = whose.person {
        return Ok((Of::Person(whose.merchant.clone(), person), budgets.person));
    }
    let card = whose.card.clone().map(CardRef::No);
    let card = card.ok_or_else(|| missing("card"))?;
    let card = deployment.store.card(&whose.merchant, &card).await?;
    let card = card.ok_or_else(|| missing("card"))?;
    Ok((Of::Card(card.id), budgets.card))
}
