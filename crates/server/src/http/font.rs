//! Fonts that the operator registered: the only ones that a frame can show, served from its own
//! origin so that no other host learns who looks at a card.

use bytes::Bytes;
use serde::Serialize;

/// The largest file: several scripts' worth of glyphs fit, a wrong file does not.
pub const FONT_BYTES_MAX: usize = 1_024 * 1_024;

/// Upright or slanted, as CSS Fonts Level 4 names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FontStyle {
    /// Upright.
    #[default]
    Normal,
    /// Slanted.
    Italic,
}

/// A font that frames may show.
#[derive(Clone, PartialEq, Eq)]
pub struct Font {
    name: String,
    weight: String,
    style: FontStyle,
    /// Its address; it changes with its bytes.
    url: String,
    bytes: Bytes,
}

/// Why a file is not a font that can be registered. Each says what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFont {
    /// Its name.
    #[error(
        "a font's name is 1 to 32 letters, digits and hyphens, begins with a letter, and is no name \
         that CSS keeps for itself, such as serif or system-ui"
    )]
    Name,
    #[error("a font's weight is a number from 1 to 1000, or two such as \"100 900\"")]
    Weight,
    /// Its size.
    #[error(
        "a font's file is at most {FONT_BYTES_MAX} bytes: leave out the glyphs that no card needs"
    )]
    TooLarge,
    /// Its form.
    #[error("the file is not WOFF2: convert it, for instance with woff2_compress")]
    NotWoff2,
    /// Its length is not the one that it says it has (WOFF2 4.1).
    #[error("the file is cut short or has something after its end: copy it again")]
    Length,
}

/// What no font may be called: the frame's own word for the platform's font, and what CSS gives a
/// meaning (CSS Fonts Level 4, 2.1; CSS Values Level 4, 2.1).
const KEPT: [&str; 20] = [
    "system",
    "serif",
    "sans-serif",
    "monospace",
    "cursive",
    "fantasy",
    "math",
    "generic",
    "system-ui",
    "ui-serif",
    "ui-sans-serif",
    "ui-monospace",
    "ui-rounded",
    "emoji",
    "fangsong",
    "inherit",
    "initial",
    "unset",
    "revert",
    "default",
];

impl Font {
    /// A font from its file. `weight` is one number or a range; 400 when left out.
    pub fn new(
        name: &str,
        weight: Option<&str>,
        style: FontStyle,
        bytes: Vec<u8>,
    ) -> Result<Self, InvalidFont> {
        if !is_name(name) {
            return Err(InvalidFont::Name);
        }
        let weight = weight.unwrap_or("400");
        if !is_weight(weight) {
            return Err(InvalidFont::Weight);
        }
        if bytes.len() > FONT_BYTES_MAX {
            return Err(InvalidFont::TooLarge);
        }
        check_woff2(&bytes)?;
        let digest = cardveil_seal::sha256(&[&bytes]);
        let eight = digest.iter().take(8);
        let begin = eight.fold(0, |begin, byte| begin << 8 | u64::from(*byte));
        Ok(Self {
            name: name.to_owned(),
            weight: weight.to_owned(),
            style,
            url: format!("{FOLDER}{name}-{begin:016x}.woff2"),
            bytes: bytes.into(),
        })
    }

    /// The family, as pages name it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a frame could not tell the two apart.
    pub fn is_same_face(&self, other: &Self) -> bool {
        self.name.eq_ignore_ascii_case(&other.name)
            && self.weight == other.weight
            && self.style == other.style
    }

    /// Whether this is what its address names it.
    pub(crate) fn is_called(&self, file: &str) -> bool {
        self.url.strip_prefix(FOLDER) == Some(file)
    }

    /// Its file.
    pub(crate) const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What frames are told of it.
    pub(crate) fn told(&self) -> FontFace<'_> {
        FontFace {
            name: &self.name,
            url: &self.url,
            weight: &self.weight,
            style: self.style,
        }
    }
}

impl std::fmt::Debug for Font {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Font({})", self.url)
    }
}

const FOLDER: &str = "/embed/fonts/";

/// A font in a frame's config.
#[derive(Serialize)]
pub(crate) struct FontFace<'a> {
    name: &'a str,
    url: &'a str,
    weight: &'a str,
    style: FontStyle,
}

fn is_name(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !KEPT.iter().any(|kept| kept.eq_ignore_ascii_case(name))
}

/// CSS Fonts Level 4, `font-weight` of `@font-face`: a number, or a range from low to high.
fn is_weight(weight: &str) -> bool {
    let number = |text: &str| {
        let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
        let number = text.parse::<u16>().ok().filter(|_| plain);
        number.filter(|number| (1..=1_000).contains(number))
    };
    match weight.split_once(' ') {
        None => number(weight).is_some(),
        Some((low, high)) => match (number(low), number(high)) {
            (Some(low), Some(high)) => low <= high,
            (None, _) | (_, None) => false,
        },
    }
}

/// WOFF2 4.1: the signature, the flavour, and the whole file's length.
fn check_woff2(bytes: &[u8]) -> Result<(), InvalidFont> {
    let rest = bytes.strip_prefix(b"wOF2").ok_or(InvalidFont::NotWoff2)?;
    let length = rest.get(4..8).and_then(|field| field.first_chunk());
    let length = length.ok_or(InvalidFont::Length)?;
    if usize::try_from(u32::from_be_bytes(*length)) == Ok(bytes.len()) {
        Ok(())
    } else {
        Err(InvalidFont::Length)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The head of a WOFF2 file of this length, and zeros.
    fn woff2(len: u32) -> Vec<u8> {
        let mut bytes = b"wOF2\0\x01\0\0".to_vec();
        bytes.extend(len.to_be_bytes());
        bytes.resize(len as usize, 0);
        bytes
    }

    fn named(name: &str) -> Result<Font, InvalidFont> {
        Font::new(name, None, FontStyle::Normal, woff2(48))
    }

    #[test]
    fn its_address_has_its_name_and_the_beginning_of_its_digest() {
        let font = named("Inter-2").unwrap();
        assert_eq!(font.url, "/embed/fonts/Inter-2-c516084b1b3954cf.woff2");
        let other = Font::new("Inter-2", None, FontStyle::Normal, woff2(49)).unwrap();
        assert_ne!(font.url, other.url);
    }

    #[test]
    fn a_name_is_plain_and_is_not_one_of_css() {
        let longest = "a".repeat(32);
        for right in ["a", "inter", "Inter", "x-1", "sans", &longest] {
            assert!(named(right).is_ok(), "{right}");
        }
        let long = "a".repeat(33);
        for wrong in [
            "", "1a", "-a", "a b", "a/b", "a.b", "a\"", "é", &long, "system", "SERIF", "inherit",
        ] {
            assert_eq!(named(wrong), Err(InvalidFont::Name), "{wrong}");
        }
    }

    #[test]
    fn a_weight_is_a_number_or_a_range() {
        let with = |weight| Font::new("a", Some(weight), FontStyle::Italic, woff2(48));
        for right in ["1", "400", "1000", "100 900", "1 1000", "400 400"] {
            assert!(with(right).is_ok(), "{right}");
        }
        for wrong in [
            "", "0", "1001", "+400", "0400", "bold", "900 100", "100  900", " 400", "400 ",
            "1 2 3", "0 400",
        ] {
            assert_eq!(with(wrong), Err(InvalidFont::Weight), "{wrong}");
        }
    }

    #[test]
    fn a_file_is_woff2_whole_and_not_too_large() {
        let of = |bytes| Font::new("a", None, FontStyle::Normal, bytes).map(|_| ());
        let most = u32::try_from(FONT_BYTES_MAX).unwrap();
        assert_eq!(of(woff2(most)), Ok(()));
        assert_eq!(of(woff2(most + 1)), Err(InvalidFont::TooLarge));
        let mut short = woff2(48);
        short.pop();
        assert_eq!(of(short), Err(InvalidFont::Length));
        let mut long = woff2(48);
        long.push(0);
        assert_eq!(of(long), Err(InvalidFont::Length));
        for wrong in [&b""[..], b"wOF", b"wOFF\0\x01\0\0", b"\0\x01\0\0", b"OTTO"] {
            assert_eq!(of(wrong.to_vec()), Err(InvalidFont::NotWoff2), "{wrong:?}");
        }
        for end in 4..12 {
            assert_eq!(of(woff2(48)[..end].to_vec()), Err(InvalidFont::Length));
        }
    }

    proptest! {
        #[test]
        fn whatever_the_file_is_it_is_taken_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let plain = Font::new("a", None, FontStyle::Normal, bytes.clone());
            prop_assert!(plain.is_err() || bytes.starts_with(b"wOF2"));
        }

        #[test]
        fn no_name_or_weight_can_leave_its_place(name in ".{0,40}", weight in ".{0,12}") {
            if let Ok(font) = Font::new(&name, Some(&weight), FontStyle::Normal, woff2(48)) {
                let plain = |text: &str, more: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c));
                prop_assert!(plain(&font.url, "/-.") && plain(&font.weight, " "));
            }
        }
    }
}
