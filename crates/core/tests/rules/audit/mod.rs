//! What every record has, whatever it is of.

mod chain;
mod personal;
mod settings;

use cardveil_core::audit::*;
use cardveil_testkit::sample::START;

/// PCI DSS 10.2.2: user, type, date and time, success or failure, origination, and what was
/// affected.
#[test]
fn every_kind_of_record_has_the_fields_of_pci_dss_10_2_2() {
    let network = Source {
        actor: Actor::System,
        origin: Origin::Network {
            ip: Some([192, 0, 2, 1].into()),
            request: "req_1".into(),
        },
    };
    let sources = [
        Source::server(),
        Source::operator("tester".to_owned()),
        network,
    ];
    for kind in Kind::ALL {
        for source in &sources {
            let target = Target {
                resource: Some("resource".into()),
                ..Target::default()
            };
            let event = source.event(START, kind, None, target);
            let record = serde_json::to_value(&event).unwrap();
            assert!(record["at"].is_i64(), "{record}");
            assert_eq!(record["kind"], kind.as_str());
            for field in ["actor", "origin", "outcome"] {
                assert!(
                    record[field].is_string() || record[field].is_object(),
                    "{field}: {record}"
                );
            }
            assert_eq!(record["target"]["resource"], "resource");
            let mut less = record.clone();
            for field in ["at", "kind", "actor", "origin", "outcome", "target"] {
                let kept = less.as_object_mut().unwrap().remove(field).unwrap();
                let read = serde_json::from_value::<Event>(less.clone());
                assert!(read.is_err(), "none is read without {field}");
                less[field] = kept;
            }
            assert_eq!(serde_json::from_value::<Event>(less).unwrap(), event);
        }
    }
}
