//! The demo's cards, of the schemes' published test numbers.

use cardveil_core::card::{
    Attributes, CardNumber, CardholderName, Cvv, Expiry, Kind, Label, State,
};
use cardveil_core::flow::NewCard;
use cardveil_core::id::{AccountId, CardId, CardNo, MerchantId, PersonId};
use cardveil_core::vault::ClearCard;

use super::{ACCOUNT, MFA_CARD, PERSON};

/// A card of the demo.
pub(super) struct Sample {
    no: &'static str,
    id: &'static str,
    pan: &'static str,
    cvv: Option<&'static str>,
    expiry: &'static str,
    kind: Kind,
    state: State,
    label: &'static str,
    product: Option<&'static str>,
}

/// The first one is the card of the examples in both published descriptions.
pub(super) const SAMPLES: [Sample; 12] = [
    sample(
        1,
        "e9293471-5eb3-4dbc-916c-dbaf9e2deefd",
        "4111111111111111",
        "123",
        State::Active,
        "Everyday",
    ),
    sample(
        2,
        "c0ffee00-0000-4000-8000-000000000002",
        "5555555555554444",
        "456",
        State::Active,
        "Travel",
    ),
    sample(
        3,
        "c0ffee00-0000-4000-8000-000000000003",
        "378282246310005",
        "7890",
        State::Active,
        "Business",
    ),
    Sample {
        product: Some(super::design::PRODUCT),
        ..sample(
            4,
            "c0ffee00-0000-4000-8000-000000000004",
            "6011111111111117",
            "135",
            State::Active,
            "Groceries",
        )
    },
    sample(
        5,
        "c0ffee00-0000-4000-8000-000000000005",
        "3530111333300000",
        "246",
        State::Active,
        "Japan trip",
    ),
    Sample {
        product: Some(super::design::PRODUCT),
        ..sample(
            6,
            "c0ffee00-0000-4000-8000-000000000006",
            "30569309025904",
            "357",
            State::Active,
            "Dining",
        )
    },
    sample(
        7,
        "c0ffee00-0000-4000-8000-000000000007",
        "6205500000000000004",
        "468",
        State::Active,
        "Shanghai office",
    ),
    sample(
        8,
        "c0ffee00-0000-4000-8000-000000000008",
        "4242424242424242",
        "579",
        State::Unactivated,
        "New, not shown yet",
    ),
    Sample {
        kind: Kind::Physical,
        ..sample(
            9,
            "c0ffee00-0000-4000-8000-000000000009",
            "4000056655665556",
            "680",
            State::Suspended,
            "Frozen",
        )
    },
    sample(
        10,
        "c0ffee00-0000-4000-8000-000000000010",
        "5105105105105100",
        "791",
        State::Terminated,
        "Closed",
    ),
    Sample {
        kind: Kind::Physical,
        cvv: None,
        ..sample(
            11,
            "c0ffee00-0000-4000-8000-000000000011",
            "2223003122003222",
            "",
            State::Active,
            "Without a CVV on file",
        )
    },
    Sample {
        kind: Kind::Physical,
        ..sample(
            12,
            "c0ffee00-0000-4000-8000-000000000012",
            "4012888888881881",
            "802",
            State::Pending,
            "Being made",
        )
    },
];

const NUMBERS: [&str; 12] = [
    "C202605220001",
    "C202605220002",
    "C202605220003",
    "C202605220004",
    "C202605220005",
    "C202605220006",
    "C202605220007",
    "C202605220008",
    "C202605220009",
    "C202605220010",
    "C202605220011",
    "C202605220012",
];

const fn sample(
    n: usize,
    id: &'static str,
    pan: &'static str,
    cvv: &'static str,
    state: State,
    label: &'static str,
) -> Sample {
    #[expect(
        clippy::indexing_slicing,
        reason = "evaluated by the compiler, which checks it"
    )]
    let no = NUMBERS[n - 1];
    Sample {
        no,
        id,
        pan,
        cvv: Some(cvv),
        expiry: "12/2030",
        kind: Kind::Virtual,
        state,
        label,
        product: None,
    }
}

/// The card that is shown after a code only.
pub(super) const PROTECTED: Sample = Sample {
    no: "C202605220101",
    ..sample(
        1,
        MFA_CARD,
        "4012888888881881",
        "913",
        State::Active,
        "Private",
    )
};

impl Sample {
    pub(super) fn card(&self, merchant: &MerchantId) -> anyhow::Result<NewCard> {
        let number = CardNumber::parse(self.pan)?;
        let network = number.network();
        Ok(NewCard {
            id: Some(CardId::parse(self.id)?),
            no: CardNo::parse(self.no)?,
            merchant: merchant.clone(),
            account: AccountId::parse(ACCOUNT)?,
            person: PersonId::parse(PERSON)?,
            kind: self.kind,
            state: self.state,
            label: Label::parse(self.label)?,
            attributes: Attributes {
                product: self.product.map(str::to_owned),
                ..Attributes::default()
            },
            clear: ClearCard {
                number,
                expiry: Expiry::parse(self.expiry)?,
                name: CardholderName::parse("A CARDHOLDER")?,
                cvv: self.cvv.map(|cvv| Cvv::parse(cvv, network)).transpose()?,
            },
        })
    }
}
