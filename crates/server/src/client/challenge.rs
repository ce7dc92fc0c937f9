//! `POST /client/v1/challenge` (docs/reference/protocol.md): has the second factor asked for that a
//! token waits for.

use axum::extract::{Request, State};
use axum::{Extension, Json};
use cardveil_core::Secret;
use cardveil_core::flow::{AskChallenge, ChallengeAnswer, GivenAnswer, SessionRefused};
use cardveil_core::id::{AttemptId, EmbedId};
use cardveil_core::mfa::Factor;
use cardveil_core::token;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::redeem::{PublicKey, holder_key};
use crate::api::admission::Holder;
use crate::api::extract::{self, Object};
use crate::api::problem::{Code, Problem};
use crate::http::app::Shared;

/// What is asked.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChallengeRequest {
    /// The client token.
    token: String,
    /// The embed's id, or the app's, as for the redemption.
    #[schema(pattern = "^emb_[A-Za-z0-9_-]{1,40}$", example = "emb_demo")]
    embed: String,
    /// The holder key that is going to redeem the token.
    #[schema(value_type = PublicKey)]
    key: Object<PublicKey>,
    /// A UUID of this challenge: sent again, it asks for no second code; a new one does.
    #[schema(format = "uuid")]
    challenge: String,
    /// `TOTP` or `OTP`; left out, the strongest that the cardholder has.
    #[serde(default)]
    #[schema(pattern = "^(TOTP|OTP)$", example = "TOTP")]
    factor: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct ChallengeTold {
    /// What is waited for: `TOTP`, the code of the cardholder's authenticator app, or `OTP`, a code
    /// that the merchant delivers. Left out where the token waits for nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, example = "TOTP")]
    factor: Option<&'static str>,
    /// The first moment at which no code passes, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    expires_at: Option<String>,
}

/// What is brought of a second factor, where the token waits for one.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FactorAnswer {
    /// The challenge's UUID.
    #[schema(format = "uuid")]
    challenge: String,
    /// The cardholder's code.
    #[schema(pattern = "^[0-9]{6}$", example = "123456")]
    code: String,
}

/// Ask for the second factor that a client token waits for
///
/// Where the merchant's policy is `in-frame`, a token opens nothing before its cardholder has given
/// a code. This opens a session for that code, for this token and this key alone; the code goes
/// with the redemption. It never spends the token. A session takes five wrong codes.
#[utoipa::path(
    post, path = "/client/v1/challenge", tag = "Client", operation_id = "challenge",
    request_body = ChallengeRequest,
    responses(
        (status = 200, description = "What is waited for.", body = ChallengeTold),
        (status = 403, description = "`token_refused`, whatever is wrong with the token; `origin_refused`; `caller_unknown`, where a proxy does not tell from which address the call comes"),
        (status = 409, description = "`factor_unavailable`: the cardholder has no such factor, it is locked, or it does not count"),
        (status = 429, description = "`rate_limited`: also where the cardholder was asked too often or was wrong too often"),
        (status = 503, description = "`unavailable`, `audit_sink_full`, `clock_apart`: nobody was asked, the token is still good"),
    )
)]
pub(super) async fn challenge(
    State(app): Shared,
    Extension(holder): Extension<Holder>,
    request: Request,
) -> Result<Json<ChallengeTold>, Problem> {
    let with_origin = super::admit(&app, request.headers())?;
    let body: ChallengeRequest = extract::json(request).await?;
    let key = holder_key(&body.key.0)?;
    let challenge = challenge_id("challenge", &body.challenge)?;
    let factor = body.factor.as_deref().map(|name| {
        Factor::parse(name).ok_or_else(|| Problem::invalid("factor", "must be TOTP or OTP"))
    });
    let embed = EmbedId::parse(&body.embed)
        .map_err(|_| Problem::invalid("embed", "must be an embed id, emb_ and a word"))?;
    let asked = AskChallenge {
        factor: factor.transpose()?,
        token: super::token(&app, &holder, &body.token, token::LIFE).await?,
        embed,
        key,
        challenge,
        with_origin,
        origin: holder.origin.clone(),
    };
    match app.service.challenge(&asked).await? {
        ChallengeAnswer::Asked { factor, expires_at } => Ok(Json(ChallengeTold {
            factor: Some(factor.as_str()),
            expires_at: Some(expires_at.to_string()),
        })),
        ChallengeAnswer::NotWanted => Ok(Json(ChallengeTold {
            factor: None,
            expires_at: None,
        })),
        ChallengeAnswer::Unavailable(SessionRefused::TooOften { retry_after_secs }) => {
            Err(Problem::too_often(retry_after_secs))
        }
        ChallengeAnswer::Unavailable(
            SessionRefused::FactorUnavailable
            | SessionRefused::StrongerEnrolled
            | SessionRefused::UnknownCard,
        ) => Err(Problem::new(Code::FactorUnavailable)),
        ChallengeAnswer::Refused(_) => Err(Problem::new(Code::TokenRefused)),
        ChallengeAnswer::NoOrigin => Err(super::no_origin()),
    }
}

/// What came of a second factor with a redemption. A code of any form is judged, so that each try
/// counts.
pub(super) fn answer(given: Option<Object<FactorAnswer>>) -> Result<Option<GivenAnswer>, Problem> {
    let parse = |Object(given): Object<FactorAnswer>| {
        Ok(GivenAnswer {
            challenge: challenge_id("factor.challenge", &given.challenge)?,
            code: Secret::new(given.code.into_bytes()),
        })
    };
    given.map(parse).transpose()
}

fn challenge_id(place: &str, text: &str) -> Result<AttemptId, Problem> {
    AttemptId::parse(text).map_err(|_| Problem::invalid(place, "must be a UUID"))
}

/// The token is good, and this is told to whoever holds it alone.
pub(super) fn wanted() -> Problem {
    Problem::detail(
        Code::MfaRequired,
        "Ask for it at /client/v1/challenge, and send the cardholder's code with the redemption. \
         Nothing was spent.",
    )
}

/// The token waits as before.
pub(super) fn refused() -> Problem {
    Problem::detail(
        Code::MfaRefused,
        "Ask the cardholder for their present code, or send a new challenge. Nothing was spent.",
    )
}
