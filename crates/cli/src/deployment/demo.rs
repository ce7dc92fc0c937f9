//! The demo's Api-Keys, which everyone knows: a deployment that holds one is not served.

use cardveil_core::Service;

pub(crate) const API_KEY: &str = "cvk_test_demo-keysecure-everyone-knows-this-key";
pub(crate) const EQUALS_API_KEY: &str = "cvk_test_demo-equals-everyone-knows-this-key";
pub(crate) const MFA_EQUALS_API_KEY: &str = "cvk_test_demo-mfa-everyone-knows-this-key";

/// Whether a database holds the demo's credentials.
pub(crate) async fn credentials_present(service: &Service) -> anyhow::Result<bool> {
    for key in [API_KEY, EQUALS_API_KEY, MFA_EQUALS_API_KEY] {
        if service.admission(key).await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}
