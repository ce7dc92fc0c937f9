use cardveil_core::merchant::*;
use cardveil_testkit::sample;

fn shown(certificate: u8, key: u8, dns_names: &[&str]) -> ClientCertificate {
    ClientCertificate {
        hash: CertificateHash([certificate; 32]),
        key: PublicKeyHash([key; 32]),
        dns_names: dns_names.iter().map(|&name| name.to_owned()).collect(),
    }
}

fn bound(pins: &[&str]) -> Credential {
    let pin = |text: &&str| Pin::parse(text).unwrap();
    Credential {
        client_certificates: pins.iter().map(pin).collect(),
        ..sample::credential(1)
    }
}

#[test]
fn a_binding_is_met_by_its_certificate_alone() {
    let own = shown(1, 2, &["*.partner.example", "Partner.example"]);
    let renewed = shown(3, 2, &[]);
    let other = shown(4, 5, &["other.example", "a.partner.example"]);
    let key = Pin::Key(PublicKeyHash([2; 32])).to_string();
    let certificate = Pin::Certificate(CertificateHash([1; 32])).to_string();
    for (pin, of_the_renewed) in [
        (&*key, true),
        (&certificate, false),
        ("dns:partner.example", false),
    ] {
        let credential = bound(&[pin]);
        assert!(credential.allows_certificate(Some(&own)), "{pin}");
        let allowed = credential.allows_certificate(Some(&renewed));
        assert_eq!(allowed, of_the_renewed, "{pin}");
        assert!(!credential.allows_certificate(Some(&other)), "{pin}");
        assert!(!credential.allows_certificate(None), "{pin}");
    }
    // A key's hash is no certificate's, and a pattern in a certificate is no name.
    let crossed = format!("certificate:{}", PublicKeyHash([2; 32]));
    assert!(!bound(&[&crossed]).allows_certificate(Some(&own)));
    assert!(!bound(&["dns:b.partner.example"]).allows_certificate(Some(&own)));
    // Two while one takes the other's place.
    let both = bound(&[&certificate, "dns:other.example"]);
    assert!(both.allows_certificate(Some(&own)) && both.allows_certificate(Some(&other)));
    assert!(!both.allows_certificate(Some(&renewed)));
}

#[test]
fn without_a_binding_any_certificate_will_do_and_none() {
    let free = bound(&[]);
    assert!(free.allows_certificate(None));
    assert!(free.allows_certificate(Some(&shown(1, 1, &[]))));
}

#[test]
fn a_hash_is_taken_as_openssl_writes_it() {
    let pin = Pin::Key(PublicKeyHash([0xab; 32]));
    let colons = ["AB"; 32].join(":");
    for text in [
        pin.to_string(),
        format!("key:{colons}"),
        format!("key:{}", "ab".repeat(32)),
    ] {
        assert_eq!(Pin::parse(&text).unwrap(), pin, "{text}");
    }
    let name = Pin::parse("dns:Api.Partner.example").unwrap();
    assert_eq!(name.to_string(), "dns:api.partner.example");
}

#[test]
fn what_is_no_pin_is_refused() {
    let short = format!("key:{}", "ab".repeat(31));
    let odd = format!("certificate:{}a", "ab".repeat(31));
    let long = format!("dns:{}", "a.".repeat(127));
    for (text, error) in [
        ("", InvalidPin::Kind),
        ("partner.example", InvalidPin::Kind),
        ("sha256:abab", InvalidPin::Kind),
        ("key:", InvalidPin::Hash),
        (&short, InvalidPin::Hash),
        (&odd, InvalidPin::Hash),
        ("dns:", InvalidPin::Name),
        ("dns:*.partner.example", InvalidPin::Name),
        ("dns:partner..example", InvalidPin::Name),
        ("dns:partner.example/", InvalidPin::Name),
        (&long, InvalidPin::Name),
    ] {
        assert_eq!(Pin::parse(text), Err(error), "{text}");
    }
}
