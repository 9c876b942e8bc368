//! The architecture is a test.

#[test]
fn the_arrows_are_as_they_should_be() {
    assert_eq!(xtask::tidy::check().unwrap(), Vec::<String>::new());
}
