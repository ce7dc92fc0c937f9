//! `--client-certificate` of `cardveil credential`.

use std::path::Path;

use cardveil_core::merchant::Pin;
use cardveil_server::tls;

use crate::deployment::config::Partners;
use crate::print::{hinted, say};

/// A pin, by its text or by the file of a certificate; `None` for any certificate and none.
pub(super) fn pin(text: &str) -> Result<Option<Pin>, String> {
    if text == "any" {
        return Ok(None);
    }
    let parsed = match text.split_once(":@") {
        Some((kind @ ("key" | "certificate"), file)) => {
            let of = tls::client_certificate(Path::new(file)).map_err(|error| error.to_string())?;
            if kind == "key" {
                Pin::Key(of.key)
            } else {
                Pin::Certificate(of.hash)
            }
        }
        Some(_) | None => Pin::parse(text).map_err(|error| error.to_string())?,
    };
    Ok(Some(parsed))
}

/// To which certificates a new credential is to be bound. Where they are demanded, somebody decides
/// that: without a binding, whoever shows another partner's gets in, too.
pub(super) fn of_new(given: Vec<Option<Pin>>, partners: Partners) -> anyhow::Result<Vec<Pin>> {
    if given.is_empty() && partners == Partners::MustShow {
        return Err(hinted(
            "the merchant listener demands client certificates, and this credential is bound to none",
            "give --client-certificate key:@partner.pem; or any, and each partner's will do",
        ));
    }
    chosen(given, partners)
}

/// To which certificates a credential is to be bound.
pub(super) fn chosen(given: Vec<Option<Pin>>, partners: Partners) -> anyhow::Result<Vec<Pin>> {
    let count = given.len();
    let pins: Vec<_> = given.into_iter().flatten().collect();
    if pins.len() < count && count > 1 {
        return Err(hinted(
            "--client-certificate any is beside another",
            "give either any, or the certificates that it is to be bound to",
        ));
    }
    if !pins.is_empty() && partners == Partners::ShowNone {
        say(
            "nobody can call with it until the merchant listener asks for certificates: \
             tls.merchant.client_ca",
        );
    }
    Ok(pins)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PublicKeyData as _};

    use super::*;

    #[test]
    fn a_file_is_read_for_its_key_or_itself() {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let certificates = ["first.pem", "renewed.pem"].map(|name| {
            let params = CertificateParams::new(vec!["partner.example".to_owned()]).unwrap();
            let file = folder.path().join(name);
            std::fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
            file.display().to_string()
        });
        let of = |kind: &str| {
            let pins = certificates
                .each_ref()
                .map(|file| pin(&format!("{kind}:@{file}")));
            pins.map(|pin| pin.unwrap().unwrap())
        };
        let [first, renewed] = of("key");
        assert_eq!(first, renewed);
        // What `openssl dgst -sha256` says of the key in DER.
        let expected = cardveil_seal::sha256(&[&key.subject_public_key_info()]);
        let pairs = expected.map(|byte| format!("{byte:02X}"));
        let hex = pairs.join(":");
        assert_eq!(pin(&format!("key:{hex}")), Ok(Some(first)));
        let [first, renewed] = of("certificate");
        assert_ne!(first, renewed);
        for wrong in [
            "key:@/nowhere.pem",
            "dns:@partner.pem",
            "@partner.pem",
            "none",
        ] {
            assert!(pin(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_new_credential_is_bound_or_said_not_to_be_where_certificates_are_demanded() {
        let own = || pin("dns:partner.example").unwrap();
        assert!(of_new(vec![], Partners::MustShow).is_err());
        assert_eq!(of_new(vec![None], Partners::MustShow).unwrap(), []);
        let pins = of_new(vec![own()], Partners::MustShow).unwrap();
        assert_eq!(pins, own().as_slice());
        for partners in [Partners::MayShow, Partners::ShowNone] {
            assert_eq!(of_new(vec![], partners).unwrap(), []);
        }
        assert!(chosen(vec![own(), None], Partners::MustShow).is_err());
    }
}
