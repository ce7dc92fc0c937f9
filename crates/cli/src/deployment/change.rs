//! Changing what a deployment holds, each change with its record, and why a change was not taken.

use cardveil_core::audit::{Kind, Target};
use cardveil_core::id::MerchantId;
use cardveil_core::merchant::Merchant;
use cardveil_core::port::{Change, Taken};

use super::{Deployment, operator};
use crate::print::{hinted, say};

impl Deployment {
    pub(crate) async fn change(
        &self,
        change: Change,
        kind: Kind,
        merchant: Option<&MerchantId>,
        target: Target,
    ) -> anyhow::Result<()> {
        let target = if target == Target::default() {
            Target {
                resource: merchant.map(|id| id.to_string().into()),
                ..target
            }
        } else {
            target
        };
        let event = operator().event(self.service.now(), kind, merchant.cloned(), target);
        self.service.change(change, event).await?.map_err(refused)
    }

    /// Says which rows the lists of this command have left out.
    pub(crate) fn tell_left_out(&self) {
        for row in self.store.left_out() {
            say(&format!(
                "left out, because it cannot be read, as if it was altered: {row}"
            ));
        }
    }

    pub(crate) async fn find_merchant(&self, id: &MerchantId) -> anyhow::Result<Merchant> {
        self.store
            .merchant(id)
            .await?
            .ok_or_else(|| missing("merchant"))
    }
}

pub(crate) fn missing(what: &str) -> anyhow::Error {
    hinted(
        format!("there is no such {what}"),
        format!("`cardveil {what} list` shows what there is"),
    )
}

pub(crate) fn refused(taken: Taken) -> anyhow::Error {
    match taken {
        Taken::Exists => hinted("it exists already", "choose another id"),
        Taken::Stale => hinted(
            "it was changed meanwhile, and nothing was done",
            "look at it with `show`, and run this again",
        ),
        Taken::Full => hinted(taken.to_string(), "remove one first"),
        Taken::NoMerchant => hinted(
            "there is no such merchant",
            "`cardveil merchant list` shows what there is",
        ),
    }
}
