//! The parameters that several calls describe in the same words. Each is read where it is used, by
//! its name.

#![expect(dead_code, reason = "described here, read by name")]

use utoipa::IntoParams;

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct OfCard {
    /// The card.
    #[param(
        format = "uuid",
        max_length = 36,
        example = "e9293471-5eb3-4dbc-916c-dbaf9e2deefd"
    )]
    card_id: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct OfPerson {
    /// The cardholder.
    #[param(format = "uuid", example = "775596ae-2624-40af-a9dc-9756110a4a04")]
    person_id: String,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct OfToken {
    /// The token's id.
    #[param(format = "uuid", example = "5c1a9a55-7d59-4c11-9a9e-8cb3a1c0f5d2")]
    id: String,
}
