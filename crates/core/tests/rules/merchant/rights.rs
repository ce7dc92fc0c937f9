use cardveil_core::audit::Topic;
use cardveil_core::id::PersonId;
use cardveil_core::merchant::*;
use cardveil_testkit::sample;

type Give = fn(&mut Permissions);

fn credential(scopes: &[Scope], person: Option<PersonId>) -> Credential {
    Credential {
        scopes: scopes.to_vec(),
        person,
        ..sample::credential(1)
    }
}

fn person() -> PersonId {
    PersonId::from_bytes([1; 16])
}

/// A merchant that may have nothing but frames.
fn plain() -> Merchant {
    Merchant {
        permissions: Permissions::default(),
        ..sample::merchant(1)
    }
}

#[test]
fn a_pair_without_flags_reads_cards_and_nothing_else() {
    for credential in [
        credential(&[Scope::CardsReadAny], None),
        credential(&[Scope::CardsReadOwn], Some(person())),
    ] {
        for merchant in [plain(), sample::merchant(1)] {
            for need in Need::ALL {
                let may = judge(&merchant, &credential, need).is_ok();
                assert_eq!(may, need == Need::ReadCards, "{need:?}");
            }
        }
        assert!(!credential.may_tell(Topic::MfaCode));
    }
}

#[test]
fn what_is_asked_for_by_name_needs_the_merchant_too() {
    let all = credential(&Scope::ALL, None);
    let told = [Need::ExportCards, Need::ReadPins, Need::SetPins];
    for need in Need::ALL {
        let judged = judge(&plain(), &all, need);
        let expected = if told.contains(&need) {
            Err(Lack::Permission)
        } else {
            Ok(())
        };
        assert_eq!(judged, expected, "{need:?}");
    }
    let gives: [(Need, Give); 3] = [
        (Need::ExportCards, |given| given.export = true),
        (Need::ReadPins, |given| given.read_pins = true),
        (Need::SetPins, |given| given.set_pins = true),
    ];
    for (need, give) in gives {
        let mut merchant = plain();
        give(&mut merchant.permissions);
        for other in told {
            let may = judge(&merchant, &all, other).is_ok();
            assert_eq!(may, other == need, "{need:?} {other:?}");
        }
        merchant.pci_enabled = false;
        let clear = need != Need::SetPins;
        assert_eq!(judge(&merchant, &all, need).is_err(), clear, "{need:?}");
    }
}

#[test]
fn a_need_is_met_by_its_scope_and_by_no_other() {
    let needs = [
        (Need::ExportCards, Scope::CardsExport),
        (Need::ReadPins, Scope::PinsRead),
        (Need::SetPins, Scope::PinsSet),
        (Need::ProvisionWallets, Scope::WalletsProvision),
        (Need::WriteCards, Scope::CardsWriteAny),
        (Need::ManageWebhooks, Scope::WebhooksManage),
        (Need::ManageIpAddresses, Scope::IpAddressesManage),
        (Need::ManageMfa, Scope::MfaManage),
    ];
    for (need, scope) in needs {
        for given in Scope::ALL {
            let met = credential(&[Scope::CardsReadAny, given], None).meets(need);
            assert_eq!(met, given == scope, "{need:?} {given:?}");
        }
    }
}

#[test]
fn own_without_a_person_sees_nothing() {
    let sight = |scope, person| credential(&[scope], person).sight();
    assert_eq!(sight(Scope::CardsReadAny, None), Sight::Any);
    assert_eq!(sight(Scope::CardsReadOwn, None), Sight::Nothing);
    let own = Sight::Own(person());
    assert_eq!(sight(Scope::CardsReadOwn, Some(person())), own);
}

#[test]
fn a_credential_of_one_person_reaches_nothing_of_another() {
    let all = credential(&Scope::ALL, Some(person()));
    assert_eq!(all.sight(), Sight::Own(person()));
    assert_eq!(all.reach(), Sight::Own(person()));
    assert!(!all.meets(Need::ManageWebhooks));
    for topic in Topic::ALL {
        assert!(!all.may_tell(topic), "{topic:?}");
    }
}

#[test]
fn what_is_not_seen_is_not_written() {
    use Scope::{CardsReadAny, CardsReadOwn, CardsWriteAny, CardsWriteOwn};
    let reach = |scopes: &[Scope], person| {
        let credential = credential(scopes, person);
        (credential.reach(), credential.meets(Need::WriteCards))
    };
    let nothing = (Sight::Nothing, false);
    assert_eq!(reach(&[CardsReadAny], None), nothing);
    assert_eq!(reach(&[CardsWriteAny], None), nothing);
    assert_eq!(reach(&[CardsReadOwn, CardsWriteOwn], None), nothing);
    assert_eq!(reach(&[CardsReadAny, CardsWriteOwn], None), nothing);
    let any = (Sight::Any, true);
    assert_eq!(reach(&[CardsReadAny, CardsWriteAny], None), any);
    let own = (Sight::Own(person()), true);
    assert_eq!(reach(&[CardsReadOwn, CardsWriteAny], Some(person())), own);
    assert_eq!(reach(&[CardsReadAny, CardsWriteOwn], Some(person())), own);
}

#[test]
fn one_time_codes_have_a_scope_of_their_own() {
    let may = |scopes: &[Scope], topic| credential(scopes, None).may_tell(topic);
    let both = [Scope::WebhooksManage, Scope::MfaCodes];
    assert!(may(&both[..1], Topic::CardState) && !may(&both[..1], Topic::MfaCode));
    assert!(may(&both, Topic::MfaCode) && !may(&both[1..], Topic::MfaCode));
}

/// What a program of the version before made of its scopes.
fn could(scopes: &[Scope], person: Option<PersonId>) -> Vec<Scope> {
    let mut could = scopes.to_vec();
    let has =
        |any, own: Scope| scopes.contains(&any) || (scopes.contains(&own) && person.is_some());
    if has(Scope::CardsReadAny, Scope::CardsReadOwn) {
        could.extend([Scope::CardsExport, Scope::PinsRead]);
    }
    if has(Scope::CardsWriteAny, Scope::CardsWriteOwn) {
        could.push(Scope::PinsSet);
    }
    if scopes.contains(&Scope::WebhooksManage) {
        could.push(Scope::MfaCodes);
    }
    could
}

#[test]
fn the_version_before_can_do_nothing_that_is_not_granted_here() {
    for bits in 0_u32..1 << Scope::ALL.len() {
        let given = Scope::ALL.into_iter().enumerate();
        let given = given.filter(|(place, _)| bits & (1 << place) != 0);
        let scopes: Vec<_> = given.map(|(_, scope)| scope).collect();
        for person in [None, Some(person())] {
            let before = credential(&scopes, person).scopes_before();
            for scope in could(&before, person) {
                assert!(scopes.contains(&scope), "{scopes:?}: {scope:?}");
                assert!(person.is_none() || !scope.is_of_all(), "{scope:?}");
            }
        }
    }
    let kept = credential(&Scope::ALL, None).scopes_before();
    assert!(kept.contains(&Scope::CardsReadAny) && kept.contains(&Scope::CardsWriteAny));
    let ceiling = Credential {
        ip_ceiling: Some(vec![]),
        ..credential(&Scope::ALL, None)
    };
    assert!(!ceiling.scopes_before().contains(&Scope::IpAddressesManage));
}
