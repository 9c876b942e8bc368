//! Charts contain their values, in the colours of the palette.

use super::*;
use crate::stats::Sample;

fn dot(label: &str, value: f64) -> Dot {
    Dot {
        label: label.to_owned(),
        value,
        interval: Some((value - 1.0, value + 1.0)),
        ink: Ink::Good,
        note: "3 / 4".to_owned(),
    }
}

fn all() -> Vec<Drawing> {
    let share = Axis { title: "share, %".to_owned(), range: 0.0..100.0, log: false };
    let sample: Sample = (1..500).map(f64::from).collect();
    let curve = Curve { name: "verify".to_owned(), sample };
    let log = Axis::log("ms", curve.sample.values().iter().copied());
    vec![
        dots("Dots (n = 2)", &[("top", Ink::Bad)], &share, &[dot("a<b>&\u{1b}\"c", 40.0), dot("d", 60.0)]),
        dots("None (n = 0)", &[], &share, &[]),
        stacked(
            "Stack (n = 1)",
            &[("good", Ink::Good), ("bad", Ink::Bad)],
            &share,
            &[Stack { label: "x".to_owned(), parts: vec![70.0, 30.0] }],
        ),
        columns("Columns (n = 3)", ("size", "patches"), &[Column { label: "1".to_owned(), count: 3.0 }]),
        columns("None (n = 0)", ("size", "patches"), &[]),
        curves("Curves (n = 499)", &log, &[curve]),
        lines(
            "Lines (n = 2)",
            ("calls", "seconds"),
            &[Line { name: "p90".to_owned(), ink: Ink::Review, points: vec![(2.0, 1.5), (1.0, 1.0)] }],
            Some((2.0, "knee")),
        ),
        lines("None (n = 0)", ("calls", "seconds"), &[], None),
    ]
}

#[test]
fn a_chart_is_one_svg_in_the_inks_of_the_palette() {
    let dark = dark_style(".drawing");
    for Drawing { svg, .. } in all() {
        assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{svg}");
        assert_eq!(svg.matches("<svg").count(), 1);
        for part in svg.split('"').filter(|part| part.starts_with('#')) {
            assert!(dark.contains(&format!("[fill=\"{part}\"]")), "{part} has no dark counterpart");
        }
    }
}

#[test]
fn words_from_outside_stay_words() {
    let svg = all().swap_remove(0).svg;
    assert!(svg.contains("a&lt;b&gt;&amp;\\u{1b}&quot;c") && !svg.contains('\u{1b}'), "{svg}");
    assert!(svg.contains("3 / 4") && svg.contains("Dots (n = 2)"));
}

#[test]
fn a_chart_is_one_page_of_pdf_with_the_same_texts() {
    let holds = |pdf: &[u8], text: &[u8]| pdf.windows(text.len()).any(|window| window == text);
    for Drawing { svg, pdf } in all() {
        assert!(pdf.starts_with(b"%PDF-1.7") && pdf.trim_ascii_end().ends_with(b"%%EOF"));
        assert_eq!(
            pdf.windows(6).filter(|window| *window == b"/Pages").count(),
            2,
            "the tree and what names it"
        );
        assert!(holds(&pdf, b"Helvetica"));
        assert!(!holds(&pdf, b"\x1b"), "what acts");
        let texts = svg.matches("<text").count();
        let shown = pdf.windows(3).filter(|window| *window == b" Tj" || *window == b")Tj").count();
        assert_eq!(shown, texts, "{svg}");
    }
}

#[test]
fn the_same_values_give_the_same_drawing() {
    assert_eq!(all(), all());
}

#[test]
fn a_logarithmic_axis_holds_its_values_in_whole_decades() {
    let axis = Axis::log("s", [0.03, 0.0, 250.0, f64::NAN].into_iter());
    assert_eq!((axis.range.clone(), axis.log), (-2.0..3.0, true));
    assert!((axis.place(100.0) - 2.0).abs() < 1e-12);
    // Values without a logarithm are clamped to the start, too large ones to the end.
    assert!((axis.place(0.0) + 2.0).abs() < 1e-12 && (axis.place(1e9) - 3.0).abs() < 1e-12);
    let none = Axis::log("s", std::iter::empty());
    assert_eq!(none.range, 0.0..1.0);
    assert_eq!(Axis::linear("n", 0.0, [50.0, 100.0].into_iter()).range, 0.0..102.0);
    assert_eq!(Axis::linear("n", 0.0, std::iter::empty()).range, 0.0..1.0);
}
