use crate::home::Home;

cardveil_testkit::contract_suite!(async {
    let home = Home::new().await;
    (home.open().await, home)
});
