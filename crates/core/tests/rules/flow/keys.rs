//! Rotations beside a server that reads, step by step; and records that were tampered with.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cardveil_core::audit::{Kind, Outcome, Target};
use cardveil_core::card::{
    Card, CardRef, Environment, Field, PanIndexes, Pin, PinLength, SealedCard,
};
use cardveil_core::clock::Time;
use cardveil_core::flow::*;
use cardveil_core::id::CardId;
use cardveil_core::keys::{
    IndexPage, LOOK_EVERY, NOTICE, Retired, Retirement, RootChange, Rotation, Slot,
};
use cardveil_core::port::{Audit as _, Change, Keys as _, Registry as _};
use cardveil_core::vault::{Opener, SecretPlace, Vault};
use cardveil_core::verb::{Changes, Commit, CreateKeys};
use cardveil_seal::{Class, FileRoot, Key, Keyring, Root, Roots, SeededEntropy, WrappedKey};
use cardveil_testkit::sample::{self, START};
use cardveil_testkit::{ManualClock, Memory};
use futures_util::FutureExt as _;
use tempfile::TempDir;

const CARDS: u8 = 7;
const WRAPPING: [Class; 4] = [Class::Pan, Class::Cvv, Class::Pin, Class::Credential];

/// A store with cards, an operator's process, and a server's.
pub(super) struct Setup {
    folder: TempDir,
    pub(super) store: Arc<Memory>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) operator: Service,
    pub(super) server: Service,
}

struct FromFiles {
    paths: Vec<PathBuf>,
    tries: Arc<AtomicUsize>,
    /// Passes while they are opened.
    clock: Option<Arc<ManualClock>>,
}

impl FromFiles {
    fn roots(&self) -> Roots {
        let mut roots = self
            .paths
            .iter()
            .map(|path| Box::new(FileRoot::open(path).unwrap()) as Box<dyn Root>);
        Roots::new(roots.next().unwrap(), roots.collect())
    }
}

#[async_trait]
impl Opener for FromFiles {
    async fn open(&self, keys: Vec<WrappedKey>) -> Result<Keyring, cardveil_seal::Error> {
        self.tries.fetch_add(1, Ordering::Relaxed);
        // As slow as a module: others come meanwhile.
        tokio::task::yield_now().await;
        if let Some(clock) = &self.clock {
            clock.advance(LOOK_EVERY * 2);
        }
        Keyring::open(&self.roots(), "sandbox", &keys)
    }
}

impl Setup {
    pub(super) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let chance = SeededEntropy::new(1);
        let root = FileRoot::create(&folder.path().join("1.key"), &chance).unwrap();
        FileRoot::create(&folder.path().join("2.key"), &chance).unwrap();
        let store = Arc::new(Memory::default());
        let keys = Keyring::generate(&root, "sandbox", &chance).unwrap();
        let event = sample::event(Kind::KeysCreated, START);
        let from = Vec::new();
        let create = CreateKeys { from, keys, event };
        assert!(store.commit(create).await.unwrap());
        let clock = Arc::new(ManualClock::at(START));
        let both = [1, 2];
        let operator = process(&folder, &store, &clock, &both).await.unwrap();
        let server = process(&folder, &store, &clock, &both).await.unwrap();
        let setup = Self {
            folder,
            store,
            clock,
            operator,
            server,
        };
        let merchant = Change::AddMerchant(sample::merchant(1));
        setup.add(merchant, Kind::MerchantAdded).await;
        for n in 1..=CARDS {
            setup.add_card(n).await;
        }
        setup.add_secrets().await;
        setup
    }

    async fn add(&self, change: Change, kind: Kind) {
        let event = sample::event(kind, START);
        self.store
            .commit(Changes(vec![(change, event)]))
            .await
            .unwrap()[0]
            .unwrap();
    }

    async fn add_card(&self, n: u8) {
        let mut card = sample::card(n);
        let (vault, clear) = (self.operator.vault(), sample::clear_card());
        card.sealed = vault.seal_card(card.id, &card.merchant, &clear, 1).unwrap();
        let pin = Pin::parse(b"2580", PinLength::Four).unwrap();
        card.sealed.pin = Some(vault.seal_pin(&card, &pin).unwrap());
        self.add(Change::AddCard(Box::new(card)), Kind::CardAdded)
            .await;
    }

    /// A credential, and a subscription with both of its secrets.
    async fn add_secrets(&self) {
        let vault = self.operator.vault();
        let mut credential = sample::credential(1);
        let (id, merchant) = (&credential.id, &credential.merchant);
        credential.sealed_secret = vault.seal_secret(id, merchant, &[b's'; 32]).unwrap();
        self.add(Change::AddCredential(credential), Kind::CredentialAdded)
            .await;
        let mut subscription = sample::subscription(1);
        let (id, merchant) = (&subscription.id, &subscription.merchant);
        let at = SecretPlace::webhook_secret(id, merchant);
        subscription.secret = Some(vault.seal_at(&at, b"secret").unwrap());
        let at = SecretPlace::webhook_authorization(id, merchant);
        subscription.authorization = Some(vault.seal_at(&at, b"Bearer x").unwrap());
        let change = Change::AddSubscription(Box::new(subscription));
        self.add(change, Kind::WebhookAdded).await;
    }

    async fn card(&self, n: u8) -> Card {
        let (id, merchant) = (sample::card(n).id, sample::merchant(1).id);
        let found = self.store.card(&merchant, &CardRef::Id(id)).await.unwrap();
        found.unwrap()
    }

    /// Everything that there is, read by a process as requests read it.
    async fn read_all(&self, service: &Service, cards: u8) {
        for n in 1..=cards {
            let card = self.card(n).await;
            read(service, &card).await.unwrap();
        }
        let found = self.store.admission(&[1; 32]).await.unwrap().unwrap();
        let one = found.credential;
        let (id, merchant) = (&one.id, &one.merchant);
        let open = |vault: &Vault| vault.open_secret(id, merchant, &one.sealed_secret);
        let opened = service
            .open(|| Slot::Credential(id.clone(), merchant.clone()), open)
            .await
            .unwrap();
        assert_eq!(opened.expose(), [b's'; 32]);
    }

    pub(super) async fn rotate(&self, class: Class) {
        let roots = self.files(&[1, 2]).roots();
        let keys = self.store.wrapped_keys().await.unwrap();
        let keyring = Keyring::open(&roots, "sandbox", &keys).unwrap();
        let key = keyring
            .rotate(
                roots.of(&keys, "sandbox"),
                class,
                &SeededEntropy::new(class.code().into()),
            )
            .unwrap();
        let rotation = Rotation::new(keys, key, self.clock_now(), &sample::operator());
        assert!(self.store.commit(rotation).await.unwrap());
        assert!(self.operator.look_at_keys().await.unwrap());
    }

    pub(super) async fn retire(&self, class: Class, version: u32) -> Retired {
        let retirement = Retirement {
            class,
            version,
            at: self.clock_now(),
            source: sample::operator(),
        };
        self.store.commit(retirement).await.unwrap()
    }

    fn clock_now(&self) -> Time {
        cardveil_core::Clock::now(&*self.clock)
    }

    fn files(&self, names: &[u8]) -> FromFiles {
        files(&self.folder, names)
    }

    /// A server, a card under a class key that was made after it has started, and how often its
    /// root is asked.
    async fn meets_a_new_key(&self, opener: FromFiles) -> (Service, Card, Arc<AtomicUsize>) {
        let tries = Arc::clone(&opener.tries);
        let server = process_with(opener, &self.store, &self.clock);
        let server = server.await.unwrap();
        self.rotate(Class::Pan).await;
        self.add_card(CARDS + 1).await;
        (server, self.card(CARDS + 1).await, tries)
    }
}

fn files(folder: &TempDir, names: &[u8]) -> FromFiles {
    let path = |n: &u8| folder.path().join(format!("{n}.key"));
    FromFiles {
        paths: names.iter().map(path).collect(),
        tries: Arc::default(),
        clock: None,
    }
}

/// A process with these root keys.
async fn process(
    folder: &TempDir,
    store: &Arc<Memory>,
    clock: &Arc<ManualClock>,
    roots: &[u8],
) -> Result<Service, cardveil_seal::Error> {
    process_with(files(folder, roots), store, clock).await
}

async fn process_with(
    opener: FromFiles,
    store: &Arc<Memory>,
    clock: &Arc<ManualClock>,
) -> Result<Service, cardveil_seal::Error> {
    let chance = Arc::new(SeededEntropy::new(2));
    let keys = store.wrapped_keys().await.unwrap();
    let vault = Vault::new(
        opener.open(keys.clone()).await?,
        Environment::Sandbox,
        Arc::clone(&chance) as _,
    );
    let vault = Arc::new(vault.reloading(Arc::new(opener), keys));
    let (store, clock) = (Arc::clone(store) as _, Arc::clone(clock) as _);
    Ok(Service::new(store, vault, clock, chance))
}

async fn read(service: &Service, card: &Card) -> Result<(), Fault> {
    assert_eq!(service.expiry(card).await?.month(), "12");
    let slot = || Slot::Cvv(card.id, card.merchant.clone());
    let proof = |vault: &Vault| {
        let key = Key::from_slice(&[b's'; 32]).unwrap();
        let cvv = cardveil_seal::Secret::new(b"739".to_vec());
        let cvv = cardveil_seal::contract_ecb::encrypt_unauthenticated(&key, &cvv).unwrap();
        let cvv = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, cvv);
        let mut credential = sample::credential(1);
        let (id, merchant) = (&credential.id, &credential.merchant);
        credential.sealed_secret = vault.seal_secret(id, merchant, &[b's'; 32])?;
        vault.proves_possession(card, &credential, (&cvv, card.last_four.as_str()))
    };
    assert_eq!(service.open(slot, proof).await?, Some(true));
    let slot = || Slot::Pin(card.id, card.merchant.clone());
    let pin = service.open(slot, |vault| vault.open_pin(card)).await?;
    assert_eq!(pin.unwrap().expose(), b"2580");
    Ok(())
}

fn batch(class: Class, version: u32, anew: bool) -> Rewrap<'static> {
    Rewrap {
        class,
        version,
        stuck: &[],
        limit: 3,
        anew,
    }
}

#[tokio::test]
async fn a_server_reads_everything_at_every_step_of_a_rotation() {
    for anew in [false, true] {
        let setup = Setup::new().await;
        let mut cards = CARDS;
        let before = setup.card(1).await.sealed;
        for class in WRAPPING {
            setup.rotate(class).await;
            setup.read_all(&setup.server, cards).await;
            // A card that the operator adds is under a key that the server has not seen.
            cards += 1;
            setup.add_card(cards).await;
            setup.read_all(&setup.server, cards).await;
            loop {
                let asked = batch(class, 1, anew);
                let done = setup.operator.rewrap(asked, &sample::operator()).await;
                let done = done.unwrap();
                assert_eq!((done.moved, done.stuck), (done.found, vec![]));
                setup.read_all(&setup.server, cards).await;
                if done.found == 0 {
                    break;
                }
                let early = setup.retire(class, 1).await;
                assert_ne!(early, Retired::Done);
            }
            setup.clock.advance(NOTICE);
            assert_eq!(setup.retire(class, 1).await, Retired::Done);
            setup.read_all(&setup.server, cards).await;
            setup.server.look_at_keys().await.unwrap();
            setup.read_all(&setup.server, cards).await;
            assert_eq!(setup.server.vault().sealing_version(class).unwrap(), 2);
        }
        let after = setup.card(1).await.sealed;
        assert_ne!(after.dek, before.dek);
        assert_eq!(after.pan == before.pan, !anew);
        assert_eq!(setup.server.vault().alarms(), 0);
        let fresh = process(&setup.folder, &setup.store, &setup.clock, &[1]);
        setup.read_all(&fresh.await.unwrap(), cards).await;
    }
}

/// Page by page, one card being one that does not open; and a server that has not looked yet counts
/// by no index fewer than there are.
#[tokio::test]
async fn cards_are_indexed_under_another_key() {
    let setup = Setup::new().await;
    let before = setup.card(1).await;
    let one = setup.server.pan_indexes(&before).await.unwrap();
    assert_eq!(one, PanIndexes([before.sealed.pan_index; 2]));
    setup.rotate(Class::Index).await;
    let mut moved_here = sample::card(CARDS + 1);
    moved_here.sealed = before.sealed.clone();
    let change = Change::AddCard(Box::new(moved_here));
    setup.add(change, Kind::CardAdded).await;
    let (mut after, mut found, mut moved, mut stuck) = (None, 0, 0, 0);
    loop {
        let page = IndexPage { after, limit: 3 };
        let done = setup.operator.reindex(1, page, &sample::operator()).await;
        let done = done.unwrap();
        (found, moved) = (found + done.found, moved + done.moved);
        stuck += done.stuck;
        after = done.last;
        if after.is_none() {
            break;
        }
    }
    let all = usize::from(CARDS);
    assert_eq!((found, moved, stuck), (all + 1, all, 1));
    assert_eq!(setup.operator.vault().alarms(), 1);
    let card = setup.card(1).await;
    assert_eq!(card.sealed.index_key, 2);
    let both = setup.server.pan_indexes(&card).await.unwrap();
    let index = card.sealed.pan_index;
    assert_eq!(both, PanIndexes([index, before.sealed.pan_index]));
    // All are of one number.
    assert_eq!(setup.card(2).await.sealed.pan_index, index);
    // A third index would go uncounted, so nobody counts.
    setup.rotate(Class::Index).await;
    assert!(setup.operator.pan_indexes(&card).await.is_err());
}

#[tokio::test]
async fn under_a_new_root_a_server_goes_on_and_the_old_one_opens_nothing() {
    let setup = Setup::new().await;
    let old_alone = process(&setup.folder, &setup.store, &setup.clock, &[1]).await;
    let old_alone = old_alone.unwrap();
    let from = setup.store.wrapped_keys().await.unwrap();
    let [first, second] = [[1], [2]].map(|names| setup.files(&names).roots());
    let rewrap = |key: &WrappedKey| {
        let chance = SeededEntropy::new(3);
        key.rewrap(&first, &second, "sandbox", &chance).unwrap()
    };
    let change = RootChange {
        to: from.iter().map(rewrap).collect(),
        from,
        event: sample::event(Kind::KeysRootChanged, START),
    };
    assert!(setup.store.commit(change).await.unwrap());
    assert!(setup.server.look_at_keys().await.unwrap());
    setup.read_all(&setup.server, CARDS).await;
    // One that was not told of the new root keeps what it has open, and says so.
    assert!(old_alone.look_at_keys().await.is_err());
    setup.read_all(&old_alone, CARDS).await;
    setup.rotate(Class::Pan).await;
    setup.add_card(CARDS + 1).await;
    setup.read_all(&setup.server, CARDS + 1).await;
    let restarted = process(&setup.folder, &setup.store, &setup.clock, &[1]).await;
    assert!(matches!(
        restarted.err(),
        Some(cardveil_seal::Error::Refused)
    ));
    let restarted = process(&setup.folder, &setup.store, &setup.clock, &[2]).await;
    setup.read_all(&restarted.unwrap(), CARDS + 1).await;
}

#[tokio::test]
async fn requests_that_meet_a_new_key_at_once_all_read_and_the_root_is_asked_once() {
    let setup = Setup::new().await;
    let (server, card, tries) = setup.meets_a_new_key(setup.files(&[1])).await;
    let before = tries.load(Ordering::Relaxed);
    let (one, other) = tokio::join!(read(&server, &card), read(&server, &card));
    one.unwrap();
    other.unwrap();
    assert_eq!(server.vault().alarms(), 0);
    assert_eq!(tries.load(Ordering::Relaxed), before + 1);
}

#[tokio::test]
async fn a_root_that_does_not_open_is_not_asked_by_every_request() {
    let setup = Setup::new().await;
    let mut opener = setup.files(&[1]);
    opener.clock = Some(Arc::clone(&setup.clock));
    let (server, card, tries) = setup.meets_a_new_key(opener).await;
    let key = setup.folder.path().join("1.key");
    let away = setup.folder.path().join("away.key");
    std::fs::rename(&key, &away).unwrap();
    std::fs::copy(setup.folder.path().join("2.key"), &key).unwrap();
    let before = tries.load(Ordering::Relaxed);
    for _ in 0..3 {
        assert!(read(&server, &card).await.is_err());
    }
    assert_eq!(tries.load(Ordering::Relaxed), before + 1);
    std::fs::rename(&away, &key).unwrap();
    setup.clock.advance(LOOK_EVERY);
    read(&server, &card).await.unwrap();
    assert_eq!(server.vault().alarms(), 0);
}

/// A module that hangs has each caller give up; what it says in the end counts.
#[tokio::test]
async fn a_root_that_nobody_waited_for_is_asked_no_second_time() {
    let setup = Setup::new().await;
    let (server, card, tries) = setup.meets_a_new_key(setup.files(&[1])).await;
    let before = tries.load(Ordering::Relaxed);
    assert!(read(&server, &card).now_or_never().is_none());
    read(&server, &card).await.unwrap();
    assert_eq!(tries.load(Ordering::Relaxed), before + 1);
}

/// A card that another process added after a rotation is not taken for a damaged one.
#[tokio::test]
async fn a_purge_reads_what_is_under_a_key_that_it_has_not_seen() {
    let setup = Setup::new().await;
    setup.rotate(Class::Pan).await;
    setup.add_card(CARDS + 1).await;
    let purge = setup.server.purge_expired(Duration::ZERO, None, 100);
    assert_eq!(purge.await.unwrap().unreadable, 0);
}

#[tokio::test]
async fn what_was_authenticated_before_a_rotation_is_good_after_it() {
    let setup = Setup::new().await;
    let session = cardveil_core::id::SessionId::from_bytes([4; 16]);
    let code = setup.server.otp_code(&session).unwrap();
    let before = setup.server.vault().mac(&[b"x"]).unwrap();
    setup.rotate(Class::Access).await;
    assert!(setup.server.look_at_keys().await.unwrap());
    assert_ne!(setup.server.vault().mac(&[b"x"]).unwrap(), before);
    let macs = setup.server.vault().macs(&[b"x"]).unwrap();
    assert_eq!(macs.len(), 2);
    assert!(macs.contains(&before));
    assert!(setup.server.is_otp_code(&session, &code).unwrap());
    setup.clock.advance(Duration::from_secs(7_210));
    assert_eq!(setup.retire(Class::Access, 1).await, Retired::Done);
    setup.server.look_at_keys().await.unwrap();
    assert!(!setup.server.is_otp_code(&session, &code).unwrap());
}

/// Each thing that somebody with the database could exchange is noticed, and told of.
#[tokio::test]
async fn whatever_is_swapped_does_not_open_and_is_alarmed() {
    let setup = Setup::new().await;
    let (one, two) = (setup.card(1).await, setup.card(2).await);
    let with = |change: &dyn Fn(&mut SealedCard)| {
        let mut card = one.clone();
        change(&mut card.sealed);
        card
    };
    let mut foreign = one.clone();
    foreign.merchant = sample::merchant(2).id;
    let mut other_row = one.clone();
    other_row.id = CardId::from_bytes([99; 16]);
    let other = &two.sealed;
    let swapped = [
        (
            "an expiry of another row",
            with(&|s| s.expiry.clone_from(&other.expiry)),
        ),
        (
            "a field of another column",
            with(&|s| s.expiry.clone_from(&s.name.clone())),
        ),
        (
            "a wrapped key of another row",
            with(&|s| s.dek.clone_from(&other.dek)),
        ),
        ("a whole row of another card", with(&|s| *s = other.clone())),
        (
            "a wrapped key of another class",
            with(&|s| s.dek = s.cvv.clone().unwrap().dek),
        ),
        ("a version that there is not", with(&|s| s.dek[4] = 9)),
        ("an altered bit", with(&|s| s.expiry[20] ^= 1)),
        ("nothing at all", with(&|s| s.dek.clear())),
        ("another merchant", foreign),
        ("another id", other_row),
    ];
    let count = swapped.len();
    for (what, card) in &swapped {
        let refused = setup.server.expiry(card).await;
        assert!(matches!(refused, Err(Fault::Vault(_))), "{what}");
    }
    let told = u64::try_from(count).unwrap();
    assert_eq!(setup.server.vault().alarms(), told);
    let log = setup.store.entries(0, 1_000).await.unwrap();
    let alarms: Vec<_> = log
        .into_iter()
        .map(|entry| entry.event)
        .filter(|event| event.kind == Kind::VaultTampered)
        .collect();
    assert_eq!(alarms.len(), count);
    let of_card = Target {
        card: Some(one.id),
        ..Target::default()
    };
    assert_eq!(alarms[0].target, of_card);
    assert_eq!(alarms[0].outcome, Outcome::Failure);
    // A CVV or PIN of another card, and a secret of another table.
    let mut card = one.clone();
    card.sealed.cvv.clone_from(&two.sealed.cvv);
    card.sealed.pin.clone_from(&two.sealed.pin);
    let vault = setup.server.vault();
    assert!(vault.open_pin(&card).is_err());
    let fields = cardveil_core::card::Fields::from_iter([Field::Cvv]);
    let holder = cardveil_seal::holder::Holder::generate().unwrap();
    assert!(vault.release(&card, fields, holder.key(), b"").is_err());
    let credential = setup.store.admission(&[1; 32]).await.unwrap().unwrap();
    let sealed = credential.credential.sealed_secret;
    let subscription = sample::subscription(1);
    let at = SecretPlace::webhook_secret(&subscription.id, &subscription.merchant);
    assert!(vault.open_at(&at, &sealed).is_err());
}

/// One record a call would fill the log, by whoever lists.
#[tokio::test]
async fn an_altered_card_is_left_out_of_lists_with_one_alarm() {
    let setup = Setup::new().await;
    let good = setup.card(1).await;
    let mut bad = setup.card(2).await;
    bad.sealed.expiry[20] ^= 1;
    for _ in 0..3 {
        assert!(setup.server.listed_expiry(&bad).await.unwrap().is_none());
        let listed = setup.server.listed_expiry(&good).await.unwrap();
        assert_eq!(listed.unwrap().month(), "12");
    }
    assert_eq!(setup.server.vault().alarms(), 1);
    let log = setup.store.entries(0, 1_000).await.unwrap();
    let alarms = log.iter().filter(|e| e.event.kind == Kind::VaultTampered);
    assert_eq!(alarms.count(), 1);
}

/// What does not open stays where it is, is told of, and holds nothing up.
#[tokio::test]
async fn a_rewrap_passes_over_what_does_not_open() {
    let setup = Setup::new().await;
    let mut bad = setup.card(1).await;
    bad.id = CardId::from_bytes([90; 16]);
    bad.no = sample::card(90).no;
    setup
        .add(Change::AddCard(Box::new(bad)), Kind::CardAdded)
        .await;
    setup.rotate(Class::Pan).await;
    let (mut moved, mut stuck) = (0, Vec::new());
    loop {
        let asked = Rewrap {
            stuck: &stuck,
            ..batch(Class::Pan, 1, true)
        };
        let done = setup.operator.rewrap(asked, &sample::operator()).await;
        let done = done.unwrap();
        moved += done.moved;
        stuck.extend(done.stuck);
        if done.found == 0 {
            break;
        }
    }
    assert_eq!((moved, stuck.len()), (usize::from(CARDS), 1));
    assert_eq!(setup.operator.vault().alarms(), 1);
    setup.clock.advance(NOTICE);
    assert_eq!(setup.retire(Class::Pan, 1).await, Retired::InUse);
    setup.read_all(&setup.server, CARDS).await;
}
