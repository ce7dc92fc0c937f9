//! Files of versions before: what they hold is there afterwards.

use cardveil_core::audit::Kind;
use cardveil_core::merchant::{Credential, Permissions, Scope};
use cardveil_core::mfa::Factor;
use cardveil_core::port::{Admin, Change, Registry, Set};
use cardveil_core::verb::{Changes, Commit};
use cardveil_core::wallet::WalletRules;
use cardveil_testkit::sample::{self, START};

use crate::home::Home;

/// The file of the first version, with a merchant in it.
fn first_version(home: &Home) {
    let raw = rusqlite::Connection::open(&home.options.database).unwrap();
    raw.execute_batch(include_str!("../../src/sqlite/migrations/0001_start.sql"))
        .unwrap();
    raw.execute_batch(
        "INSERT INTO merchant (id, name, state, pci_enabled, created_at)
         VALUES ('mer_1', 'Merchant 1', 'active', 1, 0);
         PRAGMA application_id = 0x43564549;
         PRAGMA user_version = 1;",
    )
    .unwrap();
}

#[tokio::test]
async fn a_file_from_before_wallets_enables_none_and_takes_tokens() {
    let home = Home::new();
    first_version(&home);
    let (store, opened) = home.try_open().unwrap();
    assert!(!opened.created);
    let merchant = store.merchant(&sample::merchant(1).id).await.unwrap();
    let merchant = merchant.unwrap();
    assert_eq!(merchant.wallets, WalletRules::default());
    let kept: Vec<_> = merchant.mfa.factors.fallback.iter().collect();
    assert_eq!(kept, [Factor::Otp], "what counted before goes on to count");
    let card = Change::AddCard(Box::new(sample::card(1)));
    let added = sample::event(Kind::CardAdded, START);
    assert_eq!(
        store.commit(Changes(vec![(card, added)])).await.unwrap(),
        [Ok(())]
    );
    let asked = sample::wallet_asked(1, START);
    let token = store.commit(asked).await.unwrap().unwrap();
    assert_eq!(token.card, sample::card(1).id);
}

/// Embeds keep what they had; one that is added afterwards asks for it.
#[tokio::test]
async fn an_embed_from_before_keeps_its_transparent_parts() {
    let home = Home::new();
    first_version(&home);
    let raw = rusqlite::Connection::open(&home.options.database).unwrap();
    raw.execute_batch(
        "INSERT INTO embed (id, merchant, origins, copy_cvv, enabled, created_at)
         VALUES ('emb_1', 'mer_1', '[\"http://shop.example\"]', 0, 1, 0);",
    )
    .unwrap();
    drop(raw);
    let (store, _) = home.try_open().unwrap();
    let kept = store.embed(&sample::embed(1).id).await.unwrap().unwrap();
    assert!(kept.transparent);
    assert_eq!(kept.origins, ["http://shop.example"]);
    let raw = rusqlite::Connection::open(&home.options.database).unwrap();
    raw.execute_batch(
        "INSERT INTO embed (id, merchant, origins, copy_cvv, enabled, created_at)
         VALUES ('emb_2', 'mer_1', '[]', 0, 1, 0);",
    )
    .unwrap();
    let added = store.embed(&sample::embed(2).id).await.unwrap().unwrap();
    assert!(!added.transparent);
}

/// What scopes meant before there were scopes for exporting, PINs and one-time codes, they mean
/// afterwards.
#[tokio::test]
async fn credentials_of_the_version_before_keep_what_they_could() {
    let home = Home::new();
    first_version(&home);
    let raw = rusqlite::Connection::open(&home.options.database).unwrap();
    raw.execute_batch(
        "INSERT INTO merchant (id, name, state, pci_enabled, created_at)
         VALUES ('mer_2', 'Merchant 2', 'active', 0, 0)",
    )
    .unwrap();
    let add = |n: u8, merchant: &str, scopes: &str, person: Option<[u8; 16]>| {
        raw.execute(
            "INSERT INTO credential (key_hash, id, merchant, dek, sealed, allowed_ips, scopes, person,
                 state, created_at)
             VALUES (?1, ?2, ?3, x'', x'', '[]', ?4, ?5, 'enabled', 0)",
            rusqlite::params![[n; 32], format!("crd_{n}"), merchant, scopes, person],
        )
        .unwrap();
    };
    let all = r#"["cards:read:any","cards:write:any","webhooks:manage"]"#;
    let own = r#"["cards:read:own","cards:write:own","webhooks:manage"]"#;
    add(1, "mer_1", all, None);
    add(2, "mer_1", own, Some([7; 16]));
    add(3, "mer_2", all, None);
    add(4, "mer_2", "[]", None);
    drop(raw);

    let (store, _) = home.try_open().unwrap();
    let merchants = store.merchants().await.unwrap();
    let [first, second] = merchants.as_slice() else {
        panic!("{merchants:?}")
    };
    assert_eq!(first.permissions, sample::merchant(1).permissions);
    let set_pins = Permissions {
        set_pins: true,
        ..Permissions::default()
    };
    assert_eq!(second.permissions, set_pins);
    let known = store.credentials().await.unwrap();
    let scopes: Vec<Vec<_>> = known
        .iter()
        .map(|known| known.scopes.iter().map(|scope| scope.as_str()).collect())
        .collect();
    let common = ["webhooks:manage", "cards:export", "pins:read", "pins:set"];
    let expected: [&[&str]; 4] = [
        &[
            &["cards:read:any", "cards:write:any"],
            &common[..],
            &["mfa:codes"],
        ]
        .concat(),
        &[&["cards:read:own", "cards:write:own"], &common[..]].concat(),
        &[
            "cards:read:any",
            "cards:write:any",
            "webhooks:manage",
            "pins:set",
            "mfa:codes",
        ],
        &[],
    ];
    assert_eq!(scopes, expected);
    assert!(known.iter().all(|known| known.ip_ceiling.is_none()));
    let inherited: Vec<_> = known.iter().map(|known| known.inherited).collect();
    assert_eq!(inherited, [true, true, true, false]);

    // A program of the version before that has the file open reads no more than it may act on.
    let narrowed = Credential {
        scopes: vec![Scope::CardsReadAny, Scope::MfaManage],
        ..known[0].clone()
    };
    let change = Change::SetCredential(Set::boxed(known[0].clone(), narrowed.clone()));
    let event = sample::event(Kind::CredentialChanged, START);
    store.commit(Changes(vec![(change, event)])).await.unwrap()[0].unwrap();
    assert_eq!(store.credentials().await.unwrap()[0], narrowed);
    let raw = rusqlite::Connection::open(&home.options.database).unwrap();
    let sql = "SELECT scopes FROM credential WHERE id = 'crd_1'";
    let before: String = raw.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(before, r#"["mfa:manage"]"#);
}
