//! What must hold of what came. Pure: what was seen in, a report out.
//!
//! Two things are held against each other, and neither is trusted alone: the manifest, which says
//! what the deployment means to serve, and the rules that no deployment may bend.

use cardveil_seal::PublicKey;
use cardveil_server::fetch::Got;
use cardveil_server::manifest::{self, Asset, AssetKind, FRAME_PATH, Frame, Manifest};
use http::HeaderMap;
use serde::Deserialize;

use super::look::{ASSETS, Document, Seen};
use super::markup::{self, Element};
use super::policy::{self, Policy};
use super::report::{Code, Report};

/// Whom no operator has named.
const FOREIGN: &str = "https://foreign.invalid";
const IMMUTABLE: &str = "immutable";

/// What a deployment is held against.
pub(super) struct Expected<'a> {
    /// The origin that was probed.
    pub(super) client_origin: &'a str,
    /// The embed that was asked for.
    pub(super) embed: &'a str,
    /// Origins that must be able to frame it.
    pub(super) origins: &'a [String],
    /// Who may have signed the manifest; anyone when empty.
    pub(super) keys: &'a [PublicKey],
}

/// Looks at all of it.
pub(super) fn check(seen: &Seen, expected: &Expected<'_>, report: &mut Report) {
    let manifest = manifest(seen, expected, report);
    release(manifest.as_ref(), report);
    scripts(seen, report);
    let held = manifest.unwrap_or_else(|| manifest::own(expected.client_origin));
    for document in &seen.frames {
        frame(document, expected, &held, report);
    }
    let came = format!("{} documents", seen.frames.len());
    let at = (Code::FrameServed, FRAME_PATH);
    report.check(
        at,
        !seen.frames.is_empty(),
        ("documents of the frame", came),
    );
    strangers(seen, report);
}

fn manifest(seen: &Seen, expected: &Expected<'_>, report: &mut Report) -> Option<Manifest> {
    let at = manifest::SIGNED_PATH;
    let found = seen.manifest();
    let came = format!("{}, {} bytes", seen.signed.status, seen.signed.body.len());
    let wanted = "200 and a signed manifest";
    report.check((Code::ManifestServed, at), found.is_some(), (wanted, came));
    let (opened, manifest) = found?;
    report.version = Some(manifest.version.clone());
    report.kid = Some(opened.kid.clone());
    report.pinned = !expected.keys.is_empty();
    if report.pinned {
        let kids: Vec<_> = expected.keys.iter().map(manifest::kid).collect();
        let signed = opened.is_signed_by(expected.keys);
        let came = format!("a signature that is not theirs, with kid {}", opened.kid);
        let wanted = format!("a signature of {}", kids.join(" or "));
        report.check((Code::ManifestSigned, at), signed, (wanted, came));
    } else {
        report.notes.push(
            "no key is pinned, so whoever changes a script can change the manifest too: give --key",
        );
    }
    let same = seen.json.status == 200 && *seen.json.body == *opened.payload;
    let came = format!("{}, {} other bytes", seen.json.status, seen.json.body.len());
    let wanted = "the bytes that were signed";
    report.check((Code::ManifestSame, manifest::PATH), same, (wanted, came));
    let origin = manifest.client_origin == expected.client_origin;
    let came = manifest.client_origin.clone();
    let wanted = expected.client_origin;
    report.check((Code::ManifestOrigin, at), origin, (wanted, came));
    Some(manifest)
}

/// A deployment of this program's own version serves what this program would.
fn release(manifest: Option<&Manifest>, report: &mut Report) {
    let at = manifest.map_or("", |manifest| manifest.client_origin.as_str());
    let own = manifest::own(at);
    let Some(manifest) = manifest.filter(|manifest| manifest.version == own.version) else {
        report.notes.push(
            "the server is of another version than this program, so its scripts are held against its \
             manifest alone: probe with the server's version",
        );
        return;
    };
    for asset in &own.scripts {
        let same = manifest
            .scripts
            .iter()
            .find(|known| (&known.name, &known.path) == (&asset.name, &asset.path));
        let came = same.map_or("nothing", |known| known.integrity.as_str());
        let at = (Code::Release, asset.name.as_str());
        report.check(at, same == Some(asset), (asset.integrity.as_str(), came));
    }
    for asset in &manifest.scripts {
        let known = own.scripts.contains(asset);
        let at = (Code::Release, asset.name.as_str());
        report.check(at, known, ("no such script", asset.integrity.as_str()));
    }
    let mut frames = manifest.frames.clone();
    for frame in &mut frames {
        // The operator's fonts and designs are no part of a release.
        for own in [" font-src 'self';", " img-src 'self';"] {
            frame.policy = frame.policy.replace(own, "");
        }
    }
    let same = frames == own.frames;
    let at = (Code::Release, FRAME_PATH);
    report.check(at, same, ("the release's policy and headers", "others"));
}

fn scripts(seen: &Seen, report: &mut Report) {
    for script in &seen.scripts {
        let (at, got) = (script.path.as_str(), &script.got);
        served(Code::ScriptServed, at, got, report);
        let came = integrity(&got.body);
        let well = came == script.asset.integrity;
        let wanted = script.asset.integrity.as_str();
        report.check((Code::ScriptBytes, at), well, (wanted, came));
        let content_type = match script.asset.kind {
            AssetKind::Style | AssetKind::InlineStyle => "text/css; charset=utf-8",
            AssetKind::Module | AssetKind::Script | AssetKind::InlineScript => {
                "text/javascript; charset=utf-8"
            }
        };
        let whose = if at.starts_with(ASSETS) {
            &[("cross-origin-resource-policy", "same-origin")][..]
        } else {
            &[
                ("access-control-allow-origin", "*"),
                ("cross-origin-resource-policy", "cross-origin"),
            ]
        };
        let all = [
            ("content-type", content_type),
            ("x-content-type-options", "nosniff"),
        ];
        for pair in all.iter().chain(whose) {
            header(Code::ScriptHeaders, at, *pair, got, report);
        }
        let cache = joined(&got.headers, "cache-control");
        let exact = script.path == script.asset.path;
        let well = cache.contains(IMMUTABLE) == exact && cache.contains("public");
        let wanted = if exact {
            "cache-control: public, immutable"
        } else {
            "cache-control: public, and not immutable"
        };
        report.check((Code::ScriptHeaders, at), well, (wanted, cache));
    }
    let (at, got) = &seen.no_version;
    let came = got.status.to_string();
    report.check((Code::ScriptVersion, at), got.status == 404, ("404", came));
}

fn frame(seen: &Document, expected: &Expected<'_>, manifest: &Manifest, report: &mut Report) {
    let (at, got, held) = (seen.path.as_str(), &seen.got, &seen.told);
    served(Code::FrameServed, at, got, report);
    if got.status != 200 {
        return;
    }
    headers(at, got, held, report);
    let policies: Vec<_> = got
        .headers
        .get_all("content-security-policy")
        .iter()
        .collect();
    let text = joined(&got.headers, "content-security-policy");
    let policy = Policy::parse(&text);
    let once = policies.len() == 1 && !text.contains(',');
    let same = Policy::parse(&text).without_ancestors() == Policy::parse(&held.policy);
    let wanted = held.policy.as_str();
    report.check(
        (Code::FramePolicy, at),
        once && same,
        (wanted, text.as_str()),
    );
    rules(at, &policy, &manifest.client_origin, report);
    ancestors(at, &policy, expected, report);
    document(seen, expected, (manifest, &policy), report);
}

fn headers(at: &str, got: &Got, held: &Frame, report: &mut Report) {
    for pair in &held.headers {
        header(Code::FrameHeaders, at, (pair.0, pair.1), got, report);
    }
    // Those that no manifest may leave out.
    let own = manifest::own("").frames;
    for pair in own.iter().flat_map(|frame| &frame.headers) {
        if !held.headers.contains_key(pair.0) {
            header(Code::FrameHeaders, at, (pair.0, pair.1), got, report);
        }
    }
}

/// What no policy of a frame may lack, whatever a manifest says.
fn rules(at: &str, policy: &Policy, client_origin: &str, report: &mut Report) {
    let mut rule = |well: bool, wanted: &str, directive: &str| {
        let came = format!("{directive} {}", policy.sources(directive).join(" "));
        report.check((Code::FramePolicy, at), well, (wanted, came));
    };
    for (directive, value) in [
        ("default-src", "'none'"),
        ("base-uri", "'none'"),
        ("form-action", "'none'"),
        ("connect-src", "'self'"),
        ("require-trusted-types-for", "'script'"),
        ("trusted-types", "'none'"),
    ] {
        let wanted = format!("{directive} {value}");
        rule(policy.is(directive, value), &wanted, directive);
    }
    for directive in ["script-src", "style-src"] {
        let sources = policy.sources(directive);
        let hash = |source: &str| source.starts_with("'sha384-") && source.ends_with('\'');
        let file = |source: &str| {
            let path = source.strip_prefix(client_origin);
            let name = path.and_then(|path| path.strip_prefix(ASSETS));
            name.is_some_and(|name| name.contains('.') && !name.contains(['/', '*', '?', '%']))
        };
        let exact = |source: &String| hash(source) || file(source);
        let well = !sources.is_empty() && sources.iter().all(exact);
        let wanted = format!("{directive} with hashes and whole addresses in {ASSETS} alone");
        rule(well, &wanted, directive);
    }
}

fn ancestors(at: &str, policy: &Policy, expected: &Expected<'_>, report: &mut Report) {
    let sources = policy.sources("frame-ancestors");
    let came = || format!("frame-ancestors {}", sources.join(" "));
    for origin in expected.origins {
        let there = sources.contains(origin);
        let wanted = format!("frame-ancestors with {origin}");
        report.check((Code::FrameAncestors, at), there, (wanted, came()));
    }
    let exact = sources.iter().all(|source| policy::is_exact(source));
    let foreign = sources
        .iter()
        .any(|source| policy::lets_in(source, FOREIGN));
    let well = exact && !foreign && !sources.is_empty();
    let wanted = "frame-ancestors with whole origins alone";
    report.check((Code::FrameForeign, at), well, (wanted, came()));
}

/// What the page tells its script.
#[derive(Deserialize)]
struct Config {
    embed: String,
    origins: Vec<String>,
}

fn document(
    seen: &Document,
    expected: &Expected<'_>,
    (manifest, policy): (&Manifest, &Policy),
    report: &mut Report,
) {
    let (at, got) = (seen.path.as_str(), &seen.got);
    let text = String::from_utf8_lossy(&got.body);
    let elements = markup::elements(&text);
    let wanted = "elements that only a frame has, and no address in any";
    let strange = elements
        .iter()
        .flatten()
        .find(|element| is_strange(element));
    let came = match (&elements, strange) {
        (None, _) => "markup that the server never writes".to_owned(),
        (Some(_), Some(element)) => format!("<{}> {:?}", element.name, element.attributes),
        (Some(_), None) => String::new(),
    };
    report.check((Code::FrameMarkup, at), came.is_empty(), (wanted, came));
    let Some(elements) = elements else { return };
    let data = |element: &&Element<'_>| element.attribute("id") == Some("cardveil-config");
    let runs = |element: &&Element<'_>| element.name == "script" && !data(element);
    let dresses = |element: &&Element<'_>| {
        element.name == "style" || element.attribute("rel") == Some("stylesheet")
    };
    let scripts: Vec<_> = elements.iter().filter(runs).collect();
    let styles: Vec<_> = elements.iter().filter(dresses).collect();
    for (code, directive, found) in [
        (Code::FrameScript, "script-src", scripts),
        (Code::FrameStyle, "style-src", styles),
    ] {
        let wanted = Policy::parse(&seen.told.policy);
        let source = |element| source(element, manifest);
        let came: Vec<_> = found.into_iter().map(source).collect();
        // The policy allows it to all, and the document has it where its merchant needs it.
        let optional = |source: &String| !came.contains(source) && is_task(source, manifest);
        let mut wanted = wanted.sources(directive).to_vec();
        wanted.retain(|source| !optional(source));
        same((code, at), wanted, came, report);
    }
    let config = elements.iter().find(data);
    let config = config.and_then(|config| serde_json::from_str::<Config>(config.text).ok());
    let came = config.as_ref().map_or_else(
        || "none".to_owned(),
        |config| format!("{} with {}", config.embed, config.origins.join(" ")),
    );
    let sources = policy.sources("frame-ancestors");
    let told: &[String] = if policy.is("frame-ancestors", "'none'") {
        &[]
    } else {
        sources
    };
    let well =
        config.is_some_and(|config| config.embed == expected.embed && config.origins == told);
    let wanted = format!("{} with {}", expected.embed, told.join(" "));
    report.check((Code::FrameConfig, at), well, (wanted, came));
}

/// Whether an element could bring in what no hash and no policy covers.
fn is_strange(element: &Element<'_>) -> bool {
    const KNOWN: [&str; 9] = [
        "html", "head", "meta", "title", "style", "link", "body", "main", "script",
    ];
    const PLAIN: [&str; 6] = ["lang", "dir", "charset", "name", "content", "id"];
    let plain = |(name, value): &(String, &str)| match (element.name.as_str(), name.as_str()) {
        (_, name) if PLAIN.contains(&name) => true,
        ("script", "type") => *value == "application/json",
        ("script" | "link", "crossorigin") => *value == "anonymous",
        ("script" | "link", "integrity") | ("script", "defer") => true,
        ("script", "src") | ("link", "href") => value.starts_with(ASSETS),
        ("link", "rel") => ["stylesheet", "preload"].contains(value),
        ("link", "as") => *value == "fetch",
        _ => false,
    };
    !KNOWN.contains(&element.name.as_str()) || !element.attributes.iter().all(plain)
}

/// What a policy would call a script or a style, if the manifest has it.
fn source(element: &Element<'_>, manifest: &Manifest) -> String {
    let mut held = manifest.scripts.iter();
    let path = element
        .attribute("src")
        .or_else(|| element.attribute("href"));
    let (known, source) = match path {
        None => {
            let value = integrity(element.text.as_bytes());
            let known = held.any(|asset| asset.integrity == value);
            (known, format!("'{value}'"))
        }
        Some(path) => {
            let value = element.attribute("integrity").unwrap_or_default();
            let same = |asset: &Asset| asset.path == path && asset.integrity == value;
            let known = held.any(same);
            (known, format!("{}{path}", manifest.client_origin))
        }
    };
    if known {
        source
    } else {
        format!("{source}, which is not in the manifest")
    }
}

/// Whether a source of a policy is what not every document has.
fn is_task(source: &str, manifest: &Manifest) -> bool {
    let is = |asset: &Asset| {
        source == format!("'{}'", asset.integrity)
            || source == format!("{}{}", manifest.client_origin, asset.path)
    };
    manifest
        .scripts
        .iter()
        .any(|asset| manifest::is_task(asset) && is(asset))
}

/// Each script or style is one of those that are wanted, and each of those is there.
fn same(at: (Code, &str), mut wanted: Vec<String>, mut came: Vec<String>, report: &mut Report) {
    wanted.sort();
    came.sort();
    let same = wanted == came && !came.is_empty();
    report.check(at, same, (wanted.join(" "), came.join(" ")));
}

/// What whoever has no business there gets.
fn strangers(seen: &Seen, report: &mut Report) {
    let alone = &seen.alone;
    let well = alone.status == 403 && framed_by_nobody(&alone.headers);
    let came = format!(
        "{}, {}",
        alone.status,
        joined(&alone.headers, "content-security-policy")
    );
    let wanted = "403 to a page of its own, framed by nobody";
    report.check((Code::FrameAlone, FRAME_PATH), well, (wanted, came));
    let (at, unknown) = &seen.unknown;
    let well = unknown.status == 404 && framed_by_nobody(&unknown.headers);
    let came = format!(
        "{}, {}",
        unknown.status,
        joined(&unknown.headers, "content-security-policy")
    );
    let wanted = "404, framed by nobody";
    report.check((Code::EmbedUnknown, at), well, (wanted, came));
}

fn framed_by_nobody(headers: &HeaderMap) -> bool {
    let policy = Policy::parse(&joined(headers, "content-security-policy"));
    policy.is("frame-ancestors", "'none'")
}

fn served(code: Code, at: &str, got: &Got, report: &mut Report) {
    let to = joined(&got.headers, "location");
    let came = if to.is_empty() {
        got.status.to_string()
    } else {
        format!("{} to {to}", got.status)
    };
    report.check((code, at), got.status == 200, ("200", came));
}

fn header(code: Code, at: &str, (name, value): (&str, &str), got: &Got, report: &mut Report) {
    let came = joined(&got.headers, name);
    let wanted = format!("{name}: {value}");
    report.check(
        (code, at),
        came == value,
        (wanted, format!("{name}: {came}")),
    );
}

/// All values of a header, as a browser joins them (RFC 9110 5.2).
fn joined(headers: &HeaderMap, name: &str) -> String {
    let values = headers.get_all(name).iter();
    let texts: Vec<_> = values
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .collect();
    texts.join(", ")
}

fn integrity(bytes: &[u8]) -> String {
    manifest::integrity(bytes)
}
