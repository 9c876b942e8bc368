//! How the provider states its limits in headers, and the wait of a refusal: real ones differ.

use std::str::FromStr;

/// An unknown style.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given} is not a style; known are {known}")]
pub struct UnknownStyle {
    given: String,
    known: String,
}

/// How the headers of a reply state the limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LimitStyle {
    /// `x-ratelimit-limit-requests: 480`.
    #[default]
    OpenAi,
    /// No such headers.
    Absent,
    /// Limits of 0.
    Zero,
    /// Limits of -1.
    MinusOne,
    /// Numbers with a fraction.
    Float,
    /// Limits of an organisation, ten times as high, and those of its project.
    Project,
    /// `anthropic-ratelimit-requests-limit: 480`, and when they are reset as a date.
    Anthropic,
}

/// How a refusal states its wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WaitStyle {
    /// `retry-after` in whole seconds, and where time runs faster in milliseconds as well.
    #[default]
    Seconds,
    /// `retry-after` in seconds with a fraction.
    Float,
    /// `retry-after-ms`.
    Millis,
    /// `retry-after` as a date of HTTP.
    Date,
    /// Not at all, in the body neither.
    Absent,
}

/// The names of the styles, for arguments.
trait Named: Copy + PartialEq + 'static {
    const ALL: &'static [(&'static str, Self)];

    fn parse(text: &str) -> Result<Self, UnknownStyle> {
        let found = Self::ALL.iter().find(|(name, _)| *name == text).map(|(_, style)| *style);
        found.ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.iter().map(|(name, _)| *name).collect();
            UnknownStyle { given: text.to_owned(), known: known.join(", ") }
        })
    }
}

impl Named for LimitStyle {
    const ALL: &'static [(&'static str, Self)] = &[
        ("openai", Self::OpenAi),
        ("absent", Self::Absent),
        ("zero", Self::Zero),
        ("minus-one", Self::MinusOne),
        ("float", Self::Float),
        ("project", Self::Project),
        ("anthropic", Self::Anthropic),
    ];
}

impl Named for WaitStyle {
    const ALL: &'static [(&'static str, Self)] = &[
        ("seconds", Self::Seconds),
        ("float", Self::Float),
        ("ms", Self::Millis),
        ("date", Self::Date),
        ("absent", Self::Absent),
    ];
}

impl FromStr for LimitStyle {
    type Err = UnknownStyle;

    fn from_str(text: &str) -> Result<Self, UnknownStyle> {
        <Self as Named>::parse(text)
    }
}

impl FromStr for WaitStyle {
    type Err = UnknownStyle;

    fn from_str(text: &str) -> Result<Self, UnknownStyle> {
        <Self as Named>::parse(text)
    }
}

/// Both styles.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeaderStyle {
    /// How limits are stated.
    pub limits: LimitStyle,
    /// How waits are stated.
    pub waits: WaitStyle,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_style_has_its_name() {
        for (name, style) in LimitStyle::ALL {
            assert_eq!(name.parse(), Ok(*style));
        }
        for (name, style) in WaitStyle::ALL {
            assert_eq!(name.parse(), Ok(*style));
        }
        let unknown = "none".parse::<WaitStyle>().unwrap_err().to_string();
        assert_eq!(unknown, "none is not a style; known are seconds, float, ms, date, absent");
    }
}
