//! The parameters that several calls describe in the same words. Each is read where it is used, by
//! its name.

#![expect(dead_code, reason = "described here, read by name")]

use utoipa::IntoParams;

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct OfCard {
    /// The ID of the card to work with.
    #[param(rename = "cardId", format = "uuid", max_length = 36)]
    #[param(example = "e9293471-5eb3-4dbc-916c-dbaf9e2deefd")]
    card_id: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct OfAccount {
    /// The ID of the account to work with.
    #[param(rename = "accountId", example = "F50091")]
    account_id: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct OfPerson {
    /// The ID of the person to work with.
    #[param(
        rename = "personId",
        format = "uuid",
        max_length = 36,
        required = false
    )]
    #[param(example = "775596ae-2624-40af-a9dc-9756110a4a04")]
    person_id: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct SecondFactor {
    #[doc = "The MFA session id, where the policy asks for a second factor; or your own reference, \
             where it is delegated to you."]
    #[param(rename = "sessionId", required = false)]
    #[param(example = "c92e2960-b745-4b38-8e77-898b2f9ad9bb")]
    session_id: String,
    /// The security token e.g. MFA code.
    #[param(required = false, example = "123456")]
    token: String,
}
