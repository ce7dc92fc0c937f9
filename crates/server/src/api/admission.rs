//! Who was admitted, and who was not: what the gate tells handlers, and the record of refusals.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use axum::response::{IntoResponse, Response};
use cardveil_core::audit::refused::{Denied, Keyholder};
use cardveil_core::audit::{Actor, Origin, Source};
use cardveil_core::flow::{Caller, Fault};
use cardveil_core::merchant::{Admission, Barred, Lack, Merchant, MerchantState, Need, judge};
use cardveil_core::token::Epoch;

use super::problem::{Code, Problem};
use crate::http::app::App;
use crate::http::call::Call;
use crate::http::limit::Checked;

/// Whoever calls with a client token, from an address that is known; for handlers.
#[derive(Clone)]
pub(crate) struct Holder {
    /// For audit records.
    pub(crate) origin: Origin,
    ip: IpAddr,
    /// Where the caller stands, once its token turned out to be ours.
    pub(crate) charged: Arc<OnceLock<Checked>>,
}

impl Holder {
    pub(crate) fn new(call: &Call, ip: IpAddr) -> Self {
        Self {
            origin: call.origin(ip),
            ip,
            charged: Arc::default(),
        }
    }

    /// Counts the call as one with a token that we made. Such a one is never refused because
    /// strangers filled a limit, so it comes when the token's check is known; a call that it is not
    /// asked for counts as a stranger's.
    pub(crate) fn charge(&self, app: &App) -> Result<(), Problem> {
        match self.charged.get_or_init(|| app.limiter.client(self.ip)) {
            Ok(_) => Ok(()),
            Err(_) => Err(Problem::new(Code::RateLimited)),
        }
    }
}

/// An admitted merchant's server, for handlers.
#[derive(Clone, Debug)]
pub(crate) struct Admitted {
    /// Who.
    pub(crate) caller: Caller,
    /// The epoch at its admission.
    pub(crate) epoch: Epoch,
}

impl Admitted {
    /// `origin` is of an address that the credential allows.
    pub(crate) fn new(admission: Admission, merchant: Merchant, origin: Origin) -> Self {
        let source = Source {
            actor: Actor::Credential(admission.credential.id.clone()),
            origin,
        };
        Self {
            caller: Caller {
                credential: admission.credential,
                merchant,
                source,
            },
            epoch: admission.epoch,
        }
    }
}

/// A call that is not admitted: how it is answered, and why.
pub(crate) struct Refused<A> {
    pub(crate) answer: A,
    /// `None` where the fault is ours: then nothing was judged.
    pub(crate) why: Option<(Denied, Option<Box<Keyholder>>)>,
}

impl<A> Refused<A> {
    /// Refused, whoever it is.
    pub(crate) const fn stranger(answer: A, denied: Denied) -> Self {
        Self {
            answer,
            why: Some((denied, None)),
        }
    }

    /// Refused, though the Api-Key is somebody's.
    pub(crate) fn holder(answer: A, denied: Denied, holder: impl Into<Keyholder>) -> Self {
        Self {
            answer,
            why: Some((denied, Some(Box::new(holder.into())))),
        }
    }

    /// Not judged, because something of ours failed.
    pub(crate) const fn fault(answer: A) -> Self {
        Self { answer, why: None }
    }

    /// The same, with the answer as it goes out.
    pub(crate) fn into_response(self) -> Refused<Response>
    where
        A: IntoResponse,
    {
        Refused {
            answer: self.answer.into_response(),
            why: self.why,
        }
    }
}

impl<A: From<Fault>> From<Fault> for Refused<A> {
    fn from(fault: Fault) -> Self {
        Self::fault(fault.into())
    }
}

/// Admits a call by its Api-Key: the rules of every API but KeySecure's.
pub(crate) async fn admit_key(
    call: &Call,
    api_key: &str,
    need: Need,
) -> Result<Admitted, Refused<Problem>> {
    let app = &call.app;
    let refused = || Problem::new(Code::CredentialRefused);
    let Some(admission) = app.service.admission(api_key).await? else {
        return Err(Refused::stranger(refused(), Denied::KeyUnknown));
    };
    let refuse = |denied| Refused::holder(refused(), denied, &admission.credential);
    let shown = call.certificate.as_deref();
    if !admission.credential.allows_certificate(shown) {
        return Err(refuse(Denied::Certificate));
    }
    match admission.credential.usable(app.service.now()) {
        Ok(()) => {}
        Err(Barred::Disabled) => return Err(refuse(Denied::KeyDisabled)),
        Err(Barred::Expired) => return Err(refuse(Denied::KeyExpired)),
    }
    let allowed = |ip: &IpAddr| admission.credential.allows_ip(*ip);
    let Some(ip) = call.ip.filter(allowed) else {
        return Err(refuse(Denied::Address));
    };
    let merchant = match &admission.merchant {
        Some(merchant) => match merchant.state {
            MerchantState::Active => merchant.clone(),
            MerchantState::Suspended => return Err(refuse(Denied::MerchantSuspended)),
            MerchantState::Closed => return Err(refuse(Denied::MerchantClosed)),
        },
        None => return Err(refuse(Denied::MerchantClosed)),
    };
    if let Err(lack) = judge(&merchant, &admission.credential, need) {
        let answer = Problem::new(match lack {
            Lack::Scope => Code::ScopeMissing,
            Lack::Permission => Code::PciNotEnabled,
        });
        return Err(Refused::holder(
            answer,
            Denied::Scope,
            &admission.credential,
        ));
    }
    Ok(Admitted::new(admission, merchant, call.origin(ip)))
}
