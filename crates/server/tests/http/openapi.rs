//! The description of all listeners.

use std::collections::BTreeSet;

use serde_json::Value;

fn document() -> Value {
    serde_json::to_value(cardveil_server::document()).unwrap()
}

fn walk(value: &Value, visit: &mut impl FnMut(&str, &Value)) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                visit(name, member);
                walk(member, visit);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| walk(item, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn it_is_openapi_3_1() {
    let document = document();
    assert!(
        document["openapi"].as_str().unwrap().starts_with("3.1."),
        "{}",
        document["openapi"]
    );
    assert_eq!(document["info"]["title"], "Cardveil");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert!(document["paths"].as_object().unwrap().len() >= 13);
}

#[test]
fn every_reference_resolves() {
    let document = document();
    let mut count = 0;
    walk(&document, &mut |name, target| {
        if name == "$ref" {
            let pointer = target.as_str().unwrap().strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{target}");
            count += 1;
        }
    });
    assert!(count > 20, "{count}");
}

#[test]
fn every_security_scheme_that_is_named_is_there_and_used() {
    let document = document();
    let schemes = document["components"]["securitySchemes"]
        .as_object()
        .unwrap();
    let mut used = BTreeSet::new();
    walk(&document["paths"], &mut |name, requirements| {
        if name == "security" {
            for requirement in requirements.as_array().unwrap() {
                used.extend(requirement.as_object().unwrap().keys().cloned());
            }
        }
    });
    assert_eq!(used, schemes.keys().cloned().collect());
}

#[test]
fn operation_ids_are_unique() {
    let document = document();
    let mut ids = Vec::new();
    walk(&document["paths"], &mut |name, id| {
        if name == "operationId" {
            ids.push(id.as_str().unwrap().to_owned());
        }
    });
    let unique: BTreeSet<_> = ids.iter().collect();
    assert!(ids.len() >= 16);
    assert_eq!(ids.len(), unique.len());
}

#[test]
fn every_parameter_in_a_path_is_described() {
    let document = document();
    for (path, item) in document["paths"].as_object().unwrap() {
        for name in path
            .split('{')
            .skip(1)
            .map(|rest| rest.split('}').next().unwrap())
        {
            for operation in item.as_object().unwrap().values() {
                let described = operation["parameters"].as_array().unwrap();
                let described = described.iter().any(|parameter| {
                    parameter["name"] == name
                        && parameter["in"] == "path"
                        && parameter["required"] == true
                });
                assert!(described, "{path}: {name}");
            }
        }
    }
}
