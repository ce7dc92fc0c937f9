//! What merchants and credentials may do and need not: what came from before it was asked for by
//! name, and what does nothing.

use std::time::Duration;

use cardveil_core::clock::Time;
use cardveil_core::merchant::{Credential, Merchant, Scope};

use super::{Check, check};
use crate::deployment::config::Partners;
use crate::deployment::permitted::PERMITTED;

/// One line for each thing to narrow.
pub(super) fn look(
    merchants: &[Merchant],
    credentials: &[Credential],
    (partners, now): (Partners, Time),
    checks: &mut Vec<Check>,
) {
    let used = || credentials.iter().filter(|known| known.usable(now).is_ok());
    let mut found: Vec<_> = used().filter_map(inherited).collect();
    found.extend(used().filter_map(of_one_person));
    found.extend(used().filter_map(without_ceiling));
    found.extend(used().filter_map(|known| of_no_certificate(known, partners)));
    found.extend(used().filter_map(|known| ends_soon(known, now)));
    for merchant in merchants {
        let own = || used().filter(|known| known.merchant == merchant.id);
        found.extend(idle(merchant, &own));
    }
    if found.is_empty() {
        checks.push(check("permissions", true, "each was asked for by name"));
    }
    let wide = found.into_iter();
    checks.extend(wide.map(|found| check("permissions", false, found)));
}

fn inherited(known: &Credential) -> Option<String> {
    known.inherited.then(|| {
        format!(
            "{} may do what nobody asked for by name ({}): say what it needs with `credential set {} \
             --scope ...`",
            known.id,
            names(&known.scopes),
            known.id
        )
    })
}

fn of_one_person(known: &Credential) -> Option<String> {
    let mut of_all = known.scopes.clone();
    of_all.retain(|scope| scope.is_of_all());
    (known.person.is_some() && !of_all.is_empty()).then(|| {
        format!(
            "{} is of one person, so it has less than it says ({}): give it cards:read:own and \
             cards:write:own, or another credential without --person",
            known.id,
            names(&of_all)
        )
    })
}

fn without_ceiling(known: &Credential) -> Option<String> {
    let adds = known.scopes.contains(&Scope::IpAddressesManage);
    (adds && known.ip_ceiling.is_none()).then(|| {
        format!(
            "{} may itself add any network to those it may call from: `credential set {} --ip-ceiling \
             ...`, or leave ip-addresses:manage out",
            known.id, known.id
        )
    })
}

/// A certificate that is demanded says that the caller is a partner. Which one, a binding says.
fn of_no_certificate(known: &Credential, partners: Partners) -> Option<String> {
    let is_bound = !known.client_certificates.is_empty();
    let what = match (partners, is_bound) {
        (Partners::MustShow, false) => "works with any partner's client certificate",
        (Partners::ShowNone, true) => {
            "is bound to a client certificate, and the merchant listener asks for none, so that nobody \
             can call with it: give tls.merchant.client_ca, or"
        }
        (Partners::MustShow | Partners::MayShow, true)
        | (Partners::MayShow | Partners::ShowNone, false) => return None,
    };
    let (ending, value) = if is_bound {
        ("", "any")
    } else {
        (":", "key:@partner.pem")
    };
    Some(format!(
        "{} {what}{ending} `credential set {} --client-certificate {value}`",
        known.id, known.id
    ))
}

/// How long before its end a credential should have been rotated.
const ROTATE_BEFORE: Duration = Duration::from_secs(14 * 86_400);

/// One that was rotated ends as it should, and one that nobody rotates stops a partner.
fn ends_soon(known: &Credential, now: Time) -> Option<String> {
    let ends = known.expires_at?;
    (ends < now.plus(ROTATE_BEFORE)).then(|| {
        format!(
            "{} ends at {ends}: `credential rotate {}`, unless another has its place",
            known.id, known.id
        )
    })
}

/// What the merchant may and none of its credentials uses, and the other way round.
fn idle<'a, I: Iterator<Item = &'a Credential>>(
    merchant: &Merchant,
    own: &impl Fn() -> I,
) -> Vec<String> {
    let mut found = Vec::new();
    for (scope, need, flag) in PERMITTED {
        let mut holders = own().filter(|known| known.scopes.contains(&scope));
        match (merchant.permissions.gives(need), holders.next()) {
            (true, None) => found.push(format!(
                "{} may, and none of its credentials has {}: `merchant set {} {flag} false`",
                merchant.id,
                scope.as_str(),
                merchant.id
            )),
            (false, Some(holder)) => found.push(format!(
                "{} has {}, which does nothing: `merchant set {} {flag} true`, or take it away",
                holder.id,
                scope.as_str(),
                merchant.id
            )),
            (true, Some(_)) | (false, None) => {}
        }
    }
    found
}

fn names(scopes: &[Scope]) -> String {
    let names: Vec<_> = scopes.iter().map(|scope| scope.as_str()).collect();
    names.join(" ")
}

#[cfg(test)]
mod tests {
    use cardveil_core::merchant::{Permissions, Pin};
    use cardveil_testkit::sample::{self, START};

    use super::*;

    fn told(merchant: &Merchant, credential: &Credential) -> Vec<(bool, String)> {
        told_of(merchant, credential, Partners::MayShow)
    }

    fn told_of(
        merchant: &Merchant,
        credential: &Credential,
        partners: Partners,
    ) -> Vec<(bool, String)> {
        let mut checks = Vec::new();
        let credentials = std::slice::from_ref(credential);
        look(
            std::slice::from_ref(merchant),
            credentials,
            (partners, START),
            &mut checks,
        );
        checks
            .into_iter()
            .map(|check| (check.ok, check.found))
            .collect()
    }

    fn pair(scopes: &[Scope]) -> (Merchant, Credential) {
        let merchant = Merchant {
            permissions: Permissions::default(),
            ..sample::merchant(1)
        };
        let credential = Credential {
            scopes: scopes.to_vec(),
            expires_at: None,
            person: None,
            ..sample::credential(1)
        };
        (merchant, credential)
    }

    /// The one finding, which is to be mended.
    fn wrong(merchant: &Merchant, credential: &Credential, words: &str) {
        let told = told(merchant, credential);
        let [(false, found)] = told.as_slice() else {
            panic!("{told:?}")
        };
        assert!(found.contains(words), "{found}");
    }

    #[test]
    fn a_credential_that_any_partner_can_use_is_named_where_certificates_are_demanded() {
        let (merchant, mut credential) = pair(&[Scope::CardsReadAny]);
        let told = |credential: &Credential, partners| {
            let [(ok, found)] = told_of(&merchant, credential, partners).try_into().unwrap();
            (!ok).then_some(found)
        };
        let found = told(&credential, Partners::MustShow).unwrap();
        assert_eq!(
            found,
            "crd_1 works with any partner's client certificate: `credential set crd_1 \
             --client-certificate key:@partner.pem`"
        );
        assert_eq!(told(&credential, Partners::MayShow), None);
        assert_eq!(told(&credential, Partners::ShowNone), None);
        credential.client_certificates = vec![Pin::parse("dns:partner.example").unwrap()];
        assert_eq!(told(&credential, Partners::MustShow), None);
        assert_eq!(told(&credential, Partners::MayShow), None);
        let found = told(&credential, Partners::ShowNone).unwrap();
        assert!(found.contains("nobody can call with it"), "{found}");
    }

    #[test]
    fn what_was_asked_for_by_name_is_well() {
        let (merchant, credential) = pair(&[Scope::CardsReadAny]);
        assert!(told(&merchant, &credential)[0].0);
        let (mut merchant, credential) = pair(&[Scope::CardsReadAny, Scope::CardsExport]);
        merchant.permissions.export = true;
        assert!(told(&merchant, &credential)[0].0);
    }

    #[test]
    fn what_is_wider_than_need_be_is_named() {
        let (merchant, mut credential) = pair(&[Scope::CardsReadAny]);
        credential.inherited = true;
        wrong(&merchant, &credential, "credential set crd_1 --scope");
        credential.state = cardveil_core::merchant::CredentialState::Disabled;
        assert!(
            told(&merchant, &credential)[0].0,
            "one out of use is not asked about"
        );
        let (merchant, mut credential) = pair(&[Scope::CardsReadAny]);
        credential.person = sample::credential(1).person;
        wrong(&merchant, &credential, "is of one person");
        let (merchant, mut credential) = pair(&[Scope::IpAddressesManage]);
        wrong(&merchant, &credential, "--ip-ceiling");
        credential.ip_ceiling = Some(vec![]);
        assert!(told(&merchant, &credential)[0].0);
        let (merchant, credential) = pair(&[Scope::CardsReadAny, Scope::PinsRead]);
        wrong(&merchant, &credential, "--read-pins true");
        let (merchant, mut credential) = pair(&[Scope::CardsReadAny]);
        credential.expires_at = Some(START.plus(ROTATE_BEFORE));
        assert!(told(&merchant, &credential)[0].0);
        credential.expires_at = Some(START.plus(ROTATE_BEFORE / 2));
        wrong(&merchant, &credential, "credential rotate crd_1");
        let (mut merchant, credential) = pair(&[Scope::CardsReadAny]);
        merchant.permissions.set_pins = true;
        wrong(&merchant, &credential, "--set-pins false");
    }
}
