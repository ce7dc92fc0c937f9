//! A root key in `SoftHSM`. The module reads where its tokens are from the environment, once, so
//! each test runs itself anew with an environment of its own.

#![cfg(test)]
#![cfg(feature = "pkcs11")]

use std::path::{Path, PathBuf};
use std::process::Command;

use cardveil_seal::{
    Error, Key, Keyring, Pkcs11Place, Pkcs11Root, Root, Roots, Secret, SeededEntropy, SystemEntropy,
};

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const CONF: &str = "SOFTHSM2_CONF";
const INSIDE: &str = "CARDVEIL_TEST_INSIDE";

fn place(key: &str) -> Pkcs11Place {
    Pkcs11Place {
        module: PathBuf::from(MODULE),
        token: "cardveil".to_owned(),
        serial: None,
        key: key.to_owned(),
    }
}

fn pin() -> Secret {
    Secret::new(b"27182818".to_vec())
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{printed}");
    printed.into_owned()
}

/// Runs `test` inside a process with a token of its own.
fn with_token(name: &str, test: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return test();
    }
    let folder = tempfile::Builder::new()
        .prefix("cardveil-test-")
        .disable_cleanup(std::env::var_os("KEEP_TEST_FILES").is_some())
        .tempdir()
        .unwrap();
    let conf = softhsm(folder.path());
    init_token(&conf);
    let inside = run(Command::new(std::env::current_exe().unwrap())
        .env(CONF, &conf)
        .env(INSIDE, "1")
        .args(["--exact", name]));
    assert!(inside.contains("1 passed"), "{inside}");
}

fn init_token(conf: &Path) {
    run(Command::new("softhsm2-util").env(CONF, conf).args([
        "--init-token",
        "--free",
        "--label",
        "cardveil",
        "--so-pin",
        "31415926",
        "--pin",
        "27182818",
    ]));
}

fn softhsm(folder: &Path) -> PathBuf {
    let tokens = folder.join("tokens");
    std::fs::create_dir(&tokens).unwrap();
    let conf = folder.join("softhsm2.conf");
    let text = format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
        tokens.display()
    );
    std::fs::write(&conf, text).unwrap();
    conf
}

/// What every provider keeps (the same as in `root.rs`).
fn contract(root: &dyn Root, other: &dyn Root) {
    let entropy = SeededEntropy::new(1);
    let key = Key::generate(&entropy);
    let wrapped = root.wrap(&key, b"aad", &entropy).unwrap();
    assert!(root.unwrap(&wrapped, b"aad").unwrap().ct_eq(key.expose()));
    assert_ne!(wrapped, root.wrap(&key, b"aad", &entropy).unwrap());
    let refused = |result: Result<Key, Error>| matches!(result, Err(Error::Refused));
    assert!(refused(root.unwrap(&wrapped, b"aae")));
    assert!(refused(root.unwrap(&wrapped, b"")));
    assert!(refused(other.unwrap(&wrapped, b"aad")));
    for at in 0..wrapped.len() {
        let mut altered = wrapped.clone();
        altered[at] ^= 1;
        assert!(root.unwrap(&altered, b"aad").is_err(), "{at}");
        assert!(root.unwrap(&wrapped[..at], b"aad").is_err(), "{at}");
    }
    assert_ne!(root.name(), other.name());
}

#[test]
fn a_key_in_a_module_keeps_the_contract() {
    with_token("a_key_in_a_module_keeps_the_contract", || {
        let root = Pkcs11Root::create(place("root"), pin()).unwrap();
        let other = Pkcs11Root::create(place("other"), pin()).unwrap();
        contract(&root, &other);
        let again = Pkcs11Root::open(place("root"), pin()).unwrap();
        let keys = Keyring::generate(&root, "test", &SystemEntropy).unwrap();
        Keyring::open(&again, "test", &keys).unwrap();
        assert!(matches!(
            Keyring::open(&other, "test", &keys).err(),
            Some(Error::Refused)
        ));
        let both = Roots::new(Box::new(other), vec![Box::new(again)]);
        Keyring::open(&both, "test", &keys).unwrap();
        assert_eq!(root.name(), "pkcs11:cardveil/root");
    });
}

#[test]
fn what_is_wrong_with_a_module_is_told() {
    with_token("what_is_wrong_with_a_module_is_told", || {
        let why = |place: Pkcs11Place, pin: &[u8]| {
            let error = Pkcs11Root::open(place, Secret::new(pin.to_vec())).err();
            error.unwrap().to_string()
        };
        Pkcs11Root::create(place("root"), pin()).unwrap();
        let twice = Pkcs11Root::create(place("root"), pin()).err().unwrap();
        assert!(twice.to_string().contains("exists already"), "{twice}");
        let pin = b"27182818";
        let said = why(place("root"), b"00000000");
        assert!(said.contains("the PIN is wrong"), "{said}");
        assert!(!said.contains("00000000"), "no PIN is told");
        // Each entry takes the token nearer to being locked, for all nodes.
        let said = why(place("another"), b"00000000");
        assert!(said.contains("was not entered again"), "{said}");
        let said = why(place("absent"), pin);
        assert!(said.contains("there is no such key"), "{said}");
        let token = Pkcs11Place {
            token: "absent".to_owned(),
            ..place("root")
        };
        let said = why(token, pin);
        assert!(said.contains("there is no token of this label"), "{said}");
        let module = Pkcs11Place {
            module: PathBuf::from("/absent.so"),
            ..place("root")
        };
        let said = why(module, pin);
        assert!(said.contains("cannot be loaded"), "{said}");
        // A wrong PIN has not spoilt anything.
        Pkcs11Root::open(place("root"), Secret::new(pin.to_vec())).unwrap();
    });
}

#[test]
fn of_two_tokens_of_one_label_one_is_chosen_by_its_serial_softhsmv2_322() {
    let name = "of_two_tokens_of_one_label_one_is_chosen_by_its_serial_softhsmv2_322";
    with_token(name, || {
        init_token(Path::new(&std::env::var_os(CONF).unwrap()));
        let error = Pkcs11Root::create(place("root"), pin()).err().unwrap();
        let said = error.to_string();
        let (_, serials) = said.split_once("with token_serial, of ").unwrap();
        let serials: Vec<_> = serials.trim().split(", ").collect();
        let [one, other] = serials.as_slice() else {
            panic!("{said}")
        };
        let of = |serial: &str| Pkcs11Place {
            serial: Some(serial.to_owned()),
            ..place("root")
        };
        Pkcs11Root::create(of(one), pin()).unwrap();
        Pkcs11Root::open(of(one), pin()).unwrap();
        let there = Pkcs11Root::open(of(other), pin()).err().unwrap();
        assert!(
            there.to_string().contains("there is no such key"),
            "{there}"
        );
        let absent = Pkcs11Root::open(of("0"), pin()).err().unwrap();
        let wanted = "there is no token of this label and serial number";
        assert!(absent.to_string().contains(wanted), "{absent}");
    });
}

#[test]
fn a_key_that_could_be_read_out_is_not_used() {
    with_token("a_key_that_could_be_read_out_is_not_used", || {
        use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
        use cryptoki::mechanism::Mechanism;
        use cryptoki::object::Attribute;
        use cryptoki::session::UserType;
        let module = Pkcs11::new(MODULE).unwrap();
        let flags = CInitializeFlags::OS_LOCKING_OK;
        module.initialize(CInitializeArgs::new(flags)).unwrap();
        let slot = module.get_slots_with_initialized_token().unwrap()[0];
        let session = module.open_rw_session(slot).unwrap();
        session
            .login(UserType::User, Some(&"27182818".into()))
            .unwrap();
        let template = [
            Attribute::Token(true),
            Attribute::ValueLen(32.into()),
            Attribute::Label(b"loose".to_vec()),
            Attribute::Sensitive(false),
            Attribute::Extractable(true),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
        ];
        let made = session.generate_key(&Mechanism::AesKeyGen, &template);
        made.unwrap();
        drop(session);
        module.finalize().unwrap();
        let error = Pkcs11Root::open(place("loose"), pin()).err().unwrap();
        assert!(error.to_string().contains("can be read out"), "{error}");
    });
}
