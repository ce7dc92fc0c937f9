//! The suite over the two stores of this crate.

#[cfg(test)]
mod memory {
    crate::contract_suite!(async { (crate::testing::Memory::default(), ()) });
}

#[cfg(test)]
mod faulty {
    crate::contract_suite!(async {
        (
            crate::testing::Faulty::new(crate::testing::Memory::default()),
            (),
        )
    });
}
