//! Designs that the operator registered: the pictures and inks of a card's face, served from the
//! frame's own origin so that no other host learns who looks at a card.
//!
//! A file is told by its first bytes, never by its name. An SVG is shown as a picture, in which no
//! script runs and which loads nothing (SVG Integration, "secure animated mode"); whoever opens it
//! by itself gets a policy that allows it nothing ([`Art::policy`]).

use bytes::Bytes;
use cardveil_core::card::Network;
use serde::Serialize;

/// The largest picture: a face is drawn at most 400 px wide, on a screen of three pixels for each.
pub const ART_BYTES_MAX: usize = 256 * 1_024;

/// A design that frames may show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Design {
    /// As pages name it.
    pub name: DesignName,
    /// The products whose cards it is for ([`cardveil_core::card::Attributes::product`]).
    pub products: Vec<String>,
    /// Whose marks the looks have. A card of another network does not wear them.
    pub network: Option<Network>,
    /// On a light ground.
    pub light: Look,
    /// On a dark one.
    pub dark: Look,
}

/// How a face looks in one colour scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// The text on the background.
    pub ink: Ink,
    /// Fills the face.
    pub background: Art,
    /// The programme's.
    pub logo: Option<Art>,
    /// The trademark of the network, from whom the operator got the file.
    pub mark: Option<Art>,
}

/// The name of a design: lowercase letters, digits and hyphens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DesignName(String);

/// A colour as `#rrggbb`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ink(String);

/// A picture. Frames are told its address, which changes with its bytes.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct Art {
    url: String,
    form: Form,
    bytes: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Svg,
    Png,
    Jpeg,
    Webp,
    Avif,
}

/// Why a design cannot be registered. Each says what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDesign {
    /// Its name.
    #[error(
        "a design's name is 1 to 32 lowercase letters, digits and hyphens, and does not begin with \
         a hyphen"
    )]
    Name,
    /// Its ink.
    #[error("an ink is a colour such as \"#1a2b3c\"")]
    Ink,
    /// A picture's size.
    #[error("a picture is at most {ART_BYTES_MAX} bytes: save it as WebP or AVIF, or smaller")]
    TooLarge,
    /// A picture's form.
    #[error("the file is no SVG in UTF-8, PNG, JPEG, WebP or AVIF: save it as one of these")]
    Form,
}

impl Design {
    /// Each picture of it.
    pub(crate) fn art(&self) -> impl Iterator<Item = &Art> {
        [&self.light, &self.dark].into_iter().flat_map(Look::art)
    }

    /// What frames are told of it.
    pub(crate) fn told(&self) -> Face<'_> {
        Face {
            name: &self.name,
            network: self.network,
            light: self.light.told(),
            dark: self.dark.told(),
        }
    }
}

impl Look {
    fn art(&self) -> impl Iterator<Item = &Art> {
        // Taken apart, so that a new picture is not forgotten here.
        let Self {
            ink: _,
            background,
            logo,
            mark,
        } = self;
        std::iter::once(background).chain(logo).chain(mark)
    }

    fn told(&self) -> FaceLook<'_> {
        FaceLook {
            ink: &self.ink,
            veil: self.ink.veil(),
            art: &self.background,
            logo: self.logo.as_ref(),
            mark: self.mark.as_ref(),
        }
    }
}

/// A design in a frame's config (`web/frame/src/design.ts`).
#[derive(Serialize)]
pub(crate) struct Face<'a> {
    name: &'a DesignName,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<Network>,
    light: FaceLook<'a>,
    dark: FaceLook<'a>,
}

/// The names are those that `web/frame/src/frame.css` knows.
#[derive(Serialize)]
struct FaceLook<'a> {
    ink: &'a Ink,
    veil: &'static str,
    art: &'a Art,
    #[serde(skip_serializing_if = "Option::is_none")]
    logo: Option<&'a Art>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mark: Option<&'a Art>,
}

impl DesignName {
    /// A name that pages can give too (`web/protocol/src/values.ts`).
    pub fn parse(name: &str) -> Result<Self, InvalidDesign> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let right =
            (1..=32).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with('-');
        right
            .then(|| Self(name.to_owned()))
            .ok_or(InvalidDesign::Name)
    }

    /// Itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Ink {
    /// A colour as `#rrggbb`.
    pub fn parse(text: &str) -> Result<Self, InvalidDesign> {
        let digits = text.strip_prefix('#').filter(|digits| {
            digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        });
        digits
            .map(|digits| Self(format!("#{}", digits.to_ascii_lowercase())))
            .ok_or(InvalidDesign::Ink)
    }

    /// What is laid between a background and this ink: black or white, the one that the ink
    /// contrasts more with (WCAG 2.2, "contrast ratio"), as thin as leaves the background to be
    /// seen.
    fn veil(&self) -> &'static str {
        let digits = self.0.strip_prefix('#').unwrap_or_default();
        let rgb = u32::from_str_radix(digits, 16).unwrap_or_default();
        let [_, red, green, blue] = rgb.to_be_bytes().map(|byte| {
            let part = f64::from(byte) / 255.0;
            if part <= 0.04045 {
                part / 12.92
            } else {
                ((part + 0.055) / 1.055).powf(2.4)
            }
        });
        let luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
        // The square is (1 + 0.05) * (0 + 0.05): as far from black as from white.
        if (luminance + 0.05).powi(2) < 0.0525 {
            "#ffffff5c"
        } else {
            "#0000005c"
        }
    }
}

impl Art {
    /// A picture from its file.
    pub fn new(bytes: Vec<u8>) -> Result<Self, InvalidDesign> {
        if bytes.len() > ART_BYTES_MAX {
            return Err(InvalidDesign::TooLarge);
        }
        let form = Form::of(&bytes).ok_or(InvalidDesign::Form)?;
        let digest = cardveil_seal::sha256(&[&bytes]);
        let eight = digest.iter().take(8);
        let begin = eight.fold(0, |begin, byte| begin << 8 | u64::from(*byte));
        Ok(Self {
            url: format!("{FOLDER}{begin:016x}.{}", form.extension()),
            form,
            bytes: bytes.into(),
        })
    }

    /// Whether this is what its address names it.
    pub(crate) fn is_called(&self, file: &str) -> bool {
        self.url.strip_prefix(FOLDER) == Some(file)
    }

    /// Its file.
    pub(crate) const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub(crate) const fn content_type(&self) -> &'static str {
        match self.form {
            Form::Svg => "image/svg+xml",
            Form::Png => "image/png",
            Form::Jpeg => "image/jpeg",
            Form::Webp => "image/webp",
            Form::Avif => "image/avif",
        }
    }

    /// What it may do where it is opened by itself, which an SVG is as a document: be drawn, with
    /// the styles that stand in it, and nothing else.
    pub(crate) const fn policy(&self) -> Option<&'static str> {
        match self.form {
            Form::Svg => Some(
                "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox",
            ),
            Form::Png | Form::Jpeg | Form::Webp | Form::Avif => None,
        }
    }
}

impl From<Art> for String {
    fn from(art: Art) -> Self {
        art.url
    }
}

impl std::fmt::Debug for Art {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Art({})", self.url)
    }
}

const FOLDER: &str = "/embed/designs/";

impl Form {
    /// By the signatures of WHATWG MIME Sniffing 6.1, and for SVG by the text.
    fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
            Some(Self::Png)
        } else if bytes.starts_with(b"\xff\xd8\xff") {
            Some(Self::Jpeg)
        } else if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
            Some(Self::Webp)
        } else if is_avif(bytes) {
            Some(Self::Avif)
        } else {
            is_svg(bytes).then_some(Self::Svg)
        }
    }

    const fn extension(self) -> &'static str {
        match self {
            Self::Svg => "svg",
            Self::Png => "png",
            Self::Jpeg => "jpg",
            Self::Webp => "webp",
            Self::Avif => "avif",
        }
    }
}

/// ISO/IEC 14496-12 4.3: the first box names the brands that the file is of.
fn is_avif(bytes: &[u8]) -> bool {
    let Some((length, rest)) = bytes.split_first_chunk() else {
        return false;
    };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    let brands = rest
        .strip_prefix(b"ftyp")
        .and_then(|_| bytes.get(8..length));
    brands.is_some_and(|brands| brands.chunks_exact(4).any(|brand| brand == b"avif"))
}

/// Whether it is a text whose first element is `svg`, after what XML lets stand before it.
fn is_svg(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    let mut rest = text.trim_start_matches('\u{feff}').trim_start();
    loop {
        let end = if rest.starts_with("<?") {
            "?>"
        } else if rest.starts_with("<!--") {
            "-->"
        } else if rest.starts_with("<!") {
            ">"
        } else {
            break;
        };
        let Some((_, after)) = rest.split_once(end) else {
            return false;
        };
        rest = after.trim_start();
    }
    let after = rest.strip_prefix("<svg");
    after.is_some_and(|after| after.starts_with([' ', '\t', '\r', '\n', '>']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(bytes: &[u8]) -> Result<String, InvalidDesign> {
        Art::new(bytes.to_vec()).map(|art| art.url)
    }

    #[test]
    fn its_address_has_the_beginning_of_its_digest() {
        assert_eq!(
            url(b"<svg>").unwrap(),
            "/embed/designs/880485a05a519b27.svg"
        );
        assert_ne!(url(b"<svg>"), url(b"<svg >"));
    }

    #[test]
    fn a_picture_is_known_by_its_first_bytes() {
        for (bytes, content_type) in [
            (&b"\x89PNG\r\n\x1a\n\0"[..], "image/png"),
            (b"\xff\xd8\xff\xe0", "image/jpeg"),
            (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
            (b"\0\0\0\x10ftypavif\0\0\0\0", "image/avif"),
            (b"\0\0\0\x18ftypmif1\0\0\0\0miafavif", "image/avif"),
            (b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>", "image/svg+xml"),
            (b"\xef\xbb\xbf\n<svg>", "image/svg+xml"),
            (
                b"<?xml version=\"1.0\"?>\n<!-- drawn --><!DOCTYPE svg PUBLIC \"a\" \"b\">\n<!-- x > y -->\n<svg\n>",
                "image/svg+xml",
            ),
        ] {
            assert_eq!(Art::new(bytes.to_vec()).unwrap().content_type(), content_type);
        }
        for wrong in [
            &b""[..],
            b"GIF89a",
            b"RIFF\0\0\0\0WAVE",
            b"\x89PNG",
            b"\0\0\0\x10ftypavis\0\0\0\0",
            b"\0\0\0\xffftypavif",
            b"<html><svg>",
            b"<?xml version=\"1.0\"?><html>",
            b"<?xml version=\"1.0\"",
            b"<!-- never ends <svg>",
            b"<svgx>",
            b"<svg",
            b"\xff\xfe<\0s\0v\0g\0",
        ] {
            assert_eq!(url(wrong), Err(InvalidDesign::Form), "{wrong:?}");
        }
    }

    #[test]
    fn a_picture_is_not_too_large() {
        let mut svg = b"<svg>".to_vec();
        svg.resize(ART_BYTES_MAX, b' ');
        assert!(url(&svg).is_ok());
        svg.push(b' ');
        assert_eq!(url(&svg), Err(InvalidDesign::TooLarge));
    }

    #[test]
    fn an_svg_alone_is_a_document_and_has_a_policy() {
        let policy = |bytes: &[u8]| Art::new(bytes.to_vec()).unwrap().policy();
        assert!(policy(b"<svg>").is_some_and(|policy| policy.contains("sandbox")));
        assert_eq!(policy(b"\xff\xd8\xff"), None);
    }

    #[test]
    fn a_name_is_one_that_pages_can_give() {
        let longest = "a".repeat(32);
        for right in ["a", "1", "dune-2", &longest] {
            assert_eq!(DesignName::parse(right).unwrap().as_str(), right);
        }
        let long = "a".repeat(33);
        for wrong in ["", "-a", "Dune", "a b", "a/b", "a_b", "é", &long] {
            assert_eq!(
                DesignName::parse(wrong),
                Err(InvalidDesign::Name),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_veil_is_what_the_ink_stands_out_from() {
        for (ink, veil) in [
            ("#ffffff", "#0000005c"),
            ("#000000", "#ffffff5c"),
            ("#f4efe6", "#0000005c"),
            ("#1d2b3a", "#ffffff5c"),
            // Grey 117 is as far from black as from white, nearly.
            ("#757575", "#ffffff5c"),
            ("#767676", "#0000005c"),
        ] {
            assert_eq!(Ink::parse(ink).unwrap().veil(), veil, "{ink}");
        }
    }

    #[test]
    fn an_ink_is_a_plain_colour() {
        assert_eq!(Ink::parse("#0A1b2C").unwrap(), Ink("#0a1b2c".to_owned()));
        for wrong in [
            "",
            "#fff",
            "0a1b2c",
            "#0a1b2g",
            "#0a1b2c3d",
            "white",
            "#é0a1b",
        ] {
            assert_eq!(Ink::parse(wrong), Err(InvalidDesign::Ink), "{wrong}");
        }
    }
}
