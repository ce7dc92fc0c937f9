use crate::home::Home;

cardveil_testkit::contract_suite!(async {
    let home = Home::new();
    (home.open().0, home)
});
