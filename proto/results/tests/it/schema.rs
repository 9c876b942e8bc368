//! The result columns are a contract: a change of this snapshot is a decision.

use results::schema::{COLUMNS, Role, outcomes};

#[test]
fn columns() {
    let schema = outcomes();
    let lines: Vec<String> = COLUMNS
        .iter()
        .zip(schema.fields())
        .map(|((name, _, role), field)| {
            assert_eq!(field.name(), name);
            let null = if field.is_nullable() { "null" } else { "-" };
            let role = if *role == Role::Outcome { "outcome" } else { "execution" };
            format!("{name:<22} {:<36} {null:<5} {role}", field.data_type().to_string())
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}
