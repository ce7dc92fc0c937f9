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

/// A generator refused the document, and its Go client did not compile; a linter had 108 things to
/// say.
#[test]
fn generators_and_linters_find_nothing_openapi_generator_15216_utoipa_1288_kiota_3920_redocly_spectral()
 {
    let document = document();
    assert_eq!(document["info"]["license"]["identifier"], "Apache-2.0");
    assert!(document["info"]["contact"]["url"].is_string());
    let opening = document["info"]["description"].as_str().unwrap();
    let places = [
        "## Authentication",
        "Bearer",
        "## A first call",
        "curl http",
    ];
    let places = places.map(|part| opening.find(part).unwrap());
    assert!(places.is_sorted(), "{places:?}");
    assert_eq!(document["servers"].as_array().unwrap().len(), 3);
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let text = document.to_string();
    for name in schemas.keys() {
        // Go's generator makes a function `NewX` for each `X`.
        assert!(!schemas.contains_key(&format!("New{name}")), "{name}");
        let used = format!("\"#/components/schemas/{name}\"");
        assert!(text.contains(&used), "{name} is of no use");
    }
    let tags: Vec<_> = document["tags"].as_array().unwrap().iter().collect();
    for (path, item) in document["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values() {
            assert!(operation["description"].is_string(), "{path}");
            let tag = &operation["tags"][0];
            assert!(tags.iter().any(|known| known["name"] == *tag), "{tag}");
            let statuses: Vec<_> = operation["responses"].as_object().unwrap().keys().collect();
            for class in ["2", "4"] {
                assert!(
                    statuses.iter().any(|status| status.starts_with(class)),
                    "{path}: {class}"
                );
            }
        }
    }
}
