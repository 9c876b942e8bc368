//! SQL queries.

use domain::run::RunState;
use serde_json::json;

use crate::support::{analysis, failure, json, run_folder, stdout, ten, write};

#[test]
fn query_results_are_printed_in_every_form() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_folder(dir.path(), "r1", &[&ten()], RunState::Finished).display().to_string();
    let by_policy = "select policy_id, avg(accepted) as share, count(*) as n from outcomes group by policy_id \
                     order by n desc, policy_id limit 2";
    assert_eq!(
        json(&["sql", by_policy, &run, "--output", "json"]),
        json!([{"policy_id": "no_latest_tag", "share": 0.4, "n": 5}, {"policy_id": "no_privileged", "share": 1.0, "n": 2}])
    );
    assert_eq!(
        stdout(&["sql", by_policy, &run, "--output", "csv"]),
        "policy_id,share,n\nno_latest_tag,0.4,5\nno_privileged,1.0,2\n"
    );
    assert!(stdout(&["sql", by_policy, &run, "--output", "md"]).contains("| no\\_latest\\_tag | 0.4 | 5 |"));
    assert!(stdout(&["sql", by_policy, &run]).starts_with("Result (n = 2 rows)\n"));
    let lists = "with bad as (select * from outcomes where status = 'rejected') \
                 select record_id, errors, cost_usd from bad order by record_id limit 1";
    assert_eq!(
        json(&["sql", lists, &run, "--output", "json"]),
        json!([{"record_id": "005", "errors": ["spec.x: unknown field {1} not found", "second"], "cost_usd": null}])
    );
    let output = analysis(&["sql", "-", &run, "--output", "csv"])
        .write_stdin("select count(*) as n from outcomes where errors is not null and status like 're%'")
        .assert()
        .success()
        .get_output()
        .stdout
        .clone();
    assert_eq!(String::from_utf8(output).unwrap(), "n\n3\n");
}

#[test]
fn only_queries_are_run() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_folder(dir.path(), "r1", &[&ten()], RunState::Finished).display().to_string();
    for (statement, word) in [
        ("drop table outcomes", "drop"),
        ("DELETE FROM outcomes", "DELETE"),
        ("truncate outcomes", "truncate"),
        ("", ""),
    ] {
        let text = failure(&["sql", statement, &run]);
        assert!(text.contains(&format!("a statement that begins with {word:?} is not a query")), "{text}");
    }
    let text = failure(&["sql", "select nothing from outcomes", &run]);
    assert!(text.contains("nothing") && text.contains("hint: the rows are the table outcomes"), "{text}");
    assert!(failure(&["sql", "select 1 from elsewhere", &run]).contains("elsewhere"));
    assert!(failure(&["sql", "select 1; drop table outcomes", &run]).contains("cannot run the query"));
}

#[test]
fn a_record_counts_once_here_too() {
    let dir = tempfile::tempdir().unwrap();
    let run = run_folder(dir.path(), "r1", &[&ten()], RunState::Finished).display().to_string();
    let copy = dir.path().join("copy.parquet");
    write(&copy, "r1", &ten()[3..]);
    let text = failure(&["sql", "select count(*) from outcomes", &run, copy.to_str().unwrap()]);
    assert!(text.contains("occurs 2 times"), "{text}");
}
