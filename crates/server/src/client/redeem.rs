//! `POST /client/v1/redeem` (docs/reference/protocol.md). Frames and apps rely on these bytes.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::{Extension, Json};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use cardveil_core::HolderKey;
use cardveil_core::flow::{Redeem, Redeemed, Released};
use cardveil_core::id::{AttemptId, EmbedId};
use cardveil_core::token::{self, Cause};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::challenge::{self, FactorAnswer};
use crate::api::admission::Holder;
use crate::api::extract::{self, Object};
use crate::api::params::fields;
use crate::api::problem::{Code, Problem};
use crate::api::schema::FieldSet;
use crate::http::app::{App, Shared};
use crate::http::design::Design;

/// What is asked.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RedeemRequest {
    /// The client token.
    token: String,
    /// The embed's id; it must be of the token's merchant. An app sends its app id.
    #[schema(pattern = "^emb_[A-Za-z0-9_-]{1,40}$", example = "emb_demo")]
    embed: String,
    /// The holder key.
    #[schema(value_type = PublicKey)]
    key: Object<PublicKey>,
    /// What to release: of `pan`, `expiry`, `cvv`, `name`, each once.
    #[schema(value_type = FieldSet)]
    fields: Vec<String>,
    /// A UUID of this attempt.
    #[schema(format = "uuid")]
    attempt: String,
    /// Where the token waits for a second factor.
    #[serde(default)]
    #[schema(value_type = Option<FactorAnswer>)]
    factor: Option<Object<FactorAnswer>>,
}

/// A P-256 public key as a JWK (RFC 7517); other members are ignored, but a private one is refused.
#[derive(Deserialize, ToSchema)]
pub(super) struct PublicKey {
    /// `EC`.
    #[schema(pattern = "^EC$", example = "EC")]
    kty: String,
    /// `P-256`.
    #[schema(pattern = "^P-256$", example = "P-256")]
    crv: String,
    /// 32 bytes in base64url. With `y` a point on the curve.
    #[schema(
        pattern = "^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$",
        example = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4"
    )]
    x: String,
    /// 32 bytes in base64url.
    #[schema(
        pattern = "^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$",
        example = "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"
    )]
    y: String,
    /// Must not be there: a private key stays where it was made.
    #[serde(default)]
    #[schema(ignore)]
    d: Option<serde::de::IgnoredAny>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct RedeemAnswer {
    /// The redemption, for events.
    redemption: String,
    /// What anyone may see of the card.
    card: CardFace,
    /// base64url of the JSON that the sealing is bound to.
    header: String,
    /// The fields, sealed to the key by HPKE.
    sealed: SealedFields,
    /// What may still be asked for, and until when.
    window: Window,
    /// What was asked for and is not on this card; left out when that is nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    missing: Vec<&'static str>,
}

#[derive(Serialize, ToSchema)]
struct CardFace {
    last_four: String,
    network: &'static str,
    /// The registered design that the card's product wears; left out when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    design: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct SealedFields {
    /// The encapsulated key, base64url.
    enc: String,
    /// The ciphertext, base64url.
    ciphertext: String,
}

#[derive(Serialize, ToSchema)]
struct Window {
    /// RFC 3339.
    ends_at: String,
    fields_left: Vec<&'static str>,
}

/// Redeem a client token
///
/// Releases those of the fields that the token's card has, sealed to the caller's key. The first
/// key to redeem a token is the only one that ever can. The same key may ask again: within 30 s for
/// a field it has got (three times), within 60 s of the first redemption for another one.
#[utoipa::path(
    post, path = "/client/v1/redeem", tag = "Client", operation_id = "redeem",
    request_body = RedeemRequest,
    responses(
        (status = 200, description = "The fields, sealed. HPKE base mode, one shot: DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-256-GCM; info `cardveil/redeem/v1`; aad the decoded bytes of `header`.", body = RedeemAnswer),
        (status = 403, description = "`token_refused`, whatever is wrong with the token; `field_unavailable`, where the token is good and not for a field, or its card has none of them; `mfa_required`, where the token is good and waits for a second factor; `mfa_refused`, where that was not right; `origin_refused`; `caller_unknown`, where a proxy does not tell from which address the call comes"),
        (status = 503, description = "`unavailable`, `audit_sink_full`, `clock_apart`: nothing was released, the token is still good"),
    )
)]
pub(super) async fn redeem(
    State(app): Shared,
    Extension(holder): Extension<Holder>,
    request: Request,
) -> Result<Json<RedeemAnswer>, Problem> {
    let with_origin = super::admit(&app, request.headers())?;
    let body: RedeemRequest = extract::json(request).await?;
    let asked = parse(&app, &holder, with_origin, body).await?;
    match app.service.redeem(&asked).await? {
        Redeemed::Released(released) => {
            app.metrics.redemptions_released.increment();
            let design = design_of(&app.settings.designs, released.product.as_deref());
            Ok(Json(answer(&released, design)))
        }
        Redeemed::Refused(cause) => {
            app.metrics.redemptions_refused.increment();
            if cause == Cause::OtherKey {
                app.metrics.redemptions_conflict.increment();
            }
            Err(Problem::new(Code::TokenRefused))
        }
        Redeemed::NoField => {
            app.metrics.redemptions_refused.increment();
            Err(Problem::new(Code::FieldUnavailable))
        }
        Redeemed::WantsFactor => Err(challenge::wanted()),
        Redeemed::FactorRefused => {
            app.metrics.redemptions_refused.increment();
            Err(challenge::refused())
        }
        Redeemed::NoOrigin => Err(super::no_origin()),
    }
}

/// The form of the request is checked before the token, so that a caller with a bug learns of it
/// and a caller with a bad token learns nothing.
async fn parse(
    app: &Arc<App>,
    holder: &Holder,
    with_origin: bool,
    body: RedeemRequest,
) -> Result<Redeem, Problem> {
    let key = holder_key(&body.key.0)?;
    let fields = fields(&body.fields)?;
    let attempt = AttemptId::parse(&body.attempt)
        .map_err(|_| Problem::invalid("attempt", "must be a UUID"))?;
    let embed = EmbedId::parse(&body.embed)
        .map_err(|_| Problem::invalid("embed", "must be an embed id, emb_ and a word"))?;
    let factor = challenge::answer(body.factor)?;
    let token = super::token(app, holder, &body.token, token::LIFE).await?;
    Ok(Redeem {
        token,
        embed,
        key,
        fields,
        attempt,
        factor,
        with_origin,
        origin: holder.origin.clone(),
    })
}

pub(super) fn holder_key(jwk: &PublicKey) -> Result<HolderKey, Problem> {
    if jwk.kty != "EC" || jwk.crv != "P-256" {
        return Err(Problem::invalid("key", "must be an EC key on P-256"));
    }
    if jwk.d.is_some() {
        return Err(Problem::invalid(
            "key.d",
            "never send a private key; this one is not private now",
        ));
    }
    let coordinate = |name: &str, text: &str| {
        let bytes = BASE64_URL_SAFE_NO_PAD
            .decode(text)
            .ok()
            .filter(|bytes| bytes.len() == 32);
        bytes.ok_or_else(|| Problem::invalid(name, "must be 32 bytes in base64url"))
    };
    let (x, y) = (coordinate("key.x", &jwk.x)?, coordinate("key.y", &jwk.y)?);
    HolderKey::from_coordinates(&x, &y)
        .map_err(|_| Problem::invalid("key", "must be a point on P-256"))
}

/// What a card of this product wears.
fn design_of<'a>(designs: &'a [Design], product: Option<&str>) -> Option<&'a str> {
    let product = product?;
    let of = |design: &&Design| design.products.iter().any(|known| known == product);
    designs.iter().find(of).map(|design| design.name.as_str())
}

fn answer(released: &Released, design: Option<&str>) -> RedeemAnswer {
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    RedeemAnswer {
        redemption: released.redemption.to_string(),
        card: CardFace {
            last_four: released.last_four.as_str().to_owned(),
            network: released.network.as_str(),
            design: design.map(str::to_owned),
        },
        header: encode(&released.header),
        sealed: SealedFields {
            enc: encode(&released.sealed.enc),
            ciphertext: encode(&released.sealed.ciphertext),
        },
        window: Window {
            ends_at: released.window_ends_at.to_string(),
            fields_left: released.fields_left.names(),
        },
        missing: released.missing.names(),
    }
}
