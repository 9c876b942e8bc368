//! Progress of long work: a bar on a terminal, a line every five seconds elsewhere, nothing in the first two seconds.
//!
//! *Owns* the bar that is being drawn, so that logs and talk can step aside for it ([`aside`]).

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::escape::visible;

/// Work shorter than this shows nothing.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two lines where no bar can be drawn.
const LINE_EVERY: Duration = Duration::from_secs(5);

static DRAWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

fn drawn() -> MutexGuard<'static, Option<ProgressBar>> {
    // The bar is whole after every statement: a panic elsewhere cannot leave it half changed.
    DRAWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does `work`, which writes to the terminal, with the bar out of the way.
pub fn aside<R>(work: impl FnOnce() -> R) -> R {
    let bar = drawn().clone();
    match bar {
        Some(bar) => bar.suspend(work),
        None => work(),
    }
}

/// Where the work stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// How many units are done, those of earlier sittings included.
    pub done: u64,
    /// What else to show, e.g. how many were refused.
    pub counts: Vec<(&'static str, u64)>,
    /// What no number can say; may be empty.
    pub note: String,
}

/// The progress of one piece of work. Call [`Progress::update`] often: it decides itself when to show something.
#[derive(Debug)]
pub struct Progress {
    meter: Mutex<Meter>,
    bar: Option<ProgressBar>,
    silent: bool,
}

impl Progress {
    /// Begins. `unit` is what is counted, e.g. `records`; `total` when it is known; `done` what earlier sittings did.
    pub fn start(unit: &'static str, total: Option<u64>, done: u64) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
            let template = if total.is_some() { "{bar:24} {percent:>3}% {msg}" } else { "{spinner} {msg}" };
            // The template is fixed and legal; the default style stands in for one that is not.
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("━╸─"));
            }
            bar
        });
        Self { meter: Mutex::new(Meter::new(unit, total, done, Instant::now())), bar, silent: false }
    }

    /// Shows nothing, ever.
    pub fn silent() -> Self {
        Self { meter: Mutex::new(Meter::new("", None, 0, Instant::now())), bar: None, silent: true }
    }

    /// Takes note of where the work stands and shows it when it is time.
    pub fn update(&self, standing: &Standing) {
        self.update_at(standing, Instant::now(), ProgressDrawTarget::stderr);
    }

    /// As [`Progress::update`]; `target` is where a bar that is due for the first time is drawn.
    fn update_at(&self, standing: &Standing, now: Instant, target: impl FnOnce() -> ProgressDrawTarget) {
        if self.silent {
            return;
        }
        let mut meter = self.meter.lock().unwrap_or_else(PoisonError::into_inner);
        match &self.bar {
            None => {
                if let Some(line) = meter.line_if_due(standing, now) {
                    let _ = writeln!(io::stderr().lock(), "{}", visible(&line));
                }
            }
            Some(bar) => {
                if now.duration_since(meter.started) < PATIENCE {
                    return;
                }
                if !meter.shown {
                    meter.shown = true;
                    bar.set_draw_target(target());
                    *drawn() = Some(bar.clone());
                }
                bar.set_position(standing.done);
                bar.set_message(visible(&meter.line(standing, now)).into_owned());
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            *drawn() = None;
        }
    }
}

/// What progress knows; `now` comes as an argument.
#[derive(Debug)]
struct Meter {
    unit: &'static str,
    total: Option<u64>,
    before: u64,
    started: Instant,
    last_line: Option<Instant>,
    shown: bool,
}

impl Meter {
    fn new(unit: &'static str, total: Option<u64>, before: u64, now: Instant) -> Self {
        Self { unit, total, before, started: now, last_line: None, shown: false }
    }

    /// The line to print, if one is due.
    fn line_if_due(&mut self, standing: &Standing, now: Instant) -> Option<String> {
        let due = match self.last_line {
            None => now.duration_since(self.started) >= PATIENCE,
            Some(last) => now.duration_since(last) >= LINE_EVERY,
        };
        due.then(|| {
            self.last_line = Some(now);
            self.line(standing, now)
        })
    }

    fn line(&self, standing: &Standing, now: Instant) -> String {
        let seconds = now.duration_since(self.started).as_secs_f64();
        let here = standing.done.saturating_sub(self.before);
        let rate = if seconds > 0.0 { here as f64 / seconds } else { 0.0 };
        let mut line = match self.total {
            Some(total) => format!("{}/{total} {}", standing.done, self.unit),
            None => format!("{} {}", standing.done, self.unit),
        };
        let _ = write!(line, ", {}/s", rounded(rate));
        for (name, count) in &standing.counts {
            let _ = write!(line, ", {count} {name}");
        }
        if !standing.note.is_empty() {
            let _ = write!(line, ", {}", standing.note);
        }
        if let Some(total) = self.total
            && rate > 0.0
        {
            let left = total.saturating_sub(standing.done) as f64 / rate;
            let _ = write!(line, ", {} left", duration(left));
        }
        line
    }
}

fn rounded(rate: f64) -> String {
    if rate < 10.0 { format!("{rate:.1}") } else { format!("{rate:.0}") }
}

/// A time for people: `42 s`, `3 min 05 s`, `2 h 10 min`.
pub fn duration(seconds: f64) -> String {
    // A float becomes the nearest integer; beyond the range (or not a number) it stays at the edge.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturating is what is wanted"
    )]
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use indicatif::TermLike;

    use super::*;

    fn standing(done: u64) -> Standing {
        Standing { done, counts: vec![("accepted", done / 2), ("workers", 2)], note: String::new() }
    }

    #[test]
    fn short_work_is_silent_and_lines_come_every_five_seconds() {
        let start = Instant::now();
        let mut meter = Meter::new("records", Some(1000), 0, start);
        let due: Vec<u64> = (0..15_000)
            .step_by(100)
            .filter(|ms| meter.line_if_due(&standing(1), start + Duration::from_millis(*ms)).is_some())
            .collect();
        assert_eq!(due, [2000, 7000, 12_000]);
    }

    #[test]
    fn the_line_says_how_much_how_fast_and_how_long() {
        let start = Instant::now();
        let meter = Meter::new("records", Some(1000), 100, start);
        assert_eq!(
            meter.line(&standing(200), start + Duration::from_secs(10)),
            "200/1000 records, 10/s, 100 accepted, 2 workers, 1 min 20 s left"
        );
        let noted = Standing { note: "0.43 USD".to_owned(), ..standing(200) };
        let line = meter.line(&noted, start + Duration::from_secs(10));
        assert!(line.ends_with("2 workers, 0.43 USD, 1 min 20 s left"), "{line}");
        let endless = Meter::new("records", None, 0, start);
        assert_eq!(
            endless.line(&standing(4), start + Duration::from_secs(4)),
            "4 records, 1.0/s, 2 accepted, 2 workers"
        );
        assert!(!meter.line(&standing(100), start).contains("left"));
    }

    #[test]
    fn times_are_for_people() {
        assert_eq!(duration(41.6), "42 s");
        assert_eq!(duration(185.0), "3 min 05 s");
        assert_eq!(duration(7801.0), "2 h 10 min");
    }

    /// What happens on a terminal, in order.
    #[derive(Debug, Clone, Default)]
    struct Screen(Arc<Mutex<Vec<String>>>);

    impl Screen {
        fn note(&self, what: &str) {
            self.0.lock().unwrap().push(what.to_owned());
        }

        /// What happened just before and just after the note `what`.
        fn around(&self, what: &str) -> (Option<String>, Option<String>) {
            let seen = self.0.lock().unwrap();
            let at = seen.iter().position(|entry| entry == what).unwrap();
            (at.checked_sub(1).map(|before| seen[before].clone()), seen.get(at + 1).cloned())
        }
    }

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            80
        }

        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn write_line(&self, _: &str) -> io::Result<()> {
            self.note("drawn");
            Ok(())
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            if !text.trim().is_empty() {
                self.note("drawn");
            }
            Ok(())
        }

        fn clear_line(&self) -> io::Result<()> {
            self.note("cleared");
            Ok(())
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn talk_steps_aside_only_while_a_bar_is_drawn() {
        let (screen, start) = (Screen::default(), Instant::now());
        let target = || ProgressDrawTarget::term_like(Box::new(screen.clone()));
        let bar = ProgressBar::with_draw_target(Some(10), ProgressDrawTarget::hidden());
        let meter = Mutex::new(Meter::new("records", Some(10), 0, start));
        let progress = Progress { meter, bar: Some(bar), silent: false };

        progress.update_at(&standing(1), start + PATIENCE / 2, target);
        aside(|| screen.note("before the bar"));
        assert_eq!(
            screen.around("before the bar"),
            (None, None),
            "work shorter than two seconds draws no bar"
        );

        progress.update_at(&standing(2), start + PATIENCE, target);
        assert_eq!(aside(|| 7), 7);
        aside(|| screen.note("beside the bar"));
        let (before, after) = screen.around("beside the bar");
        assert_eq!((before.as_deref(), after.as_deref()), (Some("cleared"), Some("drawn")));

        drop(progress);
        aside(|| screen.note("after the bar"));
        assert_eq!(screen.around("after the bar").1, None);
        assert!(drawn().is_none());
    }

    #[test]
    fn silent_progress_shows_nothing() {
        let progress = Progress::silent();
        progress.update_at(&standing(1), Instant::now() + PATIENCE + LINE_EVERY, ProgressDrawTarget::hidden);
        assert_eq!(progress.meter.lock().unwrap().last_line, None);
    }
}
