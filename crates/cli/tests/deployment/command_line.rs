//! The command as an operator uses it.

use cardveil_core::text::NumberedField;
use cardveil_seal::hpke::holder::Holder;

use crate::http::{self, Connection};
use crate::world::{World, binary, card, folder, opened, string, text};

#[test]
fn a_deployment_is_made_checked_and_changed() {
    let world = World::new(1);
    let again = world.run(&["init", "--dir", world.dir.path().to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(1), "it is never overwritten");
    assert!(
        text(&again.stderr).contains("hint: "),
        "{}",
        text(&again.stderr)
    );

    let doctor = world.run(&["doctor"]);
    assert!(doctor.status.success(), "{}", text(&doctor.stdout));

    let shown = world.json(&[
        "card",
        "show",
        "C0",
        "--merchant",
        &world.merchant,
        "--json",
    ]);
    assert_eq!(shown["last_four"], "1111");
    assert!(!shown.to_string().contains("411111"), "{shown}");
    let credentials = world.run(&["credential", "list", "--json"]);
    assert!(!text(&credentials.stdout).contains(&world.api_key));
    assert!(!text(&credentials.stdout).contains("key_hash"));

    let unknown = world.run(&["merchant", "show", "mer_unknown"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert_eq!(
        world.run(&["merchant", "frobnicate"]).status.code(),
        Some(2)
    );
}

#[test]
fn an_embed_takes_https_origins_and_is_asked_for_transparent_parts() {
    let world = World::new(0);
    let embed = |id: &str| world.json(&["embed", "show", id, "--json"]);
    assert_eq!(embed(&world.embed)["transparent"], false);
    let in_the_clear = ["--origin", "http://shop.example"];
    for verb in [
        &["add", "--merchant", &world.merchant][..],
        &["set", &world.embed],
    ] {
        let refused = world.run(&[&["embed"], verb, &in_the_clear].concat());
        assert_eq!(refused.status.code(), Some(1));
        let said = text(&refused.stderr);
        assert!(said.contains("http://shop.example is not https"), "{said}");
        assert!(
            said.contains("hint: ") && said.contains("localhost"),
            "{said}"
        );
    }
    let flags = ["--origin", "http://localhost:3000", "--transparent", "true"];
    let set = world.run(&[&["embed", "set", &world.embed], &flags[..]].concat());
    assert!(set.status.success(), "{}", text(&set.stderr));
    assert_eq!(embed(&world.embed)["transparent"], true);
    assert_eq!(embed(&world.embed)["origins"][0], "http://localhost:3000");
    let found = text(&world.run(&["doctor"]).stdout);
    assert!(
        found.contains("let pages lay parts without looks"),
        "{found}"
    );
}

#[test]
fn doctor_tells_of_codes_that_nobody_delivers_and_a_pin_has_no_frame() {
    let world = World::new(0);
    let found = || {
        let found = text(&world.run(&["doctor"]).stdout);
        found.contains("a code that nobody delivers")
    };
    let set = |flags: &[&str]| world.run(&[&["merchant", "set", &world.merchant], flags].concat());
    assert!(!found());
    assert!(set(&["--mfa", "view-card=in-frame"]).status.success());
    assert!(found());
    assert!(set(&["--factor", "totp"]).status.success());
    assert!(!found(), "an app alone");
    assert!(set(&["--factor", "otp"]).status.success());
    let url = "http://127.0.0.1:9/hooks";
    let add = ["webhook", "add", "--merchant", &world.merchant];
    let add = [&add[..], &["--url", url, "--topic", "mfa.code"]].concat();
    let added = world.run(&add);
    assert!(added.status.success(), "{}", text(&added.stderr));
    assert!(!found(), "it is delivered");
    let refused = set(&["--mfa", "view-pin=in-frame"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("in-frame, for the first two"));
}

#[test]
fn what_an_operator_changes_is_seen_by_the_running_server() {
    let world = World::new(1);
    let _server = world.serve();
    let mut merchant = Connection::open(world.merchant_at).unwrap();
    let mut client = Connection::open(world.client_at).unwrap();
    let holder = Holder::generate().unwrap();

    let token = world.issue(&mut merchant, 0).unwrap();
    let revoked = world.json(&["token", "revoke", "--merchant", &world.merchant, "--json"]);
    assert_eq!(revoked["revoked"], 1);
    assert_eq!(
        world
            .redeem(&mut client, &token, &holder, &["pan"])
            .unwrap()
            .status,
        403
    );

    let token = world.issue(&mut merchant, 0).unwrap();
    let set = [
        "card",
        "set",
        "C0",
        "--merchant",
        &world.merchant,
        "--state",
        "suspended",
    ];
    assert!(world.run(&set).status.success());
    assert_eq!(
        world
            .redeem(&mut client, &token, &holder, &["pan"])
            .unwrap()
            .status,
        403
    );
    let set = [
        "card",
        "set",
        "C0",
        "--merchant",
        &world.merchant,
        "--state",
        "active",
    ];
    assert!(world.run(&set).status.success());
    let answer = world
        .redeem(&mut client, &token, &holder, &["pan"])
        .unwrap();
    assert_eq!(
        answer.status, 200,
        "a refusal does not burn it: {}",
        answer.body
    );

    assert!(world.run(&["epoch", "raise"]).status.success());
    let again = world
        .redeem(&mut client, &token, &holder, &["pan"])
        .unwrap();
    assert_eq!(again.status, 403, "no token outlives an epoch");
    assert!(
        world.issue(&mut merchant, 0).is_some(),
        "and new ones are of the new one"
    );

    let id = string(&world.json(&["credential", "list", "--json"]), "/0/id");
    assert!(
        world
            .run(&["credential", "set", &id, "--enabled", "false"])
            .status
            .success()
    );
    let bearer = format!("Bearer {}", world.api_key);
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    let refused = merchant
        .send("POST", "/v1/client-tokens", &headers, "{}")
        .unwrap();
    assert_eq!(refused.status, 403);
}

#[test]
fn an_import_reports_each_refused_line_by_its_number() {
    let world = World::new(1);
    let mut wrong_digit = card(2);
    wrong_digit["pan"] = "4111111111111112".into();
    let mut not_a_test_number = card(3);
    not_a_test_number["pan"] = "4539578763621486".into();
    let mut unknown_member = card(4);
    unknown_member["surprise"] = 1.into();
    let lines = [
        card(1).to_string(),
        String::new(),
        wrong_digit.to_string(),
        not_a_test_number.to_string(),
        unknown_member.to_string(),
        card(0).to_string(),
        "not json".to_owned(),
        "x".repeat(20_000),
        card(5).to_string(),
    ];
    let run = world.import("jsonl", &(lines.join("\n") + "\n"));
    assert_eq!(run.status.code(), Some(3), "{}", text(&run.stderr));
    assert_eq!(
        text(&run.stdout).trim(),
        r#"{"added":2,"refused":6,"expired":0,"repeated":1}"#
    );
    let mut told: Vec<_> = text(&run.stderr).lines().map(str::to_owned).collect();
    told.sort();
    assert_eq!(
        told,
        [
            "line 3: pan: the check digit is wrong",
            "line 4: pan: a sandbox takes only the card schemes' published test numbers",
            "line 5: its member 8 is not known",
            "line 6: it exists already",
            "line 7: it is not a JSON object",
            "line 8: it is too long for a card",
            "line 9: warning: the card's number stands in the file before",
        ]
    );

    let header = "card_no,account_id,person_id,pan,expiry,cvv,name,label";
    let row = "C6,F50091,775596ae-2624-40af-a9dc-9756110a4a04,5555555555554444,2030-12,456,\"B, C\",Second";
    let run = world.import("csv", &format!("{header}\n{row}\nC7,too,few\n"));
    assert_eq!(
        text(&run.stdout).trim(),
        r#"{"added":1,"refused":1,"expired":0,"repeated":0}"#
    );
    assert!(
        text(&run.stderr).contains("line 3: "),
        "{}",
        text(&run.stderr)
    );
}

#[test]
fn a_card_number_is_taken_into_no_field_but_its_own() {
    let world = World::new(0);
    let fields = NumberedField::ALL.map(NumberedField::as_str);
    let fields: Vec<_> = fields.into_iter().chain(["label", "name"]).collect();
    let lines: Vec<_> = fields
        .iter()
        .map(|field| {
            let mut card = card(1);
            card[*field] = "4111-1111-1111-1111".into();
            card.to_string()
        })
        .collect();
    let run = world.import("jsonl", &(lines.join("\n") + "\n"));
    assert_eq!(
        text(&run.stdout).trim(),
        format!(
            r#"{{"added":0,"refused":{},"expired":0,"repeated":0}}"#,
            fields.len()
        )
    );
    let expected: Vec<_> = (1..)
        .zip(fields)
        .map(|(line, field)| {
            format!("line {line}: {field}: must not hold what could be a card number")
        })
        .collect();
    assert_eq!(text(&run.stderr).lines().collect::<Vec<_>>(), expected);

    let config = world.dir.path().join("cardveil.toml");
    let none = std::fs::read_to_string(&config).unwrap();
    let own = none.replace("own = []", "own = [\"card_no\"]");
    std::fs::write(&config, own).unwrap();
    let run = world.import("jsonl", &lines[0]);
    assert_eq!(
        text(&run.stdout).trim(),
        r#"{"added":1,"refused":0,"expired":0,"repeated":0}"#
    );
    let doctor = world.run(&["doctor"]);
    let told = "card_no may hold what looks like a card number";
    assert!(
        text(&doctor.stdout).contains(told),
        "{}",
        text(&doctor.stdout)
    );
}

#[test]
fn a_name_that_cannot_be_read_or_holds_a_card_number_is_refused() {
    let world = World::new(0);
    for (name, why) in [
        (
            "4111 1111 1111 1111",
            "must not hold what could be a card number",
        ),
        ("a\u{1b}[2J", "must be at most 128 printable characters"),
        ("a\u{202e}b", "must be at most 128 printable characters"),
        (" ", "must not be blank"),
    ] {
        for args in [
            &["merchant", "add", "--name", name][..],
            &["merchant", "set", &world.merchant, "--name", name],
        ] {
            let run = world.run(args);
            assert!(!run.status.success());
            assert!(text(&run.stderr).contains(why), "{}", text(&run.stderr));
        }
    }
}

#[test]
fn a_report_is_written_to_a_new_file_only() {
    let world = World::new(0);
    let at = |name: &str| world.dir.path().join(name);
    std::fs::write(at("cards.csv"), "card_no\n").unwrap();
    std::fs::write(at("mine"), "kept").unwrap();
    std::os::unix::fs::symlink(at("mine"), at("link")).unwrap();
    for report in ["mine", "link"] {
        let (cards, report) = (at("cards.csv"), at(report));
        let run = world.run(&[
            "card",
            "import",
            cards.to_str().unwrap(),
            "--merchant",
            &world.merchant,
            "--report",
            report.to_str().unwrap(),
        ]);
        assert!(text(&run.stderr).contains("a file that is not there yet"));
        assert_eq!(std::fs::read_to_string(at("mine")).unwrap(), "kept");
    }
}

#[test]
fn the_server_ends_in_good_order() {
    let world = World::new(1);
    let mut server = world.serve();
    let pid = rustix::process::Pid::from_child(&server.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(server.0.wait().unwrap().success());
    assert!(http::get(world.admin_at, "/readyz", &[]).is_none());
    let kinds: Vec<_> = world
        .audit()
        .iter()
        .map(|entry| string(entry, "/kind"))
        .collect();
    assert!(
        kinds.iter().any(|kind| kind == "server.started"),
        "{kinds:?}"
    );
    assert!(
        kinds.iter().any(|kind| kind == "server.stopped"),
        "{kinds:?}"
    );
    let wal = std::fs::metadata(world.dir.path().join("data/cardveil.db-wal"));
    assert!(
        wal.map_or(0, |meta| meta.len()) == 0,
        "the WAL was folded into the database"
    );
}

#[test]
fn a_server_told_to_stop_serves_on_until_balancers_have_heard() {
    let world = World::new(1);
    let config = world.dir.path().join("cardveil.toml");
    let written = std::fs::read_to_string(&config).unwrap();
    assert!(written.contains("delay_secs = 0"), "{written}");
    std::fs::write(
        &config,
        written.replace("delay_secs = 0", "delay_secs = 300"),
    )
    .unwrap();
    let manager = world.dir.path().join("manager");
    let manager_socket = std::os::unix::net::UnixDatagram::bind(&manager).unwrap();
    let heard = || {
        let mut message = [0; 32];
        let length = manager_socket.recv(&mut message).unwrap();
        text(&message[..length])
    };
    let mut server = world.serve_with(&[("NOTIFY_SOCKET", manager.to_str().unwrap())]);
    assert_eq!(heard(), "READY=1");
    let pid = rustix::process::Pid::from_child(&server.0);
    let end = || rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(world.run(&["healthcheck"]).status.success());
    let other = format!("http://{}", world.merchant_at);
    let other = world.run(&["healthcheck", "--url", &other]);
    assert_eq!(other.status.code(), Some(1));
    let said = text(&other.stderr);
    assert!(
        said.contains("not the admin listener of this server"),
        "{said}"
    );
    end();
    assert_eq!(heard(), "STOPPING=1");
    let ready = || http::get(world.admin_at, "/readyz", &[]).unwrap();
    while ready().status == 200 {}
    assert_eq!(ready().json()["code"], "stopping");
    let unhealthy = world.run(&["healthcheck"]);
    assert_eq!(unhealthy.status.code(), Some(1));
    let said = text(&unhealthy.stderr);
    assert!(
        said.contains("it runs and is not ready: 503 stopping"),
        "{said}"
    );
    let mut merchant = Connection::open(world.merchant_at).unwrap();
    assert!(world.issue(&mut merchant, 0).is_some());
    // Whoever asks twice does not want to wait.
    end();
    assert!(server.0.wait().unwrap().success());
    let gone = world.run(&["healthcheck"]);
    assert_eq!(gone.status.code(), Some(1));
    let said = text(&gone.stderr);
    assert!(said.contains("it does not run: no connection"), "{said}");
}

#[test]
fn a_list_that_stops_says_so_and_how_it_goes_on() {
    let world = World::new(3);
    let list = |more: &[&str]| {
        let run = world.run(&[&["card", "list"], more].concat());
        assert!(run.status.success());
        (text(&run.stdout).lines().count() - 1, text(&run.stderr))
    };
    let (cards, said) = list(&["--limit", "2"]);
    assert_eq!(cards, 2);
    assert!(said.contains("there may be more: --offset 2"), "{said}");
    assert_eq!(list(&["--limit", "2", "--offset", "2"]), (1, String::new()));
    assert_eq!(list(&[]), (3, String::new()));
}

/// A service manager's or a shell's soft limit is for programs that can use no more files.
#[test]
fn the_soft_limit_of_open_files_is_raised_to_the_hard_one_postgrest_2042() {
    let world = World::new(0);
    let doctor = |limits: &str| {
        let program = env!("CARGO_BIN_EXE_cardveil");
        let script = format!("{limits}; exec {program} doctor");
        let run = std::process::Command::new("sh")
            .args(["-c", &script])
            .current_dir(world.dir.path())
            .output();
        text(&run.unwrap().stdout)
    };
    let found = doctor("ulimit -Hn 20000; ulimit -Sn 256");
    assert!(
        found.contains("open files      20000 may be open"),
        "{found}"
    );
    let found = doctor("ulimit -Sn 256; ulimit -Hn 1024");
    let line = "open files      1024 may be open, and full listeners hold 13312: LimitNOFILE=";
    assert!(found.contains(line), "{found}");
}

#[test]
fn what_is_in_memory_is_not_for_others() {
    let world = World::new(0);
    let server = world.serve();
    let told = |file: &str| {
        let path = format!("/proc/{}/{file}", server.0.id());
        std::fs::read_to_string(path).unwrap()
    };
    let limits = told("limits");
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    assert_eq!(core.unwrap().split_whitespace().nth(4), Some("0"));
    let status = told("status");
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    // What is not dumpable is root's (prctl(2), PR_SET_DUMPABLE), whoever started it.
    let meta = std::fs::metadata(format!("/proc/{}/mem", server.0.id())).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&meta), 0);
    // Its memory is out of swap's reach where the machine lets it be: without a limit, or with
    // CAP_IPC_LOCK (14).
    let limit = limits
        .lines()
        .find(|line| line.starts_with("Max locked memory"));
    let unlimited = limit.unwrap().split_whitespace().nth(3) == Some("unlimited");
    let of = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap()
            .trim()
    };
    let capable = u64::from_str_radix(of("CapEff:"), 16).unwrap() & 1 << 14 != 0;
    let locked: u64 = of("VmLck:").trim_end_matches(" kB").parse().unwrap();
    assert_eq!(locked > 0, unlimited || capable, "{locked} kB");
}

#[test]
fn serve_refuses_the_demos_database() {
    let dir = folder();
    let mut demo = std::process::Command::new(env!("CARGO_BIN_EXE_cardveil"))
        .args([
            "demo",
            "--json",
            "--port-base",
            "22000",
            "--dir",
            dir.path().to_str().unwrap(),
        ])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut out = std::io::BufReader::new(demo.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    let pid = rustix::process::Pid::from_child(&demo);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert!(demo.wait().unwrap().success());
    let config = dir.path().join("cardveil.toml");
    std::fs::write(
        &config,
        "environment = \"sandbox\"\n\
         [store]\ndatabase = \"data/cardveil.db\"\nfence = \"fence/cardveil.fence\"\n\
         [keys]\nroot = \"keys/root.key\"\n\
         [client]\norigin = \"http://127.0.0.1:22920\"\n\
         [listen]\nmerchant = \"127.0.0.1:22910\"\nclient = \"127.0.0.1:22920\"\nadmin = \"127.0.0.1:22930\"\n",
    )
    .unwrap();
    let serve = binary(dir.path()).arg("serve").output().unwrap();
    assert_eq!(serve.status.code(), Some(1));
    assert!(
        text(&serve.stderr).contains("everyone knows"),
        "{}",
        text(&serve.stderr)
    );
}

/// The file that is written can be read by all.
#[test]
fn init_writes_no_password_into_its_configuration() {
    let dir = folder();
    let connection = "host=/run/postgresql user=cardveil dbname=cardveil password=hunter2";
    let made = binary(dir.path())
        .args(["init", "--dir", "new", "--postgres", connection])
        .output()
        .unwrap();
    assert_eq!(made.status.code(), Some(1));
    let said = text(&made.stderr);
    assert!(
        said.contains("store.password_file") && !said.contains("hunter2"),
        "{said}"
    );
    assert!(!dir.path().join("new/cardveil.toml").exists());
}

/// It once hung: the log's thread was waited for while a sender to it was alive.
#[test]
fn a_port_in_use_is_told_at_once() {
    let world = World::new(0);
    let _taken = std::net::TcpListener::bind(world.admin_at).unwrap();
    let serve = world.run(&["serve"]);
    assert_eq!(serve.status.code(), Some(1));
    assert!(
        text(&serve.stderr).contains("\"hint\":\"another program"),
        "{}",
        text(&serve.stderr)
    );
}

#[test]
fn a_merchant_says_which_cards_go_into_which_wallet() {
    let world = World::new(1);
    let merchant = world.merchant.clone();
    let wallets = || world.json(&["merchant", "show", &merchant, "--json"])["wallets"].clone();
    let none = serde_json::json!({"wallets": [], "bins": null, "products": null});
    assert_eq!(wallets(), none);
    let set = |args: &[&str]| {
        let all = ["merchant", "set", &merchant]
            .into_iter()
            .chain(args.iter().copied());
        world.run(&all.collect::<Vec<_>>()).status.success()
    };
    assert!(set(&[
        "--wallet",
        "SAMSUNG_PAY",
        "--wallet",
        "APPLE_PAY",
        "--wallet-bin",
        "411111",
        "--wallet-product",
        "gold",
    ]));
    let some = serde_json::json!({
        "wallets": ["APPLE_PAY", "SAMSUNG_PAY"], "bins": ["411111"], "products": ["gold"],
    });
    assert_eq!(wallets(), some);
    for wrong in [
        ["--wallet", "GARMIN_PAY"],
        ["--wallet-bin", "41111"],
        ["--wallet-bin", "4111111111111111"],
    ] {
        assert!(!set(&wrong), "{wrong:?}");
    }
    assert_eq!(wallets(), some, "what was refused changed nothing");
    assert!(set(&[
        "--wallet",
        "none",
        "--wallet-bin",
        "all",
        "--wallet-product",
        "all"
    ]));
    assert_eq!(wallets(), none);

    let tokens = world.json(&["wallet-token", "list", "--json"]);
    assert_eq!(tokens, serde_json::json!([]));
    let unknown = [
        "wallet-token",
        "set",
        "e9293471-5eb3-4dbc-916c-dbaf9e2deefd",
        "--merchant",
        &merchant,
        "--state",
        "SUSPENDED",
    ];
    let refused = world.run(&unknown);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("hint: "));
}

#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    let world = World::new(1);
    // As a full disk answers each write.
    std::os::unix::fs::symlink("/dev/full", world.log()).unwrap();
    let _server = world.serve();
    let mut merchant = Connection::open(world.merchant_at).unwrap();
    let mut client = Connection::open(world.client_at).unwrap();
    let holder = Holder::generate().unwrap();
    let token = world.issue(&mut merchant, 0).unwrap();
    let answer = world
        .redeem(&mut client, &token, &holder, &["pan"])
        .unwrap();
    assert_eq!(opened(&answer, &holder)["pan"], "4111111111111111");
}

#[test]
fn an_init_that_failed_can_be_run_again() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("new");
    std::fs::create_dir(&folder).unwrap();
    let in_the_way = folder.join("data");
    std::fs::write(&in_the_way, "").unwrap();
    let init = || {
        let mut command = binary(dir.path());
        command.args(["init", "--dir", folder.to_str().unwrap()]);
        command.output().unwrap()
    };
    let failed = init();
    assert!(!failed.status.success());
    assert!(!folder.join("cardveil.toml").exists());
    std::fs::remove_file(in_the_way).unwrap();
    let made = init();
    assert!(made.status.success(), "{}", text(&made.stderr));
}
