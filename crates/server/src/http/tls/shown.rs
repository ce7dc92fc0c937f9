//! What counts of a certificate that a caller shows.

use cardveil_core::merchant::{CertificateHash, ClientCertificate, PublicKeyHash};
use cardveil_seal::sha256;
use tokio_rustls::rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// `None` for what TLS would not take for a caller's certificate either.
pub(crate) fn of(certificate: &CertificateDer<'_>) -> Option<ClientCertificate> {
    let parsed = EndEntityCert::try_from(certificate).ok()?;
    Some(ClientCertificate {
        hash: CertificateHash(sha256(&[certificate])),
        key: PublicKeyHash(sha256(&[&parsed.subject_public_key_info()])),
        dns_names: parsed.valid_dns_names().map(ToOwned::to_owned).collect(),
    })
}
