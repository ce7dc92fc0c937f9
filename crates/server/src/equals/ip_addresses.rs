//! The addresses from which the API may be called (Equals, "About the API" and "List IP
//! addresses").
//!
//! A credential sees and changes its own list. It cannot shut itself out, nor let everyone in.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, Request, State};
use axum::{Extension, Json};
use cardveil_core::id::{CredentialId, NetworkId};
use cardveil_core::merchant::allowlist::{
    AllowlistChanged, NETWORKS_MAX, Network, Refusal, Wish, parse_net,
};
use cardveil_core::text::Description;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::admission::Admitted;
use crate::api::extract::{self, Query};
use crate::api::problem::{Code, Problem};
use crate::http::app::Shared;

/// What these addresses belong to: the credential that calls.
const BELONGS_TO: &str = "API_KEY";

/// An address to be allowed.
#[derive(Deserialize, ToSchema)]
pub(super) struct IpAddressInput {
    /// An address, or a network as address and prefix. Not wider than /16 (IPv6: /32).
    #[schema(example = "203.0.113.7")]
    ip: String,
    /// What people call it.
    #[schema(max_length = 255, example = "Office")]
    description: Option<String>,
}

/// An address from which the API may be called.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct IpAddress {
    /// Its id.
    #[schema(format = "uuid")]
    id: String,
    /// What it belongs to: the id of the credential.
    ipaddressable_id: String,
    /// The address, or the network as address and prefix.
    ip: String,
    /// What people call it.
    description: String,
    /// `API_KEY`.
    ipaddressable_type: &'static str,
    /// Since when.
    created_at: String,
    /// When it was last changed.
    updated_at: String,
}

/// A page of addresses.
#[derive(Serialize, ToSchema)]
pub(super) struct IpAddresses {
    /// At most so many rows.
    limit: usize,
    /// So many were skipped.
    offset: usize,
    /// How many there are in all.
    count: usize,
    /// The rows, the oldest first.
    rows: Vec<IpAddress>,
}

impl IpAddress {
    fn of(credential: &CredentialId, network: &Network) -> Self {
        let net = network.net;
        let ip = if net.prefix_len() == net.max_prefix_len() {
            net.addr().to_string()
        } else {
            net.to_string()
        };
        Self {
            id: network.id(credential).to_string(),
            ipaddressable_id: credential.as_str().to_owned(),
            ip,
            description: network.description.clone(),
            ipaddressable_type: BELONGS_TO,
            created_at: network.created_at.to_string(),
            updated_at: network.updated_at.to_string(),
        }
    }
}

/// List IP addresses allowed to access the API
///
/// Those of the credential that asks.
#[utoipa::path(
    get, path = "/v2/ipaddresses", tag = "Equals Money",
    params(
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 1000, description = "At most so many rows; 100 when left out."),
        ("offset" = Option<u32>, Query, minimum = 0, maximum = 999_999_999, description = "Skip so many; 0 when left out."),
    ),
    responses(
        (status = 200, description = "OK", body = IpAddresses),
    )
)]
pub(super) async fn list_ip_addresses(
    Extension(admitted): Extension<Arc<Admitted>>,
    RawQuery(query): RawQuery,
) -> Result<Json<IpAddresses>, Problem> {
    let query = Query::parse(query.as_deref());
    let (limit, offset) = super::page(&query)?;
    // The list came with the admission, so this is what the call was let in by.
    let credential = &admitted.caller.credential;
    let networks = credential.allowed_ips.networks();
    Ok(Json(IpAddresses {
        limit,
        offset,
        count: networks.len(),
        rows: networks
            .iter()
            .skip(offset)
            .take(limit)
            .map(|network| IpAddress::of(&credential.id, network))
            .collect(),
    }))
}

/// Allow an IP address to access the API
///
/// Adds it to the list of the credential that asks; at most 100. A network is kept by its first
/// address.
#[utoipa::path(
    post, path = "/v2/ipaddresses", tag = "Equals Money",
    request_body = IpAddressInput,
    responses(
        (status = 201, description = "It is allowed from now on.", body = IpAddress),
        (status = 409, description = "`ip_address_refused`: it is in the list, the list is full, or the card programme does not let you add it."),
    )
)]
pub(super) async fn add_ip_address(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    request: Request,
) -> Result<(StatusCode, Json<IpAddress>), Problem> {
    let asked: IpAddressInput = extract::json(request).await?;
    let net = parse_net(&asked.ip).ok_or_else(|| {
        let what = "must be an address, or a network not wider than /16 (IPv6: /32)";
        Problem::invalid("ip", what)
    })?;
    let description = asked.description.unwrap_or_default();
    let description = Description::parse(&description)
        .map_err(|wrong| Problem::invalid("description", wrong))?
        .into();
    let wish = Wish::Add { net, description };
    match app.service.change_allowlist(&admitted.caller, wish).await? {
        AllowlistChanged::Done(network) => {
            let row = IpAddress::of(&admitted.caller.credential.id, &network);
            Ok((StatusCode::CREATED, Json(row)))
        }
        AllowlistChanged::Refused(refusal) => Err(problem_of(refusal)),
    }
}

/// Allow an IP address no longer
///
/// Takes it from the list of the credential that asks. The address from which this is asked stays
/// allowed.
#[utoipa::path(
    delete, path = "/v2/ipaddresses/{id}", tag = "Equals Money",
    params(("id" = String, Path, format = "uuid", description = "The address's id.", example = "0b8f3a52-6f0e-8a53-9d1c-7d3e5c1f2a90")),
    responses(
        (status = 204, description = "It is allowed no longer."),
        (status = 409, description = "`ip_address_refused`: nothing would be left, or the caller would shut itself out."),
    )
)]
pub(super) async fn remove_ip_address(
    State(app): Shared,
    Extension(admitted): Extension<Arc<Admitted>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let id = extract::path(id).and_then(|text| NetworkId::parse(&text).ok());
    let id = id.ok_or_else(|| Problem::invalid("id", "must be a UUID"))?;
    let wish = Wish::Remove(id);
    match app.service.change_allowlist(&admitted.caller, wish).await? {
        AllowlistChanged::Done(_) => Ok(StatusCode::NO_CONTENT),
        AllowlistChanged::Refused(refusal) => Err(problem_of(refusal)),
    }
}

fn problem_of(refusal: Refusal) -> Problem {
    let refused = |detail| Problem::detail(Code::IpAddressRefused, detail);
    match refusal {
        Refusal::Unknown => Problem::new(Code::NotFound),
        Refusal::Exists => refused("The address is in the list.".to_owned()),
        Refusal::Full => refused(format!(
            "The list has {NETWORKS_MAX} addresses. Take one away, or add a network."
        )),
        Refusal::Last => refused("It is the last one: nobody could call any more.".to_owned()),
        Refusal::Ceiling => refused(
            "The card programme does not let you add it. Ask for another ceiling.".to_owned(),
        ),
        Refusal::LockOut => refused(
            "You call from this address and would shut yourself out. Add another that holds it first."
                .to_owned(),
        ),
    }
}
