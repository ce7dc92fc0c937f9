//! What calls to others share: TLS by the system's root certificates, and the connection's task.

pub(crate) mod receiver;

use std::path::Path;
use std::sync::Arc;

use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::WantsClientCert;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ConfigBuilder, RootCertStore};

use crate::http::tls;

/// TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum NoTls {
    /// TLS has no protocol version to speak.
    #[error("TLS cannot be set up: {0}")]
    Config(#[from] tokio_rustls::rustls::Error),
}

/// Authorities besides the system's.
#[derive(Clone, Debug, Default)]
pub struct Authorities(Vec<CertificateDer<'static>>);

impl Authorities {
    /// Those of a PEM file.
    pub fn read(path: &Path) -> Result<Self, tls::Error> {
        tls::certificates(path).map(Self)
    }
}

/// With the system's root certificates, or those of `SSL_CERT_FILE`, and these. Without any, no
/// call over TLS succeeds, and the log says why.
pub(crate) fn connector(more: &Authorities) -> Result<TlsConnector, NoTls> {
    let tls = builder(systems(more))?.with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(tls)))
}

/// With the authorities of a file and no others, or else with the system's; and with a certificate
/// to show, if there is one, and its key. Files are read.
pub(crate) fn known_by(
    authorities: Option<&Path>,
    shown: Option<(&Path, &Path)>,
) -> Result<TlsConnector, tls::Error> {
    let roots = match authorities {
        Some(path) => tls::authorities(path)?,
        None => systems(&Authorities::default()),
    };
    let builder = builder(roots)?;
    let tls = match shown {
        Some((certificate, key)) => {
            let chain = tls::certificates(certificate)?;
            builder.with_client_auth_cert(chain, tls::key(key)?)?
        }
        None => builder.with_no_client_auth(),
    };
    Ok(TlsConnector::from(Arc::new(tls)))
}

fn systems(more: &Authorities) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let certificates = found.certs.into_iter().chain(more.0.iter().cloned());
    let (known, _) = roots.add_parsable_certificates(certificates);
    if known == 0 {
        tracing::warn!("the system has no root certificates: no server's can be checked");
    }
    roots
}

fn builder(
    roots: RootCertStore,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, tokio_rustls::rustls::Error> {
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots))
}

/// Whose certificate a URL's server must show.
pub(crate) fn server_name(url: &url::Url) -> Option<ServerName<'static>> {
    match url.host()? {
        url::Host::Domain(name) => ServerName::try_from(name.to_owned()).ok(),
        url::Host::Ipv4(address) => Some(std::net::IpAddr::from(address).into()),
        url::Host::Ipv6(address) => Some(std::net::IpAddr::from(address).into()),
    }
}

/// The `Host` of a request to a URL, and its target.
pub(crate) fn host_and_target(url: &url::Url) -> Option<(String, String)> {
    let target = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let host = match (url.host_str()?, url.port()) {
        (host, Some(port)) => format!("{host}:{port}"),
        (host, None) => host.to_owned(),
    };
    Some((host, target))
}

/// A task, such as one that drives a connection; it ends with whoever holds this.
pub(crate) struct Driven(pub(crate) AbortHandle);

impl Drop for Driven {
    fn drop(&mut self) {
        self.0.abort();
    }
}
