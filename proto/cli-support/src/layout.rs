//! How the columns of a table share the width of a terminal: no word is broken while there is another way.

/// Columns beside one another, each with its width.
pub(crate) type Part = Vec<(usize, usize)>;

/// What a column needs, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Need {
    /// For every cell on one line.
    pub(crate) natural: usize,
    /// For no word to be broken.
    pub(crate) least: usize,
}

/// What stands between and around columns.
const fn gaps(columns: usize) -> usize {
    (3 * columns).saturating_sub(1)
}

/// The parts of a table of `width` columns: one where the columns fit beside one another, with breaks between words; else
/// several below one another, each with the first column.
pub(crate) fn parts(needs: &[Need], width: usize) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut part: Vec<usize> = Vec::new();
    for column in 0..needs.len() {
        part.push(column);
        // The first column and another one at least.
        if part.len() > 2 && least(needs, &part) > width {
            part.pop();
            parts.push(std::mem::replace(&mut part, vec![0, column]));
        }
    }
    parts.push(part);
    parts.into_iter().map(|part| shared(needs, &part, width)).collect()
}

fn least(needs: &[Need], part: &[usize]) -> usize {
    part.iter().filter_map(|column| needs.get(*column)).map(|need| need.least).sum::<usize>()
        + gaps(part.len())
}

/// Gives what is left to the columns that lack most.
fn shared(needs: &[Need], part: &[usize], width: usize) -> Part {
    let mut columns: Vec<(usize, Need, usize)> =
        part.iter().filter_map(|at| needs.get(*at).map(|need| (*at, *need, need.least))).collect();
    let mut left = width.saturating_sub(least(needs, part));
    while left > 0 {
        let lack = |(_, need, given): &(usize, Need, usize)| need.natural.saturating_sub(*given);
        let Some(most) =
            columns.iter_mut().max_by_key(|column| lack(column)).filter(|column| lack(column) > 0)
        else {
            break;
        };
        most.2 += 1;
        left -= 1;
    }
    columns.into_iter().map(|(at, _, given)| (at, given)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(all: &[(usize, usize)]) -> Vec<Need> {
        all.iter().map(|(natural, least)| Need { natural: *natural, least: *least }).collect()
    }

    #[test]
    fn what_fits_has_its_width_and_what_is_left_goes_where_it_lacks() {
        assert_eq!(parts(&needs(&[(4, 4), (6, 6)]), 80), [[(0, 4), (1, 6)]]);
        assert_eq!(parts(&needs(&[(4, 4), (60, 6), (30, 8)]), 50), [[(0, 4), (1, 30), (2, 8)]]);
    }

    #[test]
    fn what_does_not_fit_stands_below_with_the_first_column() {
        let all = parts(&needs(&[(10, 10), (20, 20), (20, 20), (20, 20), (5, 5)]), 60);
        let columns: Vec<Vec<usize>> =
            all.iter().map(|part| part.iter().map(|(column, _)| *column).collect()).collect();
        assert_eq!(columns, [vec![0, 1, 2], vec![0, 3, 4]]);
        assert_eq!(parts(&needs(&[(90, 90)]), 40), [[(0, 90)]]);
        assert_eq!(parts(&[], 40), [[]]);
    }
}
