//! `[[designs]]`: how the faces of cards may look. Their files are read once, at the start.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use cardveil_core::card::{Network, is_word};
use cardveil_server::{ART_BYTES_MAX, Art, DesignName, Ink, InvalidDesign, Look};
use serde::{Deserialize, Serialize};

use super::Setting;
use super::fonts::bytes;
use crate::print::hinted;

/// A frame is told of all of them, so there are not many.
const DESIGNS_MAX: usize = 16;

/// A background, an ink, and what else the face shows, each light and, where it differs, dark.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Design {
    /// As pages name it.
    pub(crate) name: String,
    /// Fills the face: SVG, PNG, JPEG, WebP or AVIF.
    pub(crate) background: PathBuf,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) background_dark: Option<PathBuf>,
    /// The text on the background, `#rrggbb`.
    pub(crate) ink: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ink_dark: Option<String>,
    /// The programme's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) logo: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) logo_dark: Option<PathBuf>,
    /// The file that the network gave for its trademark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mark: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mark_dark: Option<PathBuf>,
    /// Whose mark it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) network: Option<Network>,
    /// The products whose cards it is for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) products: Vec<String>,
}

impl Design {
    pub(super) fn under(&mut self, base: &Path) {
        for path in self.paths() {
            *path = base.join(&*path);
        }
    }

    fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let more = [
            &mut self.background_dark,
            &mut self.logo,
            &mut self.logo_dark,
            &mut self.mark,
            &mut self.mark_dark,
        ];
        let more = more.into_iter().filter_map(Option::as_mut);
        std::iter::once(&mut self.background).chain(more)
    }
}

/// All of them, read and checked.
pub(super) fn read(designs: &[Design]) -> anyhow::Result<Vec<cardveil_server::Design>> {
    if designs.len() > DESIGNS_MAX {
        let many = hinted(
            format!("there are more than {DESIGNS_MAX}"),
            "keep those that cards of today have; several products can share one",
        );
        return Err(many.context(Setting::new("designs")));
    }
    let mut read: Vec<cardveil_server::Design> = Vec::new();
    for (place, design) in designs.iter().enumerate() {
        let setting = || Setting::new(format!("designs[{place}]"));
        let one = one(design).with_context(setting)?;
        check_once(&one, &read).with_context(setting)?;
        read.push(one);
    }
    Ok(read)
}

/// A name, and a product, is of one design.
fn check_once(
    design: &cardveil_server::Design,
    known: &[cardveil_server::Design],
) -> anyhow::Result<()> {
    if known.iter().any(|other| other.name == design.name) {
        return Err(hinted(
            format!("the design {} is there twice", design.name.as_str()),
            "give each [[designs]] another name, or take one out",
        ));
    }
    let taken = |product: &&String| known.iter().any(|other| other.products.contains(product));
    match design.products.iter().find(taken) {
        Some(product) => Err(hinted(
            format!("the product {product} has two designs"),
            "name each product in the `products` of one [[designs]]",
        )),
        None => Ok(()),
    }
}

fn one(design: &Design) -> anyhow::Result<cardveil_server::Design> {
    let wrong = |error: InvalidDesign| {
        hinted(
            format!("[[designs]] {:?} cannot be shown", design.name),
            error.to_string(),
        )
    };
    if let Some(product) = design.products.iter().find(|product| !is_word(product)) {
        return Err(hinted(
            format!("{product:?} is no product of a card"),
            "name products as the cards do: 1 to 64 letters, digits, `_` or `-`",
        ));
    }
    let ink = Ink::parse(&design.ink).map_err(wrong)?;
    let ink_dark = design.ink_dark.as_deref().map(Ink::parse).transpose();
    let background = art(&design.background)?;
    let background_dark = design.background_dark.as_deref().map(art).transpose()?;
    let (logo, logo_dark) = pair("logo", design.logo.as_deref(), design.logo_dark.as_deref())?;
    let (mark, mark_dark) = pair("mark", design.mark.as_deref(), design.mark_dark.as_deref())?;
    Ok(cardveil_server::Design {
        name: DesignName::parse(&design.name).map_err(wrong)?,
        products: design.products.clone(),
        network: network(design)?,
        dark: Look {
            ink: ink_dark.map_err(wrong)?.unwrap_or_else(|| ink.clone()),
            background: background_dark.unwrap_or_else(|| background.clone()),
            logo: logo_dark,
            mark: mark_dark,
        },
        light: Look {
            ink,
            background,
            logo,
            mark,
        },
    })
}

/// A mark and its network come together.
fn network(design: &Design) -> anyhow::Result<Option<Network>> {
    match (design.network, &design.mark) {
        (Some(network), Some(_)) => Ok(Some(network)),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(hinted(
            "a mark without its network",
            "name whose mark it is: `network = \"visa\"`",
        )),
        (Some(_), None) => Err(hinted(
            "a network without its mark",
            "give `mark` the file that the network gave for its mark, or take `network` out: \
             the network's name is written on the face without",
        )),
    }
}

/// A picture, light and dark: the same where there is no dark one.
fn pair(
    key: &str,
    light: Option<&Path>,
    dark: Option<&Path>,
) -> anyhow::Result<(Option<Art>, Option<Art>)> {
    match (light, dark) {
        (Some(light), Some(dark)) => Ok((Some(art(light)?), Some(art(dark)?))),
        (Some(light), None) => {
            let light = art(light)?;
            Ok((Some(light.clone()), Some(light)))
        }
        (None, None) => Ok((None, None)),
        (None, Some(_)) => Err(hinted(
            format!("`{key}_dark` without `{key}`"),
            format!(
                "give `{key}` the file for a light ground; without `{key}_dark` it is for both"
            ),
        )),
    }
}

fn art(path: &Path) -> anyhow::Result<Art> {
    let bytes = bytes(path, ART_BYTES_MAX).map_err(|error| {
        hinted(
            format!("cannot read the picture {}: {error}", path.display()),
            "give the path of a file that the server's user can read, or take the key out",
        )
    })?;
    Art::new(bytes).map_err(|error| {
        hinted(
            format!("the picture {} cannot be served", path.display()),
            error.to_string(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::print::hint;

    const SVG: &[u8] = b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>";

    fn file(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
        let file = folder.join(name);
        std::fs::write(&file, bytes).unwrap();
        file
    }

    fn design(folder: &Path, name: &str) -> Design {
        Design {
            name: name.to_owned(),
            background: file(folder, "light.svg", SVG),
            ink: "#1d2b3a".to_owned(),
            ..Design::default()
        }
    }

    fn told(designs: &[Design]) -> String {
        let error = read(designs).unwrap_err();
        format!("{error:#}: {}", hint(&error).unwrap())
    }

    #[test]
    fn what_has_no_dark_side_is_the_same_on_both() {
        let folder = tempfile::tempdir().unwrap();
        let plain = design(folder.path(), "plain");
        let whole = Design {
            background_dark: Some(file(folder.path(), "dark.jpg", b"\xff\xd8\xff")),
            ink_dark: Some("#FFFFFF".to_owned()),
            mark: Some(file(folder.path(), "mark.svg", SVG)),
            network: Some(Network::Visa),
            products: vec!["prepaid".to_owned()],
            ..design(folder.path(), "whole")
        };
        let read = read(&[plain, whole]).unwrap();
        assert_eq!(read[0].light, read[0].dark);
        assert_eq!(read[1].light.ink, read[0].light.ink);
        assert_eq!(read[1].dark.ink, Ink::parse("#ffffff").unwrap());
        assert_ne!(read[1].light.background, read[1].dark.background);
        assert_eq!(read[1].light.mark, read[1].dark.mark);
        assert_eq!(read[1].products, ["prepaid"]);
    }

    #[test]
    fn a_file_that_cannot_be_served_is_told_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let with = |background| {
            told(&[Design {
                background,
                ..design(folder.path(), "a")
            }])
        };
        let missing = with(folder.path().join("none.svg"));
        assert!(
            missing.contains("designs[0]: cannot read the picture"),
            "{missing}"
        );
        let other = with(file(folder.path(), "a.gif", b"GIF89a"));
        assert!(other.contains("no SVG in UTF-8, PNG"), "{other}");
        let large = with(file(folder.path(), "large", &vec![0; ART_BYTES_MAX + 2]));
        assert!(large.contains("at most 262144 bytes"), "{large}");
    }

    #[test]
    fn what_does_not_fit_together_is_told_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let plain = || design(folder.path(), "a");
        let picture = || Some(file(folder.path(), "more.svg", SVG));
        let of = |design| told(&[design]);
        let wrong = [
            (
                Design {
                    name: "A".to_owned(),
                    ..plain()
                },
                "a design's name is",
            ),
            (
                Design {
                    ink_dark: Some("white".to_owned()),
                    ..plain()
                },
                "an ink is a colour",
            ),
            (
                Design {
                    logo_dark: picture(),
                    ..plain()
                },
                "`logo_dark` without `logo`",
            ),
            (
                Design {
                    mark: picture(),
                    ..plain()
                },
                "a mark without its network",
            ),
            (
                Design {
                    network: Some(Network::Jcb),
                    ..plain()
                },
                "a network without its mark",
            ),
            (
                Design {
                    products: vec!["a b".to_owned()],
                    ..plain()
                },
                "no product of a card",
            ),
        ];
        for (design, expected) in wrong {
            let told = of(design);
            assert!(told.contains(expected), "{told}");
        }
    }

    #[test]
    fn a_name_and_a_product_are_of_one_design_and_there_are_not_too_many() {
        let folder = tempfile::tempdir().unwrap();
        let of = |name: &str, product: &str| Design {
            products: vec![product.to_owned()],
            ..design(folder.path(), name)
        };
        assert!(told(&[of("a", "x"), of("a", "y")]).contains("is there twice"));
        assert!(told(&[of("a", "x"), of("b", "x")]).contains("has two designs"));
        let many = |count: u16| {
            let named = |n: u16| of(&format!("d-{n}"), &format!("p-{n}"));
            read(&(1..=count).map(named).collect::<Vec<_>>())
        };
        assert_eq!(many(16).unwrap().len(), 16);
        assert!(many(17).is_err());
    }
}
