//! The architecture is a test.

#[test]
fn the_workspace_is_as_the_architecture_says() {
    assert_eq!(xtask::tidy::check().unwrap(), Vec::<String>::new());
}
