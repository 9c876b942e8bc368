//! Comparison of our values with the paper's.

use serde::Serialize;
use serde_json::Value;

/// Maximum relative difference that counts as rounding.
const ROUNDING: f64 = 1e-9;

/// A value that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Difference {
    pub(crate) place: String,
    pub(crate) ours: String,
    #[serde(rename = "published")]
    pub(crate) paper: String,
}

/// The result of a comparison.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Comparison {
    pub(super) compared: u64,
    /// Compared values that are equal within rounding only.
    pub(super) rounded: u64,
    /// Compared values that differ.
    pub(super) differences: Vec<Difference>,
}

impl Comparison {
    /// Compares every value of the paper with ours. Keys that only ours has are not a difference.
    pub(super) fn of(ours: &Value, paper: &Value) -> Self {
        let mut comparison = Self::default();
        comparison.walk("", Some(ours), paper);
        comparison
    }

    /// Compares texts line by line.
    pub(super) fn of_text(ours: &str, paper: &str) -> Self {
        let mut comparison = Self::default();
        let (mut ours, mut paper) = (ours.lines(), paper.lines());
        let mut number = 0;
        loop {
            let (a, b) = (ours.next(), paper.next());
            if a.is_none() && b.is_none() {
                return comparison;
            }
            number += 1;
            comparison.compared += 1;
            if a.map(str::trim_end) != b.map(str::trim_end) {
                comparison.differs(&format!("line {number}"), a.unwrap_or("nothing"), b.unwrap_or("nothing"));
            }
        }
    }

    /// Compares CSV cell by cell, numbers by value.
    pub(super) fn of_csv(ours: &str, paper: &str) -> Self {
        let mut comparison = Self::default();
        let (ours, paper) = (cells(ours), cells(paper));
        for (row, line) in paper.iter().enumerate() {
            for (column, cell) in line.iter().enumerate() {
                let place = format!("line {}, column {}", row + 1, column + 1);
                match ours.get(row).and_then(|line| line.get(column)) {
                    Some(own) => comparison.cell(&place, own, cell),
                    None => comparison.differs(&place, "nothing", cell),
                }
            }
        }
        if ours.len() > paper.len() {
            comparison.differs("lines", &ours.len().to_string(), &paper.len().to_string());
        }
        comparison
    }

    /// The sum of two comparisons.
    #[must_use]
    pub(super) fn and(mut self, other: Self) -> Self {
        self.compared += other.compared;
        self.rounded += other.rounded;
        self.differences.extend(other.differences);
        self
    }

    fn cell(&mut self, place: &str, ours: &str, paper: &str) {
        // A leading zero, as in "001", marks an identifier.
        let is_name = |text: &str| text.len() > 1 && text.starts_with('0') && !text.starts_with("0.");
        match (ours.parse::<f64>(), paper.parse::<f64>()) {
            (Ok(a), Ok(b)) if !is_name(ours) && !is_name(paper) => self.numbers(place, a, b),
            _ => {
                self.compared += 1;
                if ours != paper {
                    self.differs(place, ours, paper);
                }
            }
        }
    }

    fn numbers(&mut self, place: &str, ours: f64, paper: f64) {
        self.compared += 1;
        let gap = (ours - paper).abs();
        if ours.to_bits() == paper.to_bits() || gap == 0.0 {
            return;
        }
        if gap <= ROUNDING * paper.abs().max(1.0) {
            self.rounded += 1;
        } else {
            self.differs(place, &ours.to_string(), &paper.to_string());
        }
    }

    fn walk(&mut self, place: &str, ours: Option<&Value>, paper: &Value) {
        match (ours, paper) {
            (Some(Value::Object(ours)), Value::Object(paper)) => {
                for (key, value) in paper {
                    self.walk(&format!("{place}/{key}"), ours.get(key), value);
                }
            }
            (Some(Value::Array(ours)), Value::Array(paper)) => {
                for (index, value) in paper.iter().enumerate() {
                    self.walk(&format!("{place}/{index}"), ours.get(index), value);
                }
                if ours.len() > paper.len() {
                    self.differs(place, &format!("{} entries", ours.len()), &format!("{}", paper.len()));
                }
            }
            (Some(Value::Number(ours)), Value::Number(paper)) => {
                let of = |number: &serde_json::Number| number.as_f64().unwrap_or(f64::NAN);
                self.numbers(place, of(ours), of(paper));
            }
            (ours, paper) => {
                self.compared += 1;
                if ours != Some(paper) {
                    let ours = ours.map_or_else(|| "nothing".to_owned(), ToString::to_string);
                    self.differs(place, &ours, &paper.to_string());
                }
            }
        }
    }

    fn differs(&mut self, place: &str, ours: &str, paper: &str) {
        let short = |text: &str| text.chars().take(120).collect::<String>();
        self.differences.push(Difference { place: place.to_owned(), ours: short(ours), paper: short(paper) });
    }
}

fn cells(text: &str) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    reader.records().filter_map(Result::ok).map(|row| row.iter().map(str::to_owned).collect()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_compared_by_value() {
        let same = Comparison::of(&json!({"a": 8, "b": [1.0], "more": 1}), &json!({"a": 8.0, "b": [1]}));
        assert_eq!((same.compared, same.rounded, same.differences.len()), (2, 0, 0));
        let near = Comparison::of(&json!(0.1 + 0.2), &json!(0.3));
        assert_eq!((near.rounded, near.differences.len()), (1, 0));
        let other = Comparison::of(&json!({"a": 1, "l": [1, 2]}), &json!({"a": 2, "b": null, "l": [1]}));
        let places: Vec<&str> = other.differences.iter().map(|d| d.place.as_str()).collect();
        assert_eq!(places, ["/a", "/b", "/l"]);
    }

    #[test]
    fn csv_cells_are_numbers_or_names() {
        assert!(Comparison::of_csv("a,b\nx,1.0\n", "a,b\nx,1\n").differences.is_empty());
        assert_eq!(Comparison::of_csv("001\n", "1\n").differences.len(), 1);
        assert_eq!(Comparison::of_csv("a\n1\n2\n", "a\n1\n").differences.len(), 1);
        assert_eq!(Comparison::of_csv("a\n", "a\n1\n").differences.len(), 1);
    }

    #[test]
    fn texts_line_by_line() {
        let text = Comparison::of_text("a\nb\n", "a\nc\nd\n");
        assert_eq!((text.compared, text.differences.len()), (3, 2));
    }
}
