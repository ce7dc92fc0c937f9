//! Fetches what a deployment serves to browsers, the way that browsers ask for it.

use anyhow::Context as _;
use cardveil_core::id::EmbedId;
use cardveil_seal::SystemEntropy;
use cardveil_server::fetch::{Fetcher, Got};
use cardveil_server::manifest::{self, Asset, AssetKind, FRAME_PATH, Frame, Manifest, Opened};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use url::Url;

use crate::print::hinted;

/// More scripts than any release has: a list that never ends is not followed.
const SCRIPTS_MAX: usize = 64;
const DOCUMENTS_MAX: usize = 8;
/// A version that no release has.
const NO_VERSION: &str = "0.0.0-none";

/// Where what the frames link is.
pub(super) const ASSETS: &str = "/embed/assets/";

/// All that came.
pub(super) struct Seen {
    pub(super) signed: Got,
    pub(super) json: Got,
    pub(super) scripts: Vec<Script>,
    /// A script of a version that there is not.
    pub(super) no_version: (String, Got),
    pub(super) frames: Vec<Document>,
    /// The frame, as a page of its own.
    pub(super) alone: Got,
    /// The frame of an embed that there is not.
    pub(super) unknown: (String, Got),
}

/// A script by one of its addresses.
pub(super) struct Script {
    pub(super) asset: Asset,
    pub(super) path: String,
    pub(super) got: Got,
}

/// A document of the frame.
pub(super) struct Document {
    /// As the manifest names it.
    pub(super) told: Frame,
    pub(super) path: String,
    pub(super) got: Got,
}

impl Seen {
    /// What a signed manifest holds, whoever signed it.
    pub(super) fn manifest(&self) -> Option<(Opened, Manifest)> {
        opened(&self.signed)
    }
}

fn opened(signed: &Got) -> Option<(Opened, Manifest)> {
    let jws = std::str::from_utf8(&signed.body).ok()?;
    let opened = Opened::parse(jws).filter(|_| signed.status == 200)?;
    let manifest = serde_json::from_slice(&opened.payload).ok()?;
    Some((opened, manifest))
}

/// Fetches all of it. `origin` is whose page a script is for.
pub(super) async fn look(base: &Url, embed: &EmbedId, origin: &str) -> anyhow::Result<Seen> {
    let eye = Eye {
        fetcher: Fetcher::new()?,
        base,
        origin,
    };
    let signed = eye.script(manifest::SIGNED_PATH).await?;
    let json = eye.script(manifest::PATH).await?;
    let own = || manifest::own(&base.origin().ascii_serialization());
    let manifest = opened(&signed).map_or_else(own, |(_, manifest)| manifest);
    let mut frames = Vec::new();
    for (told, path) in documents(manifest.frames, embed) {
        let got = eye.page(&path, "iframe").await?;
        frames.push(Document { told, path, got });
    }
    let mut scripts = Vec::new();
    for asset in by_address(manifest.scripts) {
        for path in [Some(asset.path.clone()), asset.moving_path.clone()] {
            let Some(path) = path else { continue };
            let got = eye.script(&path).await?;
            let asset = asset.clone();
            scripts.push(Script { asset, path, got });
        }
    }
    let no_version = format!("/sdk/{NO_VERSION}/cardveil.js");
    let frame = FRAME_PATH.replace("{embed}", embed.as_str());
    let stranger = EmbedId::generate(&SystemEntropy);
    let unknown = FRAME_PATH.replace("{embed}", stranger.as_str());
    Ok(Seen {
        signed,
        json,
        scripts,
        no_version: (no_version.clone(), eye.script(&no_version).await?),
        frames,
        alone: eye.page(&frame, "document").await?,
        unknown: (unknown.clone(), eye.page(&unknown, "iframe").await?),
    })
}

/// Each document of the frame, and the first one also where a page asks for none.
fn documents(told: Vec<Frame>, embed: &EmbedId) -> Vec<(Frame, String)> {
    let plain = |frame: &Frame| {
        let query = frame.path.strip_prefix(FRAME_PATH);
        let query = query.map(|query| query.strip_prefix("?whole=true&").unwrap_or(query));
        let name = query.and_then(|query| query.trim_start_matches('?').strip_prefix("as="));
        name.is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_lowercase()))
    };
    let of = |path: &str| path.replace("{embed}", embed.as_str());
    let all: Vec<_> = told.into_iter().filter(plain).take(DOCUMENTS_MAX).collect();
    let unnamed = all.first().map(|first| (first.clone(), of(FRAME_PATH)));
    let named = all.iter().map(|frame| (frame.clone(), of(&frame.path)));
    unnamed.into_iter().chain(named).collect()
}

/// Those that have an address of their own, under `/sdk/` or `/embed/assets/`: a manifest sends
/// nobody elsewhere.
fn by_address(scripts: Vec<Asset>) -> impl Iterator<Item = Asset> {
    let ours = |path: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/.-_".contains(&byte);
        let folder = path.starts_with("/sdk/") || path.starts_with(ASSETS);
        folder && path.bytes().all(plain)
    };
    let has_address = move |asset: &Asset| match asset.kind {
        AssetKind::Module | AssetKind::Script | AssetKind::Style => {
            ours(&asset.path) && asset.moving_path.as_deref().is_none_or(ours)
        }
        AssetKind::InlineScript | AssetKind::InlineStyle => false,
    };
    scripts.into_iter().filter(has_address).take(SCRIPTS_MAX)
}

struct Eye<'a> {
    fetcher: Fetcher,
    base: &'a Url,
    origin: &'a str,
}

impl Eye<'_> {
    /// As a page of another site loads a script that it checks the integrity of.
    async fn script(&self, path: &str) -> anyhow::Result<Got> {
        let mut headers = fetch_metadata("script", "cors");
        let origin = HeaderValue::from_str(self.origin)?;
        headers.insert(header::ORIGIN, origin);
        self.get(path, &headers).await
    }

    async fn page(&self, path: &str, destination: &'static str) -> anyhow::Result<Got> {
        let headers = fetch_metadata(destination, "navigate");
        self.get(path, &headers).await
    }

    async fn get(&self, path: &str, headers: &HeaderMap) -> anyhow::Result<Got> {
        let url = self.base.join(path).context("a path of the manifest")?;
        self.fetcher.get(&url, headers).await.map_err(|error| {
            hinted(
                format!("cannot look at {url}: {error}"),
                "check the address from this machine; a certificate of your own goes into SSL_CERT_FILE",
            )
        })
    }
}

/// What a browser says of a request by itself.
fn fetch_metadata(destination: &'static str, mode: &'static str) -> HeaderMap {
    let pairs = [
        ("sec-fetch-dest", destination),
        ("sec-fetch-mode", mode),
        ("sec-fetch-site", "cross-site"),
    ];
    let pair = |(name, value)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    };
    pairs.into_iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_document_is_looked_at_and_the_first_without_its_name_too() {
        let embed = EmbedId::parse("emb_1").unwrap();
        let paths = |told: Vec<Frame>| -> Vec<String> {
            let all = documents(told, &embed).into_iter();
            all.map(|(_, path)| path).collect()
        };
        let own = paths(manifest::own("").frames);
        assert_eq!(own[..2], ["/embed/emb_1", "/embed/emb_1?as=card"]);
        let named = |path: &str| {
            let mut frame = manifest::own("").frames.remove(0);
            path.clone_into(&mut frame.path);
            frame
        };
        for path in [
            "//evil.example/",
            "/embed/{embed}?as=//evil",
            "/embed/{embed}",
            "/embed/x?as=card",
        ] {
            assert!(paths(vec![named(path)]).is_empty(), "{path}");
        }
        let many = vec![named("/embed/{embed}?as=card"); DOCUMENTS_MAX + 1];
        assert_eq!(
            paths(many).len(),
            DOCUMENTS_MAX + 1,
            "and the first once more"
        );
    }

    #[test]
    fn a_manifest_sends_nobody_elsewhere() {
        let asset = |path: &str, moving: Option<&str>| {
            let mut asset = manifest::own("").scripts.remove(0);
            path.clone_into(&mut asset.path);
            asset.moving_path = moving.map(str::to_owned);
            asset
        };
        let count = |asset: Asset| by_address(vec![asset]).count();
        assert_eq!(count(asset("/sdk/1/a.js", Some("/sdk/v1/a.js"))), 1);
        assert_eq!(count(asset("/sdk/1/a.js", None)), 1);
        for path in [
            "//evil.example/sdk/a.js",
            "https://evil.example/",
            "/sdk/a.js?x",
            "/x",
            "/sdk/\n",
        ] {
            assert_eq!(count(asset(path, None)), 0, "{path}");
            assert_eq!(count(asset("/sdk/1/a.js", Some(path))), 0, "{path}");
        }
        let many = vec![asset("/sdk/1/a.js", None); SCRIPTS_MAX + 1];
        assert_eq!(by_address(many).count(), SCRIPTS_MAX);
    }
}
