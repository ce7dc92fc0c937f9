//! `cardveil merchant`.

use std::path::Path;

use cardveil_core::audit::{Kind, Target};
use cardveil_core::id::MerchantId;
use cardveil_core::merchant::{Merchant, MerchantState, Permissions};
use cardveil_core::mfa::{Factor, FactorPolicy, MfaPolicy, Policy, Purpose};
use cardveil_core::port::{Change, Set};
use cardveil_core::text::MerchantName;
use cardveil_core::wallet::{Bin, Wallet, WalletRules};
use cardveil_seal::SystemEntropy;
use clap::{Args, Subcommand, ValueEnum};

use crate::command::something;
use crate::deployment::Deployment;
use crate::print::{self, hinted};

#[derive(Subcommand)]
pub(crate) enum MerchantCommand {
    /// Add one
    Add {
        /// Its name for people
        #[arg(long)]
        name: MerchantName,
        /// Its id; made when left out
        #[arg(long)]
        id: Option<MerchantId>,
        /// Its cardholders may not be shown card data (KeySecure 1013)
        #[arg(long)]
        pci_disabled: bool,
        /// Its own servers may have card data: KeySecure's private/info, Equals' expiration
        #[arg(long)]
        export: bool,
        /// Its own servers may be told PINs
        #[arg(long)]
        read_pins: bool,
        /// Its own servers may set PINs
        #[arg(long)]
        set_pins: bool,
    },
    /// List all
    List,
    /// Show one
    Show { id: MerchantId },
    /// Change one
    Set {
        id: MerchantId,
        /// Its name for people
        #[arg(long)]
        name: Option<MerchantName>,
        /// Whether it may call
        #[arg(long, value_enum)]
        state: Option<MerchantStateArg>,
        /// Whether its cardholders may be shown card data
        #[arg(long)]
        pci_enabled: Option<bool>,
        #[command(flatten)]
        permissions: PermissionArgs,
        #[command(flatten)]
        wallets: WalletArgs,
        /// Whether an operation needs a second factor, such as view-card=required; repeat for
        /// several
        #[arg(long = "mfa", value_parser = mfa_policy)]
        mfa: Vec<(Purpose, Policy)>,
        #[command(flatten)]
        factors: FactorArgs,
    },
}

/// What a merchant may have beside frames.
#[derive(Args)]
pub(crate) struct PermissionArgs {
    /// Whether its own servers may have card data: KeySecure's private/info, Equals' expiration
    #[arg(long)]
    export: Option<bool>,
    /// Whether its own servers may be told PINs
    #[arg(long)]
    read_pins: Option<bool>,
    /// Whether its own servers may set PINs
    #[arg(long)]
    set_pins: Option<bool>,
}

impl PermissionArgs {
    const fn is_given(&self) -> bool {
        self.export.is_some() || self.read_pins.is_some() || self.set_pins.is_some()
    }

    fn apply(&self, permissions: &mut Permissions) {
        permissions.export = self.export.unwrap_or(permissions.export);
        permissions.read_pins = self.read_pins.unwrap_or(permissions.read_pins);
        permissions.set_pins = self.set_pins.unwrap_or(permissions.set_pins);
    }
}

/// Which second factors count for its cardholders.
#[derive(Args)]
pub(crate) struct FactorArgs {
    /// Which factors count, in place of what was set: totp, an authenticator app, or otp, a code
    /// that the merchant delivers; repeat for several
    #[arg(long = "factor", value_name = "totp|otp", value_parser = factor)]
    accepts: Vec<Factor>,
    /// Which of them count also where the cardholder has a stronger one, in place of what was set;
    /// repeat for several, or none
    #[arg(long = "fallback", value_name = "otp|none", value_parser = fallback)]
    fallback: Vec<Fallback>,
}

/// A factor, or none.
type Fallback = Option<Factor>;

fn factor(text: &str) -> Result<Factor, String> {
    Factor::parse(&text.to_ascii_uppercase()).ok_or_else(|| "give totp or otp".to_owned())
}

fn fallback(text: &str) -> Result<Fallback, String> {
    match text {
        "none" => Ok(None),
        _ => factor(text).map(Some),
    }
}

impl FactorArgs {
    fn is_given(&self) -> bool {
        !(self.accepts.is_empty() && self.fallback.is_empty())
    }

    fn apply(self, policy: &mut FactorPolicy) {
        if !self.accepts.is_empty() {
            policy.accepts = self.accepts.into_iter().collect();
        }
        if !self.fallback.is_empty() {
            policy.fallback = self.fallback.into_iter().flatten().collect();
        }
    }
}

/// Which of a merchant's cards may go into which wallet.
#[derive(Args)]
pub(crate) struct WalletArgs {
    /// Into which wallets its cards may go, in place of what was set; repeat for several, or none
    #[arg(long = "wallet", value_name = "APPLE_PAY|ANDROID_PAY|SAMSUNG_PAY|none")]
    wallets: Vec<String>,
    /// Only card numbers that begin so, 6 to 8 digits; repeat for several, or all
    #[arg(long = "wallet-bin", value_name = "BIN|all")]
    bins: Vec<String>,
    /// Only cards of this product; repeat for several, or all
    #[arg(long = "wallet-product", value_name = "PRODUCT|all")]
    products: Vec<String>,
}

impl WalletArgs {
    fn is_given(&self) -> bool {
        !(self.wallets.is_empty() && self.bins.is_empty() && self.products.is_empty())
    }

    fn apply(self, rules: &mut WalletRules) -> anyhow::Result<()> {
        match self.wallets.as_slice() {
            [] => {}
            [none] if none == "none" => rules.wallets.clear(),
            names => {
                let parsed = names.iter().map(|name| Wallet::parse(name));
                let parsed: Option<Vec<_>> = parsed.collect();
                let mut wallets = parsed.ok_or_else(|| {
                    let names = "APPLE_PAY, ANDROID_PAY, SAMSUNG_PAY or none";
                    hinted("--wallet names no wallet", format!("give {names}"))
                })?;
                wallets.sort_unstable();
                wallets.dedup();
                rules.wallets = wallets;
            }
        }
        match self.bins.as_slice() {
            [] => {}
            [all] if all == "all" => rules.bins = None,
            bins => {
                let parsed: Result<_, _> = bins.iter().map(|bin| Bin::parse(bin)).collect();
                rules.bins = Some(parsed.map_err(|error| {
                    hinted(error.to_string(), "give --wallet-bin 411111, or all")
                })?);
            }
        }
        match self.products.as_slice() {
            [] => {}
            [all] if all == "all" => rules.products = None,
            products => rules.products = Some(products.to_vec()),
        }
        Ok(())
    }
}

/// `view-card=required`.
fn mfa_policy(text: &str) -> Result<(Purpose, Policy), String> {
    let parsed = text.split_once('=').and_then(|(operation, policy)| {
        let operation = match operation {
            "view-card" => Purpose::ViewCard,
            "add-card-to-wallet" => Purpose::AddCardToWallet,
            "view-pin" => Purpose::ViewPin,
            "set-pin" => Purpose::SetPin,
            _ => return None,
        };
        let policy = Policy::parse(policy).filter(|policy| policy.fits(operation))?;
        Some((operation, policy))
    });
    parsed.ok_or_else(|| {
        "give view-card, add-card-to-wallet, view-pin or set-pin, = and off, delegated or required; \
         or in-frame, for the first two"
            .to_owned()
    })
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum MerchantStateArg {
    Active,
    Suspended,
    Closed,
}

/// `cardveil merchant`.
pub(crate) async fn run(config: &Path, command: MerchantCommand) -> anyhow::Result<()> {
    let deployment = Deployment::load(config).await?;
    match command {
        MerchantCommand::Add {
            name,
            id,
            pci_disabled,
            export,
            read_pins,
            set_pins,
        } => {
            let id = id.unwrap_or_else(|| MerchantId::generate(&SystemEntropy));
            let merchant = Merchant {
                id,
                name: name.into(),
                state: MerchantState::Active,
                pci_enabled: !pci_disabled,
                permissions: Permissions {
                    export,
                    read_pins,
                    set_pins,
                },
                wallets: WalletRules::default(),
                mfa: MfaPolicy::default(),
                created_at: deployment.service.now(),
            };
            let change = Change::AddMerchant(merchant.clone());
            deployment
                .change(
                    change,
                    Kind::MerchantAdded,
                    Some(&merchant.id),
                    Target::default(),
                )
                .await?;
            print::fields(&merchant)
        }
        MerchantCommand::List => {
            let merchants = deployment.store.merchants().await?;
            deployment.tell_left_out();
            print::list(
                &merchants,
                &["id", "name", "state", "pci_enabled", "permissions"],
            )
        }
        MerchantCommand::Show { id } => print::fields(&deployment.find_merchant(&id).await?),
        MerchantCommand::Set {
            id,
            name,
            state,
            pci_enabled,
            permissions,
            wallets,
            mfa,
            factors,
        } => {
            let plain = name.is_some() || state.is_some() || pci_enabled.is_some();
            let grouped = permissions.is_given() || wallets.is_given() || factors.is_given();
            something(plain || grouped || !mfa.is_empty())?;
            let was = deployment.find_merchant(&id).await?;
            let mut merchant = was.clone();
            merchant.name = name.map_or(merchant.name, String::from);
            merchant.pci_enabled = pci_enabled.unwrap_or(merchant.pci_enabled);
            permissions.apply(&mut merchant.permissions);
            for (operation, policy) in mfa {
                merchant.mfa.set(operation, policy);
            }
            factors.apply(&mut merchant.mfa.factors);
            merchant.state = match state {
                None => merchant.state,
                Some(MerchantStateArg::Active) => MerchantState::Active,
                Some(MerchantStateArg::Suspended) => MerchantState::Suspended,
                Some(MerchantStateArg::Closed) => MerchantState::Closed,
            };
            wallets.apply(&mut merchant.wallets)?;
            let change = Change::SetMerchant(Set::boxed(was, merchant.clone()));
            deployment
                .change(change, Kind::MerchantChanged, Some(&id), Target::default())
                .await?;
            print::done(&merchant)
        }
    }
}
