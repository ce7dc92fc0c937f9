use crate::home::Home;

cardveil_core::contract_suite!(async {
    let home = Home::new().await;
    (home.open().await, home)
});
