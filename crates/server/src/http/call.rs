//! What is known of a request outside of it: what the listener tells the gate, and what the gate
//! tells the log.

use std::net::IpAddr;
use std::sync::Arc;

use cardveil_core::audit::Origin;
use cardveil_core::merchant::ClientCertificate;

use super::ListenerKind;
use super::app::App;

/// What the listener knows of a request before anyone has looked into it.
#[derive(Clone)]
pub(crate) struct Call {
    /// The id that the caller, the log and the audit record share.
    pub(crate) id: Arc<str>,
    /// From where it comes, after the rules for trusted proxies. None where nobody can tell: what
    /// judges an address then refuses.
    pub(crate) ip: Option<IpAddr>,
    /// The client certificate that its connection began with, after its authority was verified.
    /// Behind a proxy that ends the TLS it is the proxy's, or none.
    pub(crate) certificate: Option<Arc<ClientCertificate>>,
    /// At which listener.
    pub(crate) listener: ListenerKind,
    /// What checks it.
    pub(crate) app: Arc<App>,
}

impl Call {
    /// For the record of its refusal.
    pub(crate) fn origin_of_refused(&self) -> Origin {
        match self.ip {
            Some(ip) => self.origin(ip),
            None => Origin::Untold {
                request: (*self.id).to_owned().into(),
            },
        }
    }

    /// For audit records of a call from `ip`.
    pub(crate) fn origin(&self, ip: IpAddr) -> Origin {
        Origin::Network {
            ip: Some(ip),
            request: (*self.id).to_owned().into(),
        }
    }
}

/// The route's pattern, for the log.
#[derive(Clone)]
pub(crate) struct Pattern(pub(crate) Arc<str>);

/// The credential that called, for the log.
#[derive(Clone)]
pub(crate) struct CalledBy(pub(crate) Arc<str>);
