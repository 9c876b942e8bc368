//! Parts made to hurt: each is refused or is what it should be, without a panic and within bounded memory.

use std::sync::LazyLock;

use bytes::Bytes;
use domain::ids::{RunId, ShardIndex};
use domain::outcome::Outcome;
use domain::record::Record;
use domain::testing::{Inputs, outcome, property, record};
use proptest::prelude::*;
use results::part::check::{Expected, check_part};
use results::part::write_part;

const ROWS: u64 = 4;

static RECORDS: LazyLock<Vec<Record>> =
    LazyLock::new(|| (0..ROWS).map(|position| record(position, "latest-tag", "kind: Pod").0).collect());

static PART: LazyLock<Bytes> = LazyLock::new(|| {
    let rows: Vec<Outcome> = RECORDS.iter().map(|record| outcome(record, ShardIndex(0))).collect();
    write_part(&run(), &rows).expect("a part is written to memory")
});

fn run() -> RunId {
    RunId::new("r").expect("a legal id")
}

/// Whether the part is admitted.
fn admitted(bytes: &Bytes) -> bool {
    let run_id = run();
    let expected = Expected { run_id: &run_id, shard: ShardIndex(0), records: &RECORDS };
    match check_part(bytes, &expected) {
        Ok(tally) => {
            assert_eq!(tally.records, ROWS);
            true
        }
        Err(fault) => {
            assert!(fault.to_string().len() < 100_000, "a fault is told in few words");
            false
        }
    }
}

#[test]
fn a_part_with_changed_bytes_is_refused_or_still_right() {
    assert!(admitted(&PART));
    // The reader of Parquet panics at it.
    let mut bytes = PART.to_vec();
    bytes[2073] = 151;
    admitted(&bytes.into());
    // Most of a part is its footer: half of the changes go there.
    let place = prop_oneof![
        any::<prop::sample::Index>().prop_map(|at| at.index(PART.len())),
        PART.len() - 64..PART.len()
    ];
    let changes = prop::collection::vec((place, any::<u8>()), 1..6);
    property("part-changed", Inputs { usual: 400, share: 60 }, &changes, |changes| {
        let mut bytes = PART.to_vec();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        admitted(&bytes.into());
    });
}

#[test]
fn a_part_that_is_cut_or_joined_is_refused() {
    let footer = u32::from_le_bytes(*PART[PART.len() - 8..].first_chunk().expect("eight bytes"));
    let data = PART.len() - 8 - usize::try_from(footer).expect("a small footer");
    // The last values of the last column, which then reads those of the footer: every cut that ends there.
    for from in data.saturating_sub(200)..data {
        assert!(!admitted(&[&PART[..from], &PART[data..]].concat().into()), "{} bytes cut", data - from);
    }
    // Bytes that nobody reads, before the footer.
    assert!(!admitted(&[&PART[..data], b"hidden", &PART[data..]].concat().into()));
    let cut = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..3_u8);
    property("part-cut", Inputs { usual: 200, share: 20 }, &cut, |(from, upto, how)| {
        let (from, upto) = (from.index(PART.len()), upto.index(PART.len()));
        let bytes = match how {
            0 => PART.slice(..from),
            1 => PART.slice(from..),
            _ => [&PART[..from.min(upto)], &PART[from.max(upto)..]].concat().into(),
        };
        assert!(bytes == *PART || !admitted(&bytes));
    });
}

#[test]
fn any_bytes_between_the_marks_are_refused() {
    let bytes = (prop::collection::vec(any::<u8>(), 0..300), any::<u32>());
    property("part-bytes", Inputs { usual: 300, share: 20 }, &bytes, |(inner, length)| {
        let length = if length % 3 == 0 { length } else { u32::try_from(inner.len()).unwrap_or(0) };
        let whole = [b"PAR1", &inner[..], &length.to_le_bytes(), b"PAR1"].concat();
        assert!(!admitted(&whole.into()));
    });
}
