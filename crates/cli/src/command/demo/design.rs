//! The demo's design: a tide at the shore, light and dark. Cards of [`PRODUCT`] wear it.

use std::path::Path;

use crate::deployment::config::Design;

/// What the card programme of the demo sells these cards as.
pub(super) const PRODUCT: &str = "tideline";

const FILES: [(&str, &str); 4] = [
    (
        "tideline.svg",
        include_str!("../../../../../examples/shop/page/tideline.svg"),
    ),
    (
        "tideline-dark.svg",
        include_str!("../../../../../examples/shop/page/tideline-dark.svg"),
    ),
    (
        "tideline-logo.svg",
        include_str!("../../../../../examples/shop/page/tideline-logo.svg"),
    ),
    (
        "tideline-logo-dark.svg",
        include_str!("../../../../../examples/shop/page/tideline-logo-dark.svg"),
    ),
];

/// Writes its pictures there, where an operator would have them.
pub(super) fn write(dir: &Path) -> anyhow::Result<Design> {
    let folder = dir.join("designs");
    std::fs::create_dir_all(&folder)?;
    for (name, text) in FILES {
        std::fs::write(folder.join(name), text)?;
    }
    let file = |name: &str| folder.join(name);
    Ok(Design {
        name: "tideline".to_owned(),
        background: file("tideline.svg"),
        background_dark: Some(file("tideline-dark.svg")),
        ink: "#12323a".to_owned(),
        ink_dark: Some("#f1f6f3".to_owned()),
        logo: Some(file("tideline-logo.svg")),
        logo_dark: Some(file("tideline-logo-dark.svg")),
        products: vec![PRODUCT.to_owned()],
        ..Design::default()
    })
}
