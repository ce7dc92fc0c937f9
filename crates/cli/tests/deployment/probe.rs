//! `cardveil probe`, on a deployment that is well and on one behind a proxy that changes what
//! passes.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD as BASE64};
use serde_json::Value;

use crate::world::{Server, World, string, text};

/// What a proxy makes of an answer: the request and the answer in, the answer out.
type Change = fn(&str, String) -> String;

/// A proxy before a client listener; it ends with the process.
struct Proxy {
    at: SocketAddr,
    change: Arc<Mutex<Change>>,
}

impl Proxy {
    fn before(client_at: SocketAddr, listener: TcpListener) -> Self {
        let at = listener.local_addr().unwrap();
        let change: Arc<Mutex<Change>> = Arc::new(Mutex::new(|_, answer| answer));
        let shared = Arc::clone(&change);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let change = *shared.lock().unwrap();
                pass(stream.unwrap(), client_at, change);
            }
        });
        Self { at, change }
    }
}

/// One request and its answer; a probe closes after each.
fn pass(mut from: TcpStream, to: SocketAddr, change: Change) {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && from.read(&mut byte).unwrap() == 1 {
        request.push(byte[0]);
    }
    let mut server = TcpStream::connect(to).unwrap();
    server.write_all(&request).unwrap();
    let mut answer = String::new();
    server.read_to_string(&mut answer).unwrap();
    let changed = change(&text(&request), answer);
    // The end of the connection is the end of the body, whatever its length is now.
    let changed = changed.replacen("content-length: ", "x-length: ", 1);
    from.write_all(changed.as_bytes()).unwrap();
}

struct Setup {
    world: World,
    _server: Server,
    proxy: Proxy,
    key: String,
}

impl Setup {
    fn new() -> Self {
        let world = World::new(0);
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let origin = format!("origin = \"http://{}\"", listener.local_addr().unwrap());
        let config = world.dir.path().join("cardveil.toml");
        let written = std::fs::read_to_string(&config).unwrap();
        let own = format!("origin = \"http://{}\"", world.client_at);
        assert!(written.contains(&own));
        std::fs::write(&config, written.replace(&own, &origin)).unwrap();
        let server = world.serve();
        let key = string(&world.json(&["manifest", "key", "--json"]), "/x");
        let proxy = Proxy::before(world.client_at, listener);
        Self {
            world,
            _server: server,
            proxy,
            key,
        }
    }

    /// What a probe of an address tells, with its exit code.
    fn probe_at(&self, at: SocketAddr, more: &[&str]) -> (Option<i32>, Value) {
        let url = format!("http://{at}");
        let args = ["probe", &url, "--embed", &self.world.embed, "--json"];
        let run = self.world.run(&[&args, more].concat());
        let told = serde_json::from_slice(&run.stdout);
        (
            run.status.code(),
            told.unwrap_or_else(|_| panic!("{}", text(&run.stderr))),
        )
    }

    fn probe(&self, more: &[&str]) -> (Option<i32>, Value) {
        self.probe_at(self.proxy.at, more)
    }

    /// The codes of what is found when the proxy changes something, with the key pinned.
    fn found(&self, change: Change) -> BTreeSet<String> {
        *self.proxy.change.lock().unwrap() = change;
        let (code, told) = self.probe(&["--origin", "https://shop.example", "--key", &self.key]);
        let found = codes(&told);
        assert_eq!(code, Some(i32::from(!found.is_empty())));
        *self.proxy.change.lock().unwrap() = |_, answer| answer;
        found
    }
}

fn codes(told: &Value) -> BTreeSet<String> {
    let findings = told["findings"].as_array().unwrap();
    findings
        .iter()
        .map(|finding| string(finding, "/code"))
        .collect()
}

fn path(request: &str) -> &str {
    request.split(' ').nth(1).unwrap()
}

fn is_frame(request: &str, answer: &str) -> bool {
    let path = path(request);
    let frame = path.starts_with("/embed/") && !path.starts_with("/embed/assets/");
    frame && answer.starts_with("HTTP/1.1 200")
}

#[test]
fn a_deployment_that_is_well_has_no_finding() {
    let setup = Setup::new();
    let pinned = ["--origin", "https://shop.example", "--key", &setup.key];
    let (code, told) = setup.probe(&pinned);
    assert_eq!((code, &told["findings"]), (Some(0), &Value::Array(vec![])));
    assert_eq!((&told["ok"], &told["pinned"]), (&true.into(), &true.into()));
    let key = setup.world.json(&["manifest", "key", "--json"]);
    assert_eq!(told["kid"], key["kid"]);
    assert_eq!(told["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(told["notes"], Value::Array(vec![]));
    assert_eq!(told["checked"].as_array().unwrap().len(), 20, "{told}");

    let (code, told) = setup.probe(&[]);
    assert_eq!(code, Some(0));
    assert_eq!(told["pinned"], false);
    let note = told["notes"][0].as_str().unwrap();
    assert!(note.contains("no key is pinned"), "{note}");

    // The server itself, which is not where it says that it is.
    let (code, told) = setup.probe_at(setup.world.client_at, &pinned);
    assert_eq!(code, Some(1));
    assert_eq!(codes(&told), BTreeSet::from(["manifest_origin".to_owned()]));
    let finding = &told["findings"][0];
    assert_eq!(finding["at"], "/sdk/v1/manifest.jws");
    assert_eq!(
        finding["expected"],
        format!("http://{}", setup.world.client_at)
    );
    assert_eq!(finding["came"], format!("http://{}", setup.proxy.at));
    assert!(
        finding["change"]
            .as_str()
            .unwrap()
            .contains("client.origin")
    );

    let (code, told) = setup.probe(&["--origin", "https://other.example"]);
    assert_eq!(code, Some(1));
    assert_eq!(codes(&told), BTreeSet::from(["frame_ancestors".to_owned()]));
    for other in ["A".repeat(43), format!("-{}", "A".repeat(42))] {
        let (code, told) = setup.probe(&["--key", &other]);
        assert_eq!(code, Some(1));
        assert_eq!(codes(&told), BTreeSet::from(["manifest_signed".to_owned()]));
    }
    let both = ["--key", &"A".repeat(43), "--key", &setup.key];
    assert_eq!(setup.probe(&both).0, Some(0));
}

/// What a proxy changes, what is found of it, and how.
const CHANGES: &[(&str, &[&str], Change)] = &[
    ("nothing", &[], |_, answer| answer),
    ("a script", &["script_bytes"], |request, answer| {
        let more = path(request).ends_with(".iife.js");
        if more {
            answer + ";fetch('https://evil.example')"
        } else {
            answer
        }
    }),
    ("the manifest", &["manifest_same"], |request, answer| {
        let json = path(request).ends_with("manifest.json");
        if json {
            answer.replace("cardveil.js", "cardveil.mjs")
        } else {
            answer
        }
    }),
    ("a signature", &["manifest_signed"], |request, answer| {
        let Some((rest, signature)) = answer.rsplit_once('.') else {
            return answer;
        };
        if path(request) == "/sdk/v1/manifest.jws" {
            let other = if signature.starts_with('A') { "B" } else { "A" };
            format!("{rest}.{other}{}", &signature[1..])
        } else {
            answer
        }
    }),
    ("no manifest", &["manifest_served"], |request, answer| {
        let jws = path(request) == "/sdk/v1/manifest.jws";
        if jws {
            answer.replacen("200 OK", "404 Not Found", 1)
        } else {
            answer
        }
    }),
    (
        "a script by address",
        &["frame_markup", "frame_script"],
        |_, answer| answer.replace("</main>", "</main><script src=\"//evil.example\"></script>"),
    ),
    ("an inline script", &["frame_script"], |_, answer| {
        answer.replace("</main>", "</main><script>alert(1)</script>")
    }),
    ("a changed script", &["frame_script"], |request, answer| {
        if is_frame(request, &answer) {
            answer.replace("</script>\n</body>", " </script>\n</body>")
        } else {
            answer
        }
    }),
    (
        "a changed file of it",
        &["script_bytes"],
        |request, answer| {
            let file = path(request).starts_with("/embed/assets/");
            if file { answer + " " } else { answer }
        },
    ),
    (
        "an integrity value",
        &["frame_script", "frame_style"],
        |_, answer| answer.replace("integrity=\"sha384-", "integrity=\"sha384-x"),
    ),
    (
        "an address of another file",
        &["frame_script", "frame_style"],
        |_, answer| answer.replace("=\"/embed/assets/frame-", "=\"/embed/assets/frame-x"),
    ),
    ("a linked style", &["frame_style"], |_, answer| {
        let more = "<link rel=\"stylesheet\" href=\"/embed/assets/x.css\"></head>";
        answer.replace("</head>", more)
    }),
    ("a style", &["frame_style"], |_, answer| {
        answer.replace("</style>", "</style><style>*{}</style>")
    }),
    ("a comment", &["frame_markup"], |_, answer| {
        answer.replace("<main", "<!-- x --><main")
    }),
    ("a handler", &["frame_markup"], |_, answer| {
        answer.replace("<main ", "<main onclick=\"x\" ")
    }),
    ("an image", &["frame_markup"], |_, answer| {
        answer.replace("<main", "<img src=\"x\"><main")
    }),
    ("a refresh", &["frame_markup"], |_, answer| {
        answer.replace(
            "<title>",
            "<meta http-equiv=\"refresh\" content=\"0\"><title>",
        )
    }),
    ("other origins", &["frame_config"], |_, answer| {
        answer.replace("\"origins\":[", "\"origins\":[\"https://evil.example\",")
    }),
    ("a wider policy", &["frame_policy"], |request, answer| {
        if is_frame(request, &answer) {
            answer.replacen("script-src ", "script-src 'unsafe-inline' ", 1)
        } else {
            answer
        }
    }),
    ("no trusted types", &["frame_policy"], |request, answer| {
        let frame = is_frame(request, &answer);
        let lacks = answer.replacen("; require-trusted-types-for 'script'", "", 1);
        if frame { lacks } else { answer }
    }),
    (
        "no policy",
        &[
            "frame_config",
            "frame_foreign",
            "frame_ancestors",
            "frame_policy",
        ],
        |request, answer| {
            if is_frame(request, &answer) {
                answer.replacen("content-security-policy", "x-policy", 1)
            } else {
                answer
            }
        },
    ),
    (
        "a second policy",
        &[
            "frame_ancestors",
            "frame_config",
            "frame_foreign",
            "frame_policy",
        ],
        |request, answer| {
            if is_frame(request, &answer) {
                answer.replacen("\r\n", "\r\ncontent-security-policy: default-src *\r\n", 1)
            } else {
                answer
            }
        },
    ),
    (
        "everyone's frame",
        &["frame_config", "frame_foreign"],
        |_, answer| {
            answer.replacen(
                "frame-ancestors https://shop.example",
                "frame-ancestors https://shop.example https:",
                1,
            )
        },
    ),
    ("no transport security", &["frame_headers"], |_, answer| {
        answer.replacen("strict-transport-security", "x-transport-security", 1)
    }),
    ("any permission", &["frame_headers"], |request, answer| {
        let frame = is_frame(request, &answer);
        if frame {
            answer.replacen("camera=()", "camera=*", 1)
        } else {
            answer
        }
    }),
    ("no sharing", &["script_headers"], |_, answer| {
        answer.replacen("access-control-allow-origin", "x-allow-origin", 1)
    }),
    ("another type", &["script_headers"], |_, answer| {
        answer.replacen("text/javascript", "text/plain", 1)
    }),
    ("a short cache", &["script_headers"], |_, answer| {
        answer.replacen(", immutable", "", 1)
    }),
    (
        "an old script for ever",
        &["script_headers"],
        |request, answer| {
            let moving = path(request).starts_with("/sdk/v1/cardveil");
            if moving {
                answer.replacen("max-age=300", "max-age=31536000, immutable", 1)
            } else {
                answer
            }
        },
    ),
    ("any version", &["script_version"], |request, answer| {
        if path(request).contains("none") {
            answer.replacen("404 Not Found", "200 OK", 1)
        } else {
            answer
        }
    }),
    ("any embed", &["embed_unknown"], |request, answer| {
        let embed = path(request).starts_with("/embed/");
        if embed {
            answer.replacen("404 Not Found", "200 OK", 1)
        } else {
            answer
        }
    }),
    ("a page of its own", &["frame_alone"], |_, answer| {
        answer.replacen("403 Forbidden", "200 OK", 1)
    }),
    (
        "another place",
        &["script_bytes", "script_headers", "script_served"],
        |request, answer| {
            let moved = "HTTP/1.1 302 Found\r\nlocation: https://evil.example/\r\nconnection: close\r\n\r\n";
            if path(request) == "/sdk/v1/cardveil.js" {
                moved.to_owned()
            } else {
                answer
            }
        },
    ),
    ("no frame", &["frame_served"], |request, answer| {
        if is_frame(request, &answer) {
            answer.replacen("200 OK", "500 Oops", 1)
        } else {
            answer
        }
    }),
];

#[test]
fn whatever_a_proxy_changes_is_found() {
    let setup = Setup::new();
    let mut seen = BTreeSet::new();
    for (what, expected, change) in CHANGES {
        let expected: BTreeSet<String> = expected.iter().map(|code| (*code).to_owned()).collect();
        assert_eq!(setup.found(*change), expected, "{what}");
        seen.extend(expected);
    }
    assert_eq!(
        seen.len(),
        18,
        "all but the origin and the release: {seen:?}"
    );
}

/// Whoever changes a script and the manifest together is found by a key, and without one by a
/// program of the same version.
#[test]
fn a_script_that_is_changed_with_its_manifest_is_found() {
    fn wrong(body: &str) -> String {
        let digest = cardveil_seal::sha384(body.as_bytes());
        format!("sha384-{}", BASE64_STANDARD.encode(digest))
    }
    fn change(request: &str, answer: String) -> String {
        const ADDED: &str = ";fetch('https://evil.example')";
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let forge = |json: &str| {
            let mut manifest: Value = serde_json::from_str(json).unwrap();
            let dist = concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/dist/cardveil.js");
            let script = std::fs::read_to_string(dist).unwrap() + ADDED;
            manifest["scripts"][0]["integrity"] = wrong(&script).into();
            serde_json::to_string(&manifest).unwrap()
        };
        let body = match path(request) {
            "/sdk/v1/manifest.json" => forge(body),
            "/sdk/v1/manifest.jws" => {
                let parts: Vec<_> = body.split('.').collect();
                let json = text(&BASE64.decode(parts[1]).unwrap());
                format!("{}.{}.{}", parts[0], BASE64.encode(forge(&json)), parts[2])
            }
            path if path.ends_with("/cardveil.js") && !path.contains("none") => {
                body.to_owned() + ADDED
            }
            _ => return answer,
        };
        format!("{head}\r\n\r\n{body}")
    }
    let setup = Setup::new();
    let both = ["manifest_signed", "release"].map(str::to_owned);
    assert_eq!(setup.found(change), BTreeSet::from(both));
    *setup.proxy.change.lock().unwrap() = change;
    let (code, told) = setup.probe(&[]);
    assert_eq!(code, Some(1));
    assert_eq!(codes(&told), BTreeSet::from(["release".to_owned()]));
}

#[test]
fn what_cannot_be_looked_at_is_told_apart_from_what_is_wrong() {
    let dir = crate::world::folder();
    let run = |args: &[&str]| {
        let run = crate::world::binary(dir.path())
            .arg("probe")
            .args(args)
            .output();
        let run = run.unwrap();
        assert!(run.stdout.is_empty(), "{}", text(&run.stdout));
        (run.status.code(), text(&run.stderr))
    };
    // A port that was free a moment ago.
    let free = TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap();
    for url in [format!("http://{free}"), format!("https://{free}")] {
        let (code, told) = run(&[&url, "--embed", "emb_1"]);
        assert_eq!(code, Some(2), "{told}");
        assert!(
            told.contains("cannot look at") && told.contains("hint: "),
            "{told}"
        );
    }
    for url in [
        "http://cards.example",
        "ftp://cards.example",
        "https://cards.example/sdk",
        "x",
    ] {
        let (code, told) = run(&[url, "--embed", "emb_1"]);
        assert_eq!(code, Some(2), "{url}");
        assert!(told.contains("hint: "), "{told}");
    }
    assert_eq!(run(&["https://cards.example"]).0, Some(2), "no embed");
    assert_eq!(
        run(&["https://cards.example", "--embed", "emb_1", "--key", "x"]).0,
        Some(2)
    );
}

#[test]
fn a_person_reads_it_line_by_line() {
    let setup = Setup::new();
    let url = format!("http://{}", setup.proxy.at);
    let run = setup
        .world
        .run(&["probe", &url, "--embed", &setup.world.embed]);
    assert_eq!(run.status.code(), Some(0));
    assert!(
        text(&run.stdout).contains("ok     frame_policy\n"),
        "{}",
        text(&run.stdout)
    );
    assert!(text(&run.stderr).contains("note: no key is pinned"));
    *setup.proxy.change.lock().unwrap() =
        |_, answer| answer.replace("\"embed\":\"", "\"embed\":\"\\u001b[2J");
    let run = setup
        .world
        .run(&["probe", &url, "--embed", &setup.world.embed]);
    assert_eq!(run.status.code(), Some(1));
    let told = text(&run.stdout);
    assert!(told.contains("FOUND  frame_config\n"), "{told}");
    assert!(told.contains("  came      \u{fffd}[2Jemb_"), "{told}");
    assert!(
        !told.contains('\u{1b}'),
        "a server cannot write to the terminal: {told}"
    );
}
