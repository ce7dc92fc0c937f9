//! The demo's merchants: what a first start adds, and what a later one brings up to date.

use cardveil_core::audit::{Kind as EventKind, Source, Target};
use cardveil_core::flow::{NewCredential, NewKey};
use cardveil_core::id::{EmbedId, MerchantId, PersonId};
use cardveil_core::merchant::{Embed, Merchant, MerchantState, Permissions, Scope};
use cardveil_core::mfa::{MfaPolicy, Policy, step_at};
use cardveil_core::port::{Change, Set};
use cardveil_core::verb::{Changes, Commit};
use cardveil_core::wallet::WalletRules;
use cardveil_seal::{Secret, totp};

use super::samples::{PROTECTED, SAMPLES, Sample};
use super::{
    API_SECRET, APP, EMBED, EQUALS_API_SECRET, MERCHANT, MFA_API_SECRET, MFA_APP, MFA_EMBED,
    MFA_MERCHANT, MFA_TOTP, PERSON,
};
use crate::deployment::Deployment;
use crate::deployment::demo::{API_KEY, EQUALS_API_KEY, MFA_EQUALS_API_KEY};

/// A merchant of the demo.
struct Partner<'a> {
    id: &'static str,
    name: &'static str,
    mfa: MfaPolicy,
    /// What its page frames cards with.
    embed: &'static str,
    /// Its phone app: an embed that no page may frame.
    app: &'static str,
    /// Api-Keys with their secrets.
    keys: &'a [(&'static str, &'static str)],
    cards: &'a [Sample],
}

/// What pages may show cards, and how.
pub(super) struct Pages<'a> {
    pub(super) origins: &'a [String],
    pub(super) transparent: bool,
}

/// Adds what is not there yet.
pub(super) async fn fill(deployment: &Deployment, pages: &Pages<'_>) -> anyhow::Result<()> {
    let open = Partner {
        id: MERCHANT,
        name: "Saltmarsh",
        mfa: MfaPolicy::default(),
        embed: EMBED,
        app: APP,
        keys: &[(API_KEY, API_SECRET), (EQUALS_API_KEY, EQUALS_API_SECRET)],
        cards: &SAMPLES,
    };
    open.fill(deployment, pages).await?;
    // One card, and a cardholder whose authenticator app's secret is public.
    let protected = Partner {
        id: MFA_MERCHANT,
        name: "Saltmarsh Private",
        mfa: MfaPolicy {
            view_card: Policy::InFrame,
            view_pin: Policy::Required,
            set_pin: Policy::Required,
            ..MfaPolicy::default()
        },
        embed: MFA_EMBED,
        app: MFA_APP,
        keys: &[(MFA_EQUALS_API_KEY, MFA_API_SECRET)],
        cards: &[PROTECTED],
    };
    if let Some(merchant) = protected.fill(deployment, pages).await? {
        enrol(deployment, &merchant).await?;
    }
    Ok(())
}

impl Partner<'_> {
    /// Answers the merchant if it is new.
    async fn fill(
        &self,
        deployment: &Deployment,
        pages: &Pages<'_>,
    ) -> anyhow::Result<Option<Merchant>> {
        let merchant = self.merchant(deployment)?;
        let known = deployment.store.embed(&EmbedId::parse(self.embed)?).await?;
        let mut changes = vec![];
        if known.is_none() {
            let source = Source::server();
            let (id, target) = (merchant.id.clone(), Target::default());
            let event = source.event(
                merchant.created_at,
                EventKind::MerchantAdded,
                Some(id),
                target,
            );
            changes.push((Change::AddMerchant(merchant.clone()), event));
            for card in self.cards {
                let card = card.card(&merchant.id)?;
                changes.push(deployment.service.card_change(card, &source)??);
            }
        }
        let no_pages = Pages {
            origins: &[],
            transparent: false,
        };
        for (id, pages) in [(self.embed, pages), (self.app, &no_pages)] {
            changes.push(embed_change(deployment, &merchant, id, pages).await?);
        }
        let done = deployment.store.commit(Changes(changes)).await?;
        done.into_iter().collect::<Result<(), _>>()?;
        if known.is_some() {
            return Ok(None);
        }
        for key in self.keys {
            add_key(deployment, &merchant.id, key).await?;
        }
        Ok(Some(merchant))
    }

    fn merchant(&self, deployment: &Deployment) -> anyhow::Result<Merchant> {
        Ok(Merchant {
            id: MerchantId::parse(self.id)?,
            name: self.name.to_owned(),
            state: MerchantState::Active,
            pci_enabled: true,
            permissions: Permissions {
                export: true,
                read_pins: true,
                set_pins: true,
            },
            wallets: WalletRules::all(),
            mfa: self.mfa,
            created_at: deployment.service.now(),
        })
    }
}

async fn embed_change(
    deployment: &Deployment,
    merchant: &Merchant,
    id: &str,
    pages: &Pages<'_>,
) -> anyhow::Result<(Change, cardveil_core::audit::Event)> {
    let now = deployment.service.now();
    let embed = Embed {
        id: EmbedId::parse(id)?,
        merchant: merchant.id.clone(),
        origins: pages.origins.to_vec(),
        copy_cvv: false,
        transparent: pages.transparent,
        enabled: true,
        created_at: now,
    };
    let target = Target {
        embed: Some(embed.id.clone()),
        ..Target::default()
    };
    let event = |kind| Source::server().event(now, kind, Some(merchant.id.clone()), target);
    Ok(match deployment.store.embed(&embed.id).await? {
        Some(was) => {
            let change = Change::SetEmbed(Set::boxed(was, embed));
            (change, event(EventKind::EmbedChanged))
        }
        None => (Change::AddEmbed(embed), event(EventKind::EmbedAdded)),
    })
}

async fn add_key(
    deployment: &Deployment,
    merchant: &MerchantId,
    (api_key, api_secret): &(&str, &str),
) -> anyhow::Result<()> {
    let new = NewCredential {
        merchant: merchant.clone(),
        allowed_ips: vec!["127.0.0.1/32".parse()?],
        ip_ceiling: vec!["0.0.0.0/0".parse()?, "::/0".parse()?],
        client_certificates: vec![],
        // The demo shows every call.
        scopes: vec![
            Scope::CardsReadAny,
            Scope::CardsWriteAny,
            Scope::CardsExport,
            Scope::PinsRead,
            Scope::PinsSet,
            Scope::WalletsProvision,
            Scope::WebhooksManage,
            Scope::MfaCodes,
            Scope::IpAddressesManage,
            Scope::MfaManage,
        ],
        person: None,
        expires_at: None,
        keys: Some(NewKey {
            api_key: Secret::new((*api_key).into()),
            api_secret: Secret::new((*api_secret).into()),
        }),
    };
    deployment
        .service
        .add_credential(new, &Source::server())
        .await??;
    Ok(())
}

/// Confirmed by the code of the step before, so that the present one is still good.
async fn enrol(deployment: &Deployment, merchant: &Merchant) -> anyhow::Result<()> {
    let (service, source) = (&deployment.service, Source::server());
    let person = PersonId::parse(PERSON)?;
    let secret = || Secret::new(MFA_TOTP.to_vec());
    let refused = "the demo's authenticator app could not be enrolled";
    let enrolled = service.enrol(merchant, person, Some(secret()), &source);
    anyhow::ensure!(enrolled.await?.is_ok(), refused);
    // A step may end between the code and its confirmation, hardly two in a row.
    for _ in 0..2 {
        let before = step_at(service.now()).saturating_sub(1);
        let code = totp::code(&secret(), before);
        let confirmed = service
            .confirm(&merchant.id, person, &code, &source)
            .await?;
        if confirmed.is_ok() {
            return Ok(());
        }
    }
    anyhow::bail!(refused)
}
