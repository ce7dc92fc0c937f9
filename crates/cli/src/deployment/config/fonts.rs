//! `[[fonts]]`: the files that frames may show text in. Read once, at the start.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use cardveil_server::{FONT_BYTES_MAX, FontStyle};
use serde::{Deserialize, Serialize};

use super::Setting;
use crate::print::hinted;

/// A frame is told of all of them, so there are not many.
const FONTS_MAX: usize = 16;

/// One face of a family: its file, and which weights and style it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Font {
    /// The family, as pages name it.
    name: String,
    /// A WOFF2 file.
    pub(super) file: PathBuf,
    /// A number, or a range such as `100 900`; 400 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weight: Option<String>,
    /// Upright when left out.
    #[serde(default)]
    style: Style,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Style {
    #[default]
    Normal,
    Italic,
}

/// All of them, read and checked.
pub(super) fn read(fonts: &[Font]) -> anyhow::Result<Vec<cardveil_server::Font>> {
    if fonts.len() > FONTS_MAX {
        let many = hinted(
            format!("there are more than {FONTS_MAX}"),
            "keep those that pages ask for; a variable font has all weights in one file",
        );
        return Err(many.context(Setting::new("fonts")));
    }
    let mut read: Vec<cardveil_server::Font> = Vec::new();
    for (place, font) in fonts.iter().enumerate() {
        let setting = || Setting::new(format!("fonts[{place}]"));
        let face = one(font).with_context(setting)?;
        if read.iter().any(|known| known.is_same_face(&face)) {
            let twice = hinted(
                format!(
                    "the font {} is there twice with one weight and style",
                    face.name()
                ),
                "give each [[fonts]] of a family another weight or style, or take one out",
            );
            return Err(twice.context(setting()));
        }
        read.push(face);
    }
    Ok(read)
}

fn one(font: &Font) -> anyhow::Result<cardveil_server::Font> {
    let style = match font.style {
        Style::Normal => FontStyle::Normal,
        Style::Italic => FontStyle::Italic,
    };
    let bytes = bytes(&font.file, FONT_BYTES_MAX).map_err(|error| {
        hinted(
            format!("cannot read the font {}: {error}", font.file.display()),
            "give `file` the path of a WOFF2 file that the server's user can read, or take the [[fonts]] out",
        )
    })?;
    cardveil_server::Font::new(&font.name, font.weight.as_deref(), style, bytes).map_err(|error| {
        hinted(
            format!(
                "[[fonts]] {:?} with {} cannot be served",
                font.name,
                font.file.display()
            ),
            error.to_string(),
        )
    })
}

/// What is in a file that may have `most` bytes. One byte more shows one that is too large, however
/// large it is.
pub(super) fn bytes(path: &Path, most: usize) -> std::io::Result<Vec<u8>> {
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::print::hint;

    const WOFF2: &[u8] = b"wOF2\0\x01\0\0\0\0\0\x0c";

    fn font(folder: &Path, name: &str, bytes: &[u8]) -> Font {
        let file = folder.join(format!("{name}.woff2"));
        std::fs::write(&file, bytes).unwrap();
        Font {
            name: name.to_owned(),
            file,
            weight: None,
            style: Style::Normal,
        }
    }

    #[test]
    fn they_are_read_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let fonts = [
            font(folder.path(), "inter", WOFF2),
            font(folder.path(), "noto", WOFF2),
        ];
        let read = read(&fonts).unwrap();
        let names: Vec<_> = read.iter().map(cardveil_server::Font::name).collect();
        assert_eq!(names, ["inter", "noto"]);
    }

    #[test]
    fn what_cannot_be_served_is_told_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let missing = Font {
            file: folder.path().join("none.woff2"),
            ..font(folder.path(), "inter", WOFF2)
        };
        let told = |fonts: &[Font]| {
            let error = read(fonts).unwrap_err();
            format!("{error:#}: {}", hint(&error).unwrap())
        };
        assert!(told(&[missing]).contains("cannot read the font"));
        let plain = font(folder.path(), "plain", b"\0\x01\0\0");
        assert!(told(&[plain]).contains("not WOFF2"));
        let large = font(folder.path(), "large", &vec![0; FONT_BYTES_MAX + 2]);
        assert!(told(&[large]).contains("at most 1048576 bytes"));
        let wrong = font(folder.path(), "system", WOFF2);
        assert!(told(&[wrong]).contains("a font's name is"));
    }

    #[test]
    fn a_face_is_there_once_and_there_are_not_too_many() {
        let folder = tempfile::tempdir().unwrap();
        let upright = font(folder.path(), "inter", WOFF2);
        let mut slanted = upright.clone();
        slanted.style = Style::Italic;
        assert_eq!(read(&[upright.clone(), slanted]).unwrap().len(), 2);
        assert!(read(&[upright.clone(), upright.clone()]).is_err());
        let many = |count: u16| {
            let of = |weight: u16| Font {
                weight: Some(weight.to_string()),
                ..upright.clone()
            };
            read(&(1..=count).map(of).collect::<Vec<_>>())
        };
        assert_eq!(many(16).unwrap().len(), 16);
        assert!(many(17).is_err());
    }
}
