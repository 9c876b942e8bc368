//! Schedules and time zones of cron jobs.

/// The names of the tz database, one a line, sorted. `scripts/schemas` writes it.
const ZONES: &str = include_str!("../../../schemas/time-zones.txt");

/// Whether a time zone is known. Names are compared with case, as file systems do.
pub(super) fn is_zone(name: &str) -> bool {
    ZONES.lines().any(|zone| zone == name)
}

/// A field of a schedule: its lowest and highest value, and the names of values.
struct Field {
    low: u64,
    high: u64,
    /// Names of the values from `low` on.
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { low: 0, high: 59, names: &[] },
    Field { low: 0, high: 23, names: &[] },
    Field { low: 1, high: 31, names: &[] },
    Field {
        low: 1,
        high: 12,
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    },
    Field { low: 0, high: 6, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] },
];
const DESCRIPTORS: &[&str] =
    &["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];

/// Checks a schedule; what is wrong with it.
pub(super) fn parse(schedule: &str) -> Result<(), String> {
    let mut spec = schedule;
    if let Some(zone) = spec.strip_prefix("TZ=").or_else(|| spec.strip_prefix("CRON_TZ=")) {
        let (zone, rest) =
            zone.split_once(' ').ok_or_else(|| format!("invalid schedule format: {schedule}"))?;
        if !["", "UTC", "Local"].contains(&zone) && !is_zone(zone) {
            return Err(format!("provided bad location {zone}: unknown time zone {zone}"));
        }
        spec = rest.trim();
    }
    if spec.starts_with('@') {
        return descriptor(spec);
    }
    let parts: Vec<&str> = spec.split_whitespace().collect();
    if parts.len() != FIELDS.len() {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", parts.len(), parts.join(" ")));
    }
    for (part, field) in parts.iter().zip(&FIELDS) {
        for range in part.split(',').filter(|range| !range.is_empty()) {
            check_range(range, field)?;
        }
    }
    Ok(())
}

fn descriptor(spec: &str) -> Result<(), String> {
    if let Some(duration) = spec.strip_prefix("@every ") {
        return if is_duration(duration) {
            Ok(())
        } else {
            Err(format!("failed to parse duration {spec}: time: invalid duration \"{duration}\""))
        };
    }
    if DESCRIPTORS.contains(&spec) { Ok(()) } else { Err(format!("unrecognized descriptor: {spec}")) }
}

/// A duration as Go writes it: `1h30m`, `1.5s`, `-2ms`, `0`.
fn is_duration(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    if text == "0" {
        return true;
    }
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
        let (number, after) = rest.split_at(digits);
        let units = ["ns", "us", "µs", "μs", "ms", "s", "m", "h"];
        let Some(unit) = units.iter().find(|unit| {
            after.strip_prefix(**unit).is_some_and(|next| {
                next.is_empty() || next.starts_with(|c: char| c.is_ascii_digit() || c == '.')
            })
        }) else {
            return false;
        };
        if !number.bytes().any(|byte| byte.is_ascii_digit()) || number.matches('.').count() > 1 {
            return false;
        }
        rest = after.get(unit.len()..).unwrap_or_default();
    }
    !text.is_empty()
}

fn number(text: &str) -> Result<u64, String> {
    let value: i64 = text.parse().map_err(|_| {
        format!("failed to parse int from {text}: strconv.Atoi: parsing \"{text}\": invalid syntax")
    })?;
    u64::try_from(value).map_err(|_| format!("negative number ({value}) not allowed: {text}"))
}

fn value(text: &str, field: &Field) -> Result<u64, String> {
    match field.names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
        Some(position) => Ok(field.low + position as u64),
        None => number(text),
    }
}

/// `*`, `5`, `1-5`, each with or without `/STEP`.
fn check_range(range: &str, field: &Field) -> Result<(), String> {
    let mut by_step = range.split('/');
    let bounds = by_step.next().unwrap_or_default();
    let step = by_step.next();
    let is_star = bounds == "*" || bounds == "?" || bounds.starts_with("*-") || bounds.starts_with("?-");
    let (low, mut high) = if is_star {
        (field.low, field.high)
    } else {
        let mut parts = bounds.split('-');
        let low = value(parts.next().unwrap_or_default(), field)?;
        let high = match parts.next() {
            Some(high) => value(high, field)?,
            None => low,
        };
        if parts.next().is_some() {
            return Err(format!("too many hyphens: {range}"));
        }
        (low, high)
    };
    let step = match step {
        None => 1,
        Some(step) => {
            let step = number(step)?;
            if !bounds.contains('-') {
                high = field.high;
            }
            step
        }
    };
    if by_step.next().is_some() {
        return Err(format!("too many slashes: {range}"));
    }
    if low < field.low {
        return Err(format!("beginning of range ({low}) below minimum ({}): {range}", field.low));
    }
    if high > field.high {
        return Err(format!("end of range ({high}) above maximum ({}): {range}", field.high));
    }
    if low > high {
        return Err(format!("beginning of range ({low}) beyond end of range ({high}): {range}"));
    }
    if step == 0 {
        return Err(format!("step of range should be a positive number: {range}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules() {
        for good in [
            "* * * * *",
            "*/5 0-23/2 1,15 jan-DEC ?",
            "@daily",
            "@every 1h30m",
            "@every 1.5s",
            "0 0 * * sun",
            "5/15 * * * *",
            " 0  0 * * *",
            ", * * * *",
        ] {
            assert_eq!(parse(good), Ok(()), "{good}");
        }
        for (bad, problem) in [
            ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("* * * * 7", "end of range (7) above maximum (6): 7"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
            ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
            ("1/2/3 * * * *", "too many slashes: 1/2/3"),
            ("@never", "unrecognized descriptor: @never"),
            ("-1 * * * *", "failed to parse int from : strconv.Atoi: parsing \"\": invalid syntax"),
        ] {
            assert_eq!(parse(bad), Err(problem.to_owned()), "{bad}");
        }
        assert!(parse("@every soon").is_err() && parse("@every ").is_err() && parse("TZ=UTC").is_err());
    }

    #[test]
    fn zones() {
        assert!(is_zone("Europe/Berlin") && is_zone("UTC") && !is_zone("europe/berlin") && !is_zone("X/Y"));
    }
}
