//! The contract suite over the two stores of this crate.

use cardveil_testkit::{Faulty, Memory};

mod memory {
    use super::Memory;

    cardveil_testkit::contract_suite!(async { (Memory::default(), ()) });
}

mod faulty {
    use super::{Faulty, Memory};

    cardveil_testkit::contract_suite!(async { (Faulty::new(Memory::default()), ()) });
}
