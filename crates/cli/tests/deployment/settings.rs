//! What is wrong with a configuration, as commands tell it.

use crate::world::{World, binary, text};

const SECRET: &str = "hunter2";

#[test]
fn what_is_wrong_is_told_with_its_place_whenever_it_shows() {
    let world = World::new(0);
    let file = world.dir.path().join("cardveil.toml");
    let good = std::fs::read_to_string(&file).unwrap();
    let told = |more: &str, args: &[&str]| {
        std::fs::write(&file, format!("{good}{more}")).unwrap();
        let run = world.run(args);
        assert_eq!(run.status.code(), Some(1), "{more}");
        let told = text(&run.stderr) + &text(&run.stdout);
        assert!(!told.contains(SECRET), "{told}");
        told
    };
    let line = good.lines().count();
    let at = |more: usize, column: usize| format!("{}:{}:{column}: ", file.display(), line + more);

    let sink = "[[audit.sink]]\nname = \"siem\"\nsyslog = \"tls://user:hunter2@siem\"\n";
    let serve = told(sink, &["serve"]);
    assert!(
        serve.contains(&format!("{}audit.sink[0]: ", at(1, 1))),
        "{serve}"
    );
    let typo = "[[audit.sink]]\nname = \"siem\"\nsislog = \"tcp://siem\"\n";
    let list = told(typo, &["merchant", "list"]);
    let expected = format!("error: {}audit.sink[0].sislog: is not known", at(3, 1));
    assert!(list.starts_with(&expected), "{list}");
    // It shows when the file is opened, and `doctor` tells it as well.
    let tls = "[tls.merchant]\ncertificate = \"none.pem\"\nkey = \"none.key\"\n";
    for command in ["serve", "doctor"] {
        let told = told(tls, &[command]);
        assert!(
            told.contains(&format!("{}tls.merchant: ", at(1, 6))),
            "{told}"
        );
    }
    let quote = told("[fonts\nname = \"hunter2\n", &["doctor"]);
    assert!(quote.contains(&at(1, 7)), "{quote}");

    std::fs::write(&file, &good).unwrap();
    let run = binary(world.dir.path())
        .args(["epoch", "show"])
        .env("CARDVEIL_STORE_DATABASE", "[\"hunter2\"]")
        .output();
    let told = text(&run.unwrap().stderr);
    let expected = "error: CARDVEIL_STORE_DATABASE: store.database: must be a text, in quotes\n";
    assert!(told.starts_with(expected), "{told}");
}
