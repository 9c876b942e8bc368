//! The colours of charts in the light and in the dark theme.

use std::fmt::Write as _;

use plotters::style::RGBColor;

/// The role of a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    Text,
    /// Secondary text.
    Faint,
    Grid,
    /// Success, and the first series.
    Good,
    Bad,
    /// Needs review.
    Review,
    /// Processing errors.
    Broken,
    /// Not applicable, not run.
    Idle,
    /// A further series.
    Teal,
    /// A further series.
    Pink,
}

/// Each colour in the light and in the dark theme; distinguishable with red-green colour blindness.
const PALETTE: [(Ink, [u8; 3], [u8; 3]); 10] = [
    (Ink::Text, [0x1B, 0x1F, 0x24], [0xE6, 0xED, 0xF3]),
    (Ink::Faint, [0x57, 0x60, 0x6A], [0x9D, 0xA7, 0xB3]),
    (Ink::Grid, [0xDD, 0xE1, 0xE6], [0x30, 0x36, 0x3D]),
    (Ink::Good, [0x0B, 0x6B, 0xCB], [0x6C, 0xB6, 0xFF]),
    (Ink::Bad, [0xC2, 0x41, 0x0C], [0xFF, 0x9B, 0x6A]),
    (Ink::Review, [0xA1, 0x6A, 0x08], [0xE3, 0xB3, 0x41]),
    (Ink::Broken, [0x7E, 0x22, 0xCE], [0xD2, 0xA8, 0xFF]),
    (Ink::Idle, [0xA8, 0xB0, 0xB9], [0x5A, 0x63, 0x6E]),
    (Ink::Teal, [0x0F, 0x76, 0x6E], [0x56, 0xD4, 0xC8]),
    (Ink::Pink, [0xBE, 0x18, 0x5D], [0xFF, 0x8F, 0xC0]),
];

impl Ink {
    /// Colours of series without a meaning.
    const SERIES: [Self; 7] =
        [Self::Good, Self::Bad, Self::Teal, Self::Broken, Self::Review, Self::Pink, Self::Faint];

    /// The colour of a series by its index; they repeat after seven.
    pub(crate) fn series(place: usize) -> Self {
        Self::SERIES.get(place % Self::SERIES.len()).copied().unwrap_or(Self::Good)
    }

    pub(super) fn colour(self) -> RGBColor {
        let [r, g, b] =
            PALETTE.iter().find(|(ink, _, _)| *ink == self).map_or([0; 3], |(_, light, _)| *light);
        RGBColor(r, g, b)
    }
}

/// A style sheet that replaces the light colours of every chart below `scope` by the dark ones.
pub(crate) fn dark_style(scope: &str) -> String {
    let mut rules = String::new();
    let hex = |[r, g, b]: [u8; 3]| format!("#{r:02X}{g:02X}{b:02X}");
    for (_, light, dark) in PALETTE {
        let (light, dark) = (hex(light), hex(dark));
        let _ = write!(
            rules,
            "{scope} [fill=\"{light}\"]{{fill:{dark}}}{scope} [stroke=\"{light}\"]{{stroke:{dark}}}"
        );
    }
    rules
}
