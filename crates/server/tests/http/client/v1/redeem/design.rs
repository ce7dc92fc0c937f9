//! Which design a card wears: that of its product, where one is registered.

use cardveil_core::flow::NewCard;
use cardveil_server::log::AccessLog;
use serde_json::{Value, json};

use crate::actors::Cardholder;
use crate::world::{PERSON, World, design, new_card, settings};

/// What the answer says of a card of this product, where two designs are registered for some.
async fn told(product: Option<&str>) -> Value {
    let mut settings = settings();
    settings.designs = vec![
        design("reef", &["gift"]),
        design("dune", &["prepaid", "gold"]),
    ];
    let world = World::with(settings, AccessLog::none()).await;
    let (no, id) = ("C202605220077", "00000077-0000-4000-8000-000000000000");
    let mut card: NewCard = new_card(1, (no, id), PERSON, (crate::world::PAN, None));
    card.attributes.product = product.map(str::to_owned);
    world.add(card).await;
    let token = world
        .merchant()
        .native(&json!({"card_no": no}))
        .await
        .json();
    let token = token["token"].as_str().unwrap().to_owned();
    let answer = Cardholder::with(&world, token).redeem(&["pan"]).await;
    answer.json()["card"].clone()
}

#[tokio::test]
async fn a_card_wears_the_design_of_its_product() {
    for (product, design) in [("gold", "dune"), ("prepaid", "dune"), ("gift", "reef")] {
        assert_eq!(
            told(Some(product)).await,
            json!({"last_four": "1111", "network": "visa", "design": design})
        );
    }
}

#[tokio::test]
async fn without_one_it_is_told_of_none() {
    for product in [None, Some("Gold"), Some("dune")] {
        assert_eq!(
            told(product).await,
            json!({"last_four": "1111", "network": "visa"})
        );
    }
}
