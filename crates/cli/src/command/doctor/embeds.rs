//! What embeds allow that should be narrowed.

use cardveil_core::merchant::{Embed, is_secure_origin};

use super::{Check, check};

/// Embeds from before only `https` origins were taken, and before `transparent` was to be asked
/// for, go on with what they have; here they are named.
pub(super) fn look(embeds: &[Embed], checks: &mut Vec<Check>) {
    for embed in embeds {
        let exposed: Vec<_> = embed
            .origins
            .iter()
            .filter(|origin| !is_secure_origin(origin))
            .map(|origin| format!("{origin:?}"))
            .collect();
        if !exposed.is_empty() {
            let found = format!(
                "{} takes pages that are not https ({}), which whoever stands in between writes: \
                 cardveil embed set {} --origin https://...",
                embed.id,
                exposed.join(", "),
                embed.id
            );
            checks.push(check("embed origins", false, found));
        }
    }
    let transparent: Vec<_> = embeds
        .iter()
        .filter(|embed| embed.transparent && embed.enabled)
        .map(|embed| embed.id.as_str())
        .collect();
    if !transparent.is_empty() {
        let found = format!(
            "{} let pages lay parts without looks over their own; where none needs it: \
             cardveil embed set ID --transparent false",
            transparent.join(", ")
        );
        checks.push(check("embed parts", true, found));
    }
}

#[cfg(test)]
mod tests {
    use cardveil_core::clock::Time;
    use cardveil_core::id::{EmbedId, MerchantId};

    use super::*;

    fn embed(id: &str) -> Embed {
        Embed {
            id: EmbedId::parse(id).unwrap(),
            merchant: MerchantId::parse("mer_1").unwrap(),
            origins: vec!["https://shop.example".to_owned()],
            copy_cvv: false,
            transparent: false,
            enabled: true,
            created_at: Time::from_millis(0),
        }
    }

    fn found(change: impl Fn(&mut Embed)) -> Vec<Check> {
        let mut changed = embed("emb_1");
        change(&mut changed);
        let mut checks = vec![];
        look(&[embed("emb_2"), changed], &mut checks);
        checks
    }

    #[test]
    fn an_embed_with_an_origin_in_the_clear_is_named_with_it() {
        assert!(found(|_| ()).is_empty());
        let checks = found(|embed| embed.origins.push("http://shop.example".to_owned()));
        assert_eq!(checks.len(), 1);
        assert!(!checks[0].ok);
        let found = &checks[0].found;
        assert!(found.contains("emb_1") && found.contains("\"http://shop.example\""));
        assert!(!found.contains("\"https://shop.example\""));
    }

    #[test]
    fn an_embed_that_allows_transparent_parts_is_named() {
        let checks = found(|embed| embed.transparent = true);
        assert_eq!(checks.len(), 1);
        assert!(checks[0].ok && checks[0].found.starts_with("emb_1 let pages"));
    }
}
