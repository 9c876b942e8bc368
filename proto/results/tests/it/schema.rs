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
            let role = match role {
                Role::Outcome => "outcome",
                Role::LaterOutcome => "outcome where not null",
                Role::Execution => "execution",
            };
            format!("{name:<22} {:<36} {null:<5} {role}", field.data_type().to_string())
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}
