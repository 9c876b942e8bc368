//! Places in a text between characters. As `str::floor_char_boundary` and `ceil_char_boundary`, which came after the oldest
//! version of Rust that builds these programs.

/// The last place between characters that is not behind `at`.
pub(crate) fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The first place between characters that is not before `at`.
pub(crate) fn ceil(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_has_its_neighbours() {
        let text = "aé😀";
        let floors: Vec<usize> = (0..10).map(|at| floor(text, at)).collect();
        let ceils: Vec<usize> = (0..10).map(|at| ceil(text, at)).collect();
        assert_eq!(floors, [0, 1, 1, 3, 3, 3, 3, 7, 7, 7]);
        assert_eq!(ceils, [0, 1, 3, 3, 7, 7, 7, 7, 7, 7]);
    }
}
