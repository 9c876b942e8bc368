//! Outcome → part → outcome.

use domain::ids::RunId;
use domain::outcome::Outcome;
use proptest::prelude::*;

use crate::part::write_part;
use crate::scan::{Problem, batches, info, outcomes};
use crate::schema;
use crate::testing::{any_outcome, outcome};

fn run() -> RunId {
    RunId::new("run").unwrap()
}

#[test]
fn every_column_has_an_encoder_of_the_right_type() {
    super::encode(&run(), &[outcome(0)]).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn outcomes_survive_a_part(rows in prop::collection::vec(any_outcome(), 0..6)) {
        let part = write_part(&run(), &rows).unwrap();
        let back: Vec<Outcome> = outcomes([part.into()]).map(Result::unwrap).collect();
        prop_assert_eq!(back, rows);
    }
}

#[test]
fn a_projection_reads_the_columns_named() {
    let rows: Vec<Outcome> = (5..9).map(outcome).collect();
    let part = crate::scan::Part::from(write_part(&run(), &rows).unwrap());
    let names = [schema::STATUS, schema::POSITION];
    let (_, batch) = batches([part.clone()], Some(&names)).next().unwrap().unwrap();
    let found: Vec<&str> = batch.schema_ref().fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(found, [schema::POSITION, schema::STATUS]);
    assert_eq!(batch.num_rows(), 4);
    let info = info(&part).unwrap();
    assert_eq!((info.rows, info.positions), (4, Some((5, 8))));
    let error = batches([part], Some(&["nonsense"])).next().unwrap().unwrap_err();
    assert!(matches!(error.problem, Problem::NoColumn(name) if name == "nonsense"));
}

#[test]
fn damaged_and_foreign_parts_are_named() {
    let part = write_part(&run(), &[outcome(0)]).unwrap();
    for damaged in [part.slice(..part.len() - 9), part.slice(20..), bytes::Bytes::from_static(b"PAR1")] {
        let error = outcomes([damaged.into()]).next().unwrap().unwrap_err();
        assert!(error.to_string().starts_with("part in memory: "), "{error}");
    }
    let path = std::path::Path::new("no/such.parquet");
    let error = outcomes([path.into()]).next().unwrap().unwrap_err();
    assert!(error.to_string().starts_with("no/such.parquet: cannot be opened"), "{error}");
}

#[test]
fn unsigned_positions_beyond_the_signed_range_survive() {
    let rows = [outcome(u64::MAX - 1)];
    let part = write_part(&run(), &rows).unwrap();
    let back: Vec<Outcome> = outcomes([part.into()]).map(Result::unwrap).collect();
    assert_eq!(back, rows);
}
