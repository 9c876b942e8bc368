//! A chart as PDF: lines, areas and texts on one page of its size, in points.
//!
//! Texts are Helvetica, which every reader of PDF has; it is not embedded, so that no font is a part of this program. The
//! same chart gives the same bytes.

use pdf_writer::{Content, Name, Pdf, Rect, Ref, Str};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters_backend::{BackendColor, FontTransform};

/// The font of all texts.
const FONT: Name<'static> = Name(b"F1");

/// A place in pixels, from the upper left corner.
type Place = (i32, i32);

pub(super) struct Page {
    size: (u32, u32),
    content: Content,
}

/// How a text stands at its place.
pub(super) struct TextForm {
    /// In pixels.
    pub(super) size: f64,
    pub(super) colour: BackendColor,
    pub(super) anchor: Pos,
    pub(super) turn: FontTransform,
}

impl Page {
    pub(super) fn new(size: (u32, u32)) -> Self {
        Self { size, content: Content::new() }
    }

    /// A place in points, from the lower left corner.
    fn at(&self, (x, y): Place) -> (f32, f32) {
        (x as f32, self.size.1 as f32 - y as f32)
    }

    fn path(&mut self, places: impl IntoIterator<Item = Place>) {
        for (index, place) in places.into_iter().enumerate() {
            let (x, y) = self.at(place);
            if index == 0 {
                self.content.move_to(x, y)
            } else {
                self.content.line_to(x, y)
            };
        }
    }

    pub(super) fn line(&mut self, places: impl IntoIterator<Item = Place>, colour: BackendColor, width: u32) {
        let [r, g, b] = rgb(colour);
        self.content.set_stroke_rgb(r, g, b).set_line_width(width as f32);
        self.path(places);
        self.content.stroke();
    }

    pub(super) fn area(&mut self, places: impl IntoIterator<Item = Place>, colour: BackendColor) {
        let [r, g, b] = rgb(colour);
        self.content.set_fill_rgb(r, g, b);
        self.path(places);
        self.content.close_path().fill_nonzero();
    }

    pub(super) fn circle(&mut self, centre: Place, radius: u32, colour: BackendColor, is_filled: bool) {
        /// Of a quarter of a circle as a cubic curve.
        const BEND: f32 = 0.5523;
        let ((x, y), r) = (self.at(centre), radius as f32);
        let k = r * BEND;
        self.content
            .move_to(x + r, y)
            .cubic_to(x + r, y + k, x + k, y + r, x, y + r)
            .cubic_to(x - k, y + r, x - r, y + k, x - r, y)
            .cubic_to(x - r, y - k, x - k, y - r, x, y - r)
            .cubic_to(x + k, y - r, x + r, y - k, x + r, y);
        let [red, green, blue] = rgb(colour);
        if is_filled {
            self.content.set_fill_rgb(red, green, blue).fill_nonzero();
        } else {
            self.content.set_stroke_rgb(red, green, blue).stroke();
        }
    }

    /// Draws a text as the SVG has it: the place is that of its anchor, and it turns around it.
    pub(super) fn text(&mut self, text: &str, form: &TextForm, place: Place) {
        let bytes = encoded(text);
        #[expect(clippy::cast_possible_truncation, reason = "a size of some pixels")]
        let size = form.size as f32;
        let width = bytes.iter().map(|byte| f32::from(width(*byte))).sum::<f32>() * size / 1000.0;
        let right = match form.anchor.h_pos {
            HPos::Left => 0.0,
            HPos::Center => -width / 2.0,
            HPos::Right => -width,
        };
        let down = size
            * match form.anchor.v_pos {
                VPos::Top => 0.76,
                VPos::Center => 0.26,
                VPos::Bottom => -0.26,
            };
        let (cos, sin) = match form.turn {
            FontTransform::None => (1.0, 0.0),
            FontTransform::Rotate90 => (0.0, -1.0),
            FontTransform::Rotate180 => (-1.0, 0.0),
            FontTransform::Rotate270 => (0.0, 1.0),
        };
        let (x, y) = self.at(place);
        let [red, green, blue] = rgb(form.colour);
        self.content.set_fill_rgb(red, green, blue).begin_text().set_font(FONT, size);
        self.content.set_text_matrix([
            cos,
            sin,
            -sin,
            cos,
            x + right * cos + down * sin,
            y + right * sin - down * cos,
        ]);
        self.content.show(Str(&bytes)).end_text();
    }

    /// The whole document.
    pub(super) fn finish(self) -> Vec<u8> {
        let [catalogue, pages, page, font, content] = [1, 2, 3, 4, 5].map(Ref::new);
        let mut pdf = Pdf::new();
        pdf.catalog(catalogue).pages(pages);
        pdf.pages(pages).kids([page]).count(1);
        let (width, height) = (self.size.0 as f32, self.size.1 as f32);
        {
            let mut page = pdf.page(page);
            page.media_box(Rect::new(0.0, 0.0, width, height)).parent(pages).contents(content);
            page.resources().fonts().pair(FONT, font);
        }
        pdf.type1_font(font).base_font(Name(b"Helvetica")).encoding_predefined(Name(b"WinAnsiEncoding"));
        pdf.stream(content, &self.content.finish());
        pdf.finish()
    }
}

fn rgb(colour: BackendColor) -> [f32; 3] {
    let (r, g, b) = colour.rgb;
    [r, g, b].map(|part| f32::from(part) / 255.0)
}

/// A text in the encoding of the font; what that lacks is named by its code point.
fn encoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        let byte = match c {
            ' '..='~' | '\u{a0}'..='\u{ff}' => u8::try_from(u32::from(c)).ok(),
            '€' => Some(0x80),
            '…' => Some(0x85),
            '‘' => Some(0x91),
            '’' => Some(0x92),
            '“' => Some(0x93),
            '”' => Some(0x94),
            '•' => Some(0x95),
            '–' => Some(0x96),
            '—' => Some(0x97),
            '−' => Some(b'-'),
            _ => None,
        };
        match byte {
            Some(byte) => bytes.push(byte),
            None => bytes.extend(format!("U+{:04X}", u32::from(c)).bytes()),
        }
    }
    bytes
}

/// Width of a character of Helvetica in thousandths of its size; letters with accents are as wide as most.
fn width(byte: u8) -> u16 {
    const USUAL: u16 = 556;
    let place = usize::from(byte).checked_sub(usize::from(b' '));
    place.and_then(|place| WIDTHS.get(place)).copied().unwrap_or(if byte == 0x85 { 1000 } else { USUAL })
}

/// From the metrics of Helvetica, from the space to the tilde.
#[rustfmt::skip]
const WIDTHS: [u16; 95] = [
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278,
    556, 556, 556, 556, 556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556,
    1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833, 722, 778,
    667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556,
    333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556,
    556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_those_of_their_letters() {
        for (c, wide) in
            [(b' ', 278), (b'0', 556), (b'M', 833), (b'W', 944), (b'i', 222), (b'~', 584), (0x85, 1000)]
        {
            assert_eq!(width(c), wide, "{}", char::from(c));
        }
    }

    #[test]
    fn what_the_font_lacks_is_named() {
        assert_eq!(encoded("a–ä"), b"a\x96\xe4");
        assert_eq!(encoded("漢"), b"U+6F22");
        assert_eq!(encoded("\u{1b}"), b"U+001B");
    }
}
