//! Building blocks of Polars queries, and typed access to their results.

use domain::outcome::Status;
use polars::prelude::*;
use results::schema;

/// The column equals the word.
pub(crate) fn is(column: &str, word: &'static str) -> Expr {
    col(column).eq(lit(word))
}

/// The column is true; null counts as false.
pub(crate) fn yes(column: &str) -> Expr {
    col(column).eq(lit(true))
}

/// The column is false; for null this is not true either.
pub(crate) fn no(column: &str) -> Expr {
    col(column).eq(lit(false))
}

/// The record was judged: at least one gate ran on its repair or its document, so the paper's code would have written a
/// verdict. Records that need review, need no repair, could not be processed or got no proposal were not judged.
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

/// Number of rows that meet `condition`.
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

/// The value of `column` in the group's first row in corpus order.
pub(crate) fn of_first(column: &str) -> Expr {
    col(column).sort_by([col(schema::POSITION)], SortMultipleOptions::default()).first()
}

/// Runs a query with the streaming engine, in bounded memory where its steps allow that.
pub(crate) fn run(frame: LazyFrame) -> PolarsResult<Answer> {
    let plans = vec![frame.logical_plan];
    let mut answers = LazyFrame::collect_all_with_engine(plans, Engine::Streaming, OptFlags::default())?;
    answers.pop().map(Answer).ok_or_else(|| PolarsError::NoData("a query gave no answer".into()))
}

/// The result of a query.
pub(crate) struct Answer(DataFrame);

impl Answer {
    pub(crate) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        (0..self.0.height()).map(|index| Row { frame: &self.0, index })
    }

    /// The first row; a query without groups has exactly one.
    pub(crate) fn only(&self) -> Row<'_> {
        Row { frame: &self.0, index: 0 }
    }
}

/// A row of a result.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    frame: &'a DataFrame,
    index: usize,
}

impl<'a> Row<'a> {
    fn cell(self, column: &str) -> PolarsResult<AnyValue<'a>> {
        self.frame.column(column)?.get(self.index)
    }

    /// An integer; null counts as 0.
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

    /// A text; null counts as empty.
    pub(crate) fn word(self, column: &str) -> PolarsResult<String> {
        Ok(self.text(column)?.unwrap_or_default())
    }
}
