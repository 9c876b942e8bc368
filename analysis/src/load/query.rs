//! Small pieces of queries, and typed access to their answers.

use dataset::schema;
use domain::outcome::Status;
use polars::prelude::*;

/// The column holds the word.
pub(crate) fn is(column: &str, word: &'static str) -> Expr {
    col(column).eq(lit(word))
}

/// The column is true; null counts as no.
pub(crate) fn yes(column: &str) -> Expr {
    col(column).eq(lit(true))
}

/// The column is false; null counts as no.
pub(crate) fn no(column: &str) -> Expr {
    col(column).eq(lit(false))
}

/// The record was judged: some gate ran on its repair or its document, so the original would have written a verdict.
/// What needs review, needs nothing, could not be processed or was never answered by the proposer was not judged.
pub(crate) fn judged() -> Expr {
    let gates = [
        schema::OK_APPLY,
        schema::OK_POLICY,
        schema::OK_SAFETY,
        schema::SCHEMA_BEFORE,
        schema::OK_SCHEMA,
        schema::OK_RESCAN,
    ];
    let some_gate = gates.iter().map(|gate| col(*gate).is_not_null()).reduce(Expr::or);
    let rejected = is(schema::STATUS, Status::Rejected.as_str());
    is(schema::STATUS, Status::Accepted.as_str()).or(match some_gate {
        Some(ran) => rejected.and(ran),
        None => rejected,
    })
}

/// How many rows meet `condition`.
pub(crate) fn tally(condition: Expr, name: &str) -> Expr {
    condition.cast(DataType::UInt64).sum().alias(name)
}

/// Sum of a column of whole numbers.
pub(crate) fn total(column: Expr, name: &str) -> Expr {
    column.cast(DataType::UInt64).sum().alias(name)
}

pub(crate) fn rows(name: &str) -> Expr {
    len().cast(DataType::UInt64).alias(name)
}

/// The value of `column` in the row of the group that comes first in the corpus.
pub(crate) fn of_first(column: &str) -> Expr {
    col(column).sort_by([col(schema::POSITION)], SortMultipleOptions::default()).first()
}

/// Runs a query in bounded memory where its steps allow it.
pub(crate) fn run(frame: LazyFrame) -> PolarsResult<Answer> {
    let plans = vec![frame.logical_plan];
    let mut answers = LazyFrame::collect_all_with_engine(plans, Engine::Streaming, OptFlags::default())?;
    answers.pop().map(Answer).ok_or_else(|| PolarsError::NoData("a query gave no answer".into()))
}

/// The answer of a query.
pub(crate) struct Answer(DataFrame);

impl Answer {
    pub(crate) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        (0..self.0.height()).map(|index| Row { frame: &self.0, index })
    }

    /// Its first row; every query without groups has one.
    pub(crate) fn only(&self) -> Row<'_> {
        Row { frame: &self.0, index: 0 }
    }
}

/// A row of an answer.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    frame: &'a DataFrame,
    index: usize,
}

impl<'a> Row<'a> {
    fn cell(self, column: &str) -> PolarsResult<AnyValue<'a>> {
        self.frame.column(column)?.get(self.index)
    }

    /// A whole number; null counts as 0.
    pub(crate) fn count(self, column: &str) -> PolarsResult<u64> {
        match self.cell(column)? {
            AnyValue::Null => Ok(0),
            value => value.try_extract(),
        }
    }

    /// A number; `None` for null.
    pub(crate) fn number(self, column: &str) -> PolarsResult<Option<f64>> {
        match self.cell(column)? {
            AnyValue::Null => Ok(None),
            value => value.try_extract().map(Some),
        }
    }

    /// A text; `None` for null.
    pub(crate) fn text(self, column: &str) -> PolarsResult<Option<String>> {
        Ok(self.cell(column)?.get_str().map(str::to_owned))
    }

    /// A text that is there.
    pub(crate) fn word(self, column: &str) -> PolarsResult<String> {
        Ok(self.text(column)?.unwrap_or_default())
    }
}
