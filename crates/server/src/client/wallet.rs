//! `POST /client/v1/wallet/eligibility` (docs/reference/protocol.md): whether a card can go into a
//! wallet.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::{Extension, Json};
use cardveil_core::flow::{CheckWallet, WalletAnswer, WalletChecked};
use cardveil_core::id::{DeviceId, EmbedId};
use cardveil_core::token::{self, Cause};
use cardveil_core::wallet::{Device, DeviceType, Reason, Wallet};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::challenge::{self, FactorAnswer};
use super::redeem::{PublicKey, holder_key};
use crate::api::admission::Holder;
use crate::api::extract::{self, Object};
use crate::api::problem::{Code, Problem};
use crate::http::app::{App, Shared};

/// What is asked.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EligibilityRequest {
    /// A client token for `ADD_CARD_TO_WALLET`.
    token: String,
    /// The app's id: an embed, registered without origins, of the token's merchant.
    #[schema(pattern = "^emb_[A-Za-z0-9_-]{1,40}$", example = "emb_app")]
    app: String,
    /// The holder key.
    #[schema(value_type = PublicKey)]
    key: Object<PublicKey>,
    /// `APPLE_PAY`, `ANDROID_PAY` or `SAMSUNG_PAY`.
    #[schema(
        pattern = "^(APPLE_PAY|ANDROID_PAY|SAMSUNG_PAY)$",
        example = "APPLE_PAY"
    )]
    wallet: String,
    /// `MOBILE_PHONE`, `TABLET` or `WATCH`.
    #[schema(pattern = "^(MOBILE_PHONE|TABLET|WATCH)$", example = "MOBILE_PHONE")]
    device_type: String,
    /// The wallet's name for the device: 1 to 64 letters, digits, `_` or `-`.
    #[schema(
        pattern = "^[A-Za-z0-9_-]{1,64}$",
        example = "device-1",
        min_length = 1,
        max_length = 64
    )]
    device_id: String,
    /// Where the token waits for a second factor.
    #[serde(default)]
    #[schema(value_type = Option<FactorAnswer>)]
    factor: Option<Object<FactorAnswer>>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct EligibilityAnswer {
    /// Whether the card can go into the wallet: there is no reason against it.
    eligible: bool,
    /// Every reason against it, in this order: `card_not_active`, `wallet_not_enabled`,
    /// `bin_not_enabled`, `product_not_enabled`, `token_limit_reached`, `already_on_device`.
    reasons: Vec<&'static str>,
    /// What anyone may see of the card.
    card: WalletCard,
}

#[derive(Serialize, ToSchema)]
struct WalletCard {
    #[schema(example = "1111")]
    last_four: String,
    #[schema(example = "visa")]
    network: &'static str,
    /// What the wallet may call it.
    #[schema(example = "Travel card")]
    display_name: String,
}

/// Ask whether a card can go into a digital wallet
///
/// Redeems a client token for `ADD_CARD_TO_WALLET`. The first key to ask is the only one that ever
/// can; it may ask again for 60 s, 16 times in all, for other wallets and devices too.
#[utoipa::path(
    post, path = "/client/v1/wallet/eligibility", tag = "Client", operation_id = "checkWallet",
    request_body = EligibilityRequest,
    responses(
        (status = 200, description = "Whether it can, and what speaks against it.", body = EligibilityAnswer),
        (status = 403, description = "`token_refused`, whatever is wrong with the token; `mfa_required`, where the token is good and waits for a second factor; `mfa_refused`, where that was not right; `origin_refused`; `caller_unknown`, where a proxy does not tell from which address the call comes"),
        (status = 503, description = "`unavailable`, `audit_sink_full`, `clock_apart`: nothing was told, the token is still good"),
    )
)]
pub(super) async fn eligibility(
    State(app): Shared,
    Extension(holder): Extension<Holder>,
    request: Request,
) -> Result<Json<EligibilityAnswer>, Problem> {
    let with_origin = super::admit(&app, request.headers())?;
    let body: EligibilityRequest = extract::json(request).await?;
    let asked = parse(&app, &holder, with_origin, body).await?;
    match app.service.check_wallet(&asked).await? {
        WalletChecked::Told(told) => Ok(Json(answer(told))),
        WalletChecked::Refused(cause) => {
            app.metrics.redemptions_refused.increment();
            if cause == Cause::OtherKey {
                app.metrics.redemptions_conflict.increment();
            }
            Err(Problem::new(Code::TokenRefused))
        }
        WalletChecked::WantsFactor => Err(challenge::wanted()),
        WalletChecked::FactorRefused => {
            app.metrics.redemptions_refused.increment();
            Err(challenge::refused())
        }
        WalletChecked::NoOrigin => Err(super::no_origin()),
    }
}

/// The form before the token, as for a redemption.
async fn parse(
    app: &Arc<App>,
    holder: &Holder,
    with_origin: bool,
    body: EligibilityRequest,
) -> Result<CheckWallet, Problem> {
    let key = holder_key(&body.key.0)?;
    let wallet = Wallet::parse(&body.wallet).ok_or_else(|| {
        Problem::invalid("wallet", "must be APPLE_PAY, ANDROID_PAY or SAMSUNG_PAY")
    })?;
    let device_type = DeviceType::parse(&body.device_type)
        .ok_or_else(|| Problem::invalid("device_type", "must be MOBILE_PHONE, TABLET or WATCH"))?;
    let device_id = DeviceId::parse(&body.device_id)
        .map_err(|_| Problem::invalid("device_id", "must be 1 to 64 letters, digits, _ or -"))?;
    let embed = EmbedId::parse(&body.app)
        .map_err(|_| Problem::invalid("app", "must be an app's id, emb_ and a word"))?;
    let factor = challenge::answer(body.factor)?;
    let token = super::token(app, holder, &body.token, token::LIFE).await?;
    Ok(CheckWallet {
        token,
        app: embed,
        key,
        device: Device {
            wallet,
            device_type,
            device_id,
        },
        factor,
        with_origin,
        origin: holder.origin.clone(),
    })
}

fn answer(told: WalletAnswer) -> EligibilityAnswer {
    EligibilityAnswer {
        eligible: told.reasons.is_empty(),
        reasons: told.reasons.into_iter().map(Reason::as_str).collect(),
        card: WalletCard {
            last_four: told.last_four.as_str().to_owned(),
            network: told.network.as_str(),
            display_name: told.display_name,
        },
    }
}
