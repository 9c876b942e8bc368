//! A chart in both of its forms: what is drawn is drawn into an SVG and a PDF at once.

use std::io;

use plotters::prelude::SVGBackend;
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind,
};

use super::pdf::{Page, TextForm};

/// A chart, drawn.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Drawing {
    pub(crate) svg: String,
    pub(crate) pdf: Vec<u8>,
}

/// The two forms, as one that plotters draws into.
pub(super) struct Canvas<'a> {
    svg: SVGBackend<'a>,
    pdf: &'a mut Page,
}

impl<'a> Canvas<'a> {
    pub(super) fn new(svg: &'a mut String, pdf: &'a mut Page, size: (u32, u32)) -> Self {
        Self { svg: SVGBackend::with_string(svg, size), pdf }
    }
}

type Drawn = Result<(), DrawingErrorKind<io::Error>>;

/// Whether anything of this colour is seen.
fn is_seen(colour: BackendColor) -> bool {
    colour.alpha > 0.0
}

impl DrawingBackend for Canvas<'_> {
    type ErrorType = io::Error;

    fn get_size(&self) -> (u32, u32) {
        self.svg.get_size()
    }

    fn ensure_prepared(&mut self) -> Drawn {
        self.svg.ensure_prepared()
    }

    fn present(&mut self) -> Drawn {
        self.svg.present()
    }

    fn draw_pixel(&mut self, point: BackendCoord, color: BackendColor) -> Drawn {
        if is_seen(color) {
            let (x, y) = point;
            self.pdf.area([(x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1)], color);
        }
        self.svg.draw_pixel(point, color)
    }

    fn draw_line<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S) -> Drawn {
        if is_seen(style.color()) {
            self.pdf.line([from, to], style.color(), style.stroke_width());
        }
        self.svg.draw_line(from, to, style)
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        from: BackendCoord,
        to: BackendCoord,
        style: &S,
        fill: bool,
    ) -> Drawn {
        if is_seen(style.color()) {
            let corners = [from, (to.0, from.1), to, (from.0, to.1)];
            if fill {
                self.pdf.area(corners, style.color());
            } else {
                self.pdf.line(corners.into_iter().chain([from]), style.color(), style.stroke_width());
            }
        }
        self.svg.draw_rect(from, to, style, fill)
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Drawn {
        let path: Vec<BackendCoord> = path.into_iter().collect();
        if is_seen(style.color()) {
            self.pdf.line(path.iter().copied(), style.color(), style.stroke_width());
        }
        self.svg.draw_path(path, style)
    }

    fn draw_circle<S: BackendStyle>(
        &mut self,
        center: BackendCoord,
        radius: u32,
        style: &S,
        fill: bool,
    ) -> Drawn {
        if is_seen(style.color()) {
            self.pdf.circle(center, radius, style.color(), fill);
        }
        self.svg.draw_circle(center, radius, style, fill)
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        vert: I,
        style: &S,
    ) -> Drawn {
        let vert: Vec<BackendCoord> = vert.into_iter().collect();
        if is_seen(style.color()) {
            self.pdf.area(vert.iter().copied(), style.color());
        }
        self.svg.fill_polygon(vert, style)
    }

    fn draw_text<S: BackendTextStyle>(&mut self, text: &str, style: &S, pos: BackendCoord) -> Drawn {
        /// The height of the line, by which plotters measures, over the size of its font.
        const LINE: f64 = 1.24;
        if is_seen(style.color()) {
            let form = TextForm {
                size: style.size() / LINE,
                colour: style.color(),
                anchor: style.anchor(),
                turn: style.transform(),
            };
            self.pdf.text(text, &form, pos);
        }
        self.svg.draw_text(text, style, pos)
    }
}
