mod change;
mod handover;
mod pin;

use cardveil_testkit::sample;

#[test]
fn a_card_without_a_label_is_named_by_scheme_and_last_four() {
    let mut card = sample::card(7);
    assert_eq!(card.display_name(), "Card 7");
    card.label.clear();
    assert_eq!(card.display_name(), "Visa 0007");
}
