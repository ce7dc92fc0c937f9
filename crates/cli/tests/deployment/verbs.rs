//! Verbs that no other story here comes by: subscriptions, and what a credential keeps of its
//! networks.

use serde_json::json;

use crate::world::{World, string, text};

fn ok(world: &World, args: &[&str]) {
    let run = world.run(args);
    assert!(run.status.success(), "{args:?}: {}", text(&run.stderr));
}

#[test]
fn a_subscription_is_added_shown_changed_and_removed() {
    let world = World::new(1);
    let merchant = world.merchant.clone();
    let add = [
        "webhook",
        "add",
        "--merchant",
        &merchant,
        "--url",
        "https://a.example/",
        "--json",
    ];
    let added = world.json(&add);
    let (id, secret) = (string(&added, "/id"), string(&added, "/secret"));
    assert!(secret.starts_with("whsec_"), "{added}");
    let shown = world.json(&["webhook", "show", &id, "--json"]);
    assert_eq!(shown["topics"], json!(["card.state"]));
    assert_eq!(shown["enabled"], true);
    assert_eq!(shown.get("secret"), None, "it is shown once");
    let listed = world.json(&["webhook", "list", "--json"]);
    assert_eq!(listed, json!([shown]));

    let set = [
        "webhook",
        "set",
        &id,
        "--enabled",
        "false",
        "--topic",
        "reveal.conflict",
    ];
    ok(&world, &set);
    let plain = world.run(&["webhook", "set", &id, "--url", "ftp://b.example/"]);
    assert_eq!(plain.status.code(), Some(2), "{}", text(&plain.stderr));
    let args = ["webhook", "set", &id, "--secret-stdin"];
    let short = world.feed(&args, "whsec_AAAA\n");
    assert_eq!(short.status.code(), Some(1));
    assert!(text(&short.stderr).contains("hint: "));
    assert!(!text(&short.stderr).contains("AAAA"));
    let given = world.feed(&args, &format!("whsec_{}\n", "A".repeat(32)));
    assert!(given.status.success(), "{}", text(&given.stderr));
    let changed = world.json(&["webhook", "show", &id, "--json"]);
    assert_eq!(changed["topics"], json!(["reveal.conflict"]));
    assert_eq!(changed["enabled"], false);
    assert_eq!(changed["url"], shown["url"]);

    ok(&world, &["webhook", "remove", &id]);
    assert_eq!(world.json(&["webhook", "list", "--json"]), json!([]));
    let gone = world.run(&["webhook", "show", &id]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(text(&gone.stderr).contains("hint: "));
    let audit = serde_json::to_string(&world.audit()).unwrap();
    assert!(!audit.contains("whsec_") && !audit.contains("AAAA"));
}

/// KeySecure's subscriptions are signed with the secret of an Api-Key, which comes on standard
/// input.
#[test]
fn a_subscription_of_keysecures_form_takes_the_merchants_own_api_key() {
    let world = World::new(0);
    let merchant = world.merchant.clone();
    let add = [
        "webhook",
        "add",
        "--merchant",
        &merchant,
        "--url",
        "https://a.example/",
        "--form",
        "keysecure",
        "--json",
    ];
    let foreign = world.feed(&add, "cvk_test_nobodys\n");
    assert_eq!(foreign.status.code(), Some(1));
    assert!(
        text(&foreign.stderr).contains("Api-Key"),
        "{}",
        text(&foreign.stderr)
    );
    let own = world.feed(&add, &format!("{}\n", world.api_key));
    assert!(own.status.success(), "{}", text(&own.stderr));
    assert!(!text(&own.stdout).contains(&world.api_key));
}

#[test]
fn what_is_on_its_way_is_listed_and_sent_again() {
    let world = World::new(1);
    let merchant = world.merchant.clone();
    let add = [
        "webhook",
        "add",
        "--merchant",
        &merchant,
        "--url",
        "https://a.example/",
        "--json",
    ];
    let id = string(&world.json(&add), "/id");
    let set = [
        "card",
        "set",
        "C0",
        "--merchant",
        &merchant,
        "--state",
        "suspended",
    ];
    ok(&world, &set);
    let deliveries = |more: &[&str]| {
        let args: Vec<_> = ["webhook", "deliveries", "--json"]
            .iter()
            .chain(more)
            .copied()
            .collect();
        world.json(&args).as_array().unwrap().clone()
    };
    let waiting = deliveries(&["--state", "waiting"]);
    assert_eq!(waiting.len(), 1);
    assert_eq!(waiting[0]["topic"], "card.state");
    assert_eq!(waiting[0]["attempts"], 0);
    assert_eq!(deliveries(&["--subscription", &id]), waiting);
    assert!(deliveries(&["--state", "failed"]).is_empty());
    let table = world.run(&["webhook", "deliveries"]);
    assert!(text(&table.stdout).contains("card.state"));

    let since = [
        "webhook",
        "replay",
        "--subscription",
        &id,
        "--since",
        "2020-01-01T00:00:00Z",
    ];
    ok(&world, &since);
    ok(&world, &["webhook", "replay", &string(&waiting[0], "/id")]);
    let kinds: Vec<_> = world
        .audit()
        .iter()
        .map(|entry| string(entry, "/kind"))
        .collect();
    assert!(
        kinds.iter().any(|kind| kind == "webhook.replayed"),
        "{kinds:?}"
    );
    let nothing = world.run(&["webhook", "replay"]);
    assert_eq!(nothing.status.code(), Some(2));
    let unknown = world.run(&["webhook", "replay", "99999999-5eb3-4dbc-916c-dbaf9e2deefd"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stderr).contains("hint: "));
}

/// A description is the merchant's own word for an address (Equals: `/v2/ipaddresses`). An operator
/// who writes a new list takes it from no address that stays.
#[test]
fn addresses_that_stay_keep_their_descriptions() {
    let world = World::new(0);
    let keys = world.json(&[
        "credential",
        "add",
        "--merchant",
        &world.merchant,
        "--allow-ip",
        "127.0.0.1/32",
        "--scope",
        "ip-addresses:manage",
        "--ip-ceiling",
        "203.0.113.0/24",
        "--json",
    ]);
    let authorization = format!("ApiKey {}", string(&keys, "/api_key"));
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/json"),
    ];
    let _server = world.serve();
    let mut merchant = crate::http::Connection::open(world.merchant_at).unwrap();
    let body = json!({"ip": "203.0.113.7", "description": "the office"}).to_string();
    let added = merchant
        .send("POST", "/v2/ipaddresses", &headers, &body)
        .unwrap();
    assert!(added.status < 300, "{}", added.body);
    let id = string(&keys, "/id");
    ok(
        &world,
        &[
            "credential",
            "set",
            &id,
            "--allow-ip",
            "127.0.0.1",
            "--allow-ip",
            "203.0.113.7",
            "--allow-ip",
            "203.0.113.8",
        ],
    );
    let listed = crate::http::get(world.merchant_at, "/v2/ipaddresses", &headers)
        .unwrap()
        .json();
    let told: Vec<_> = listed["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (string(row, "/ip"), row["description"].clone()))
        .collect();
    let office = told
        .iter()
        .find(|(ip, _)| ip.starts_with("203.0.113.7"))
        .unwrap();
    assert_eq!(office.1, "the office", "{listed}");
    assert_eq!(told.len(), 3);
}

/// A card goes only after its end, and its records stay.
#[test]
fn a_card_that_has_ended_is_removed() {
    let world = World::new(2);
    let merchant = world.merchant.as_str();
    let card = |verb: &[&str]| {
        let mut args = vec!["card"];
        args.extend_from_slice(verb);
        args.extend_from_slice(&["--merchant", merchant]);
        world.run(&args)
    };
    let early = card(&["remove", "C0"]);
    assert_eq!(early.status.code(), Some(1));
    assert!(text(&early.stderr).contains("hint: end it first"));
    assert!(
        card(&["set", "C0", "--state", "terminated"])
            .status
            .success()
    );
    let removed = card(&["remove", "C0"]);
    assert!(removed.status.success(), "{}", text(&removed.stderr));
    assert_eq!(card(&["show", "C0"]).status.code(), Some(1));
    assert!(card(&["show", "C1"]).status.success());
    let last = world.audit().pop().unwrap();
    assert_eq!(last["kind"], "card.removed");
    assert_eq!(last["detail"]["note"], "by an operator");
}
