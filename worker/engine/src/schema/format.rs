//! The text formats that the API server checks while it decodes.

/// Whether `text` is a time as Go's `time.RFC3339` reads it (fractions of a second included).
pub(super) fn is_rfc3339(text: &str) -> bool {
    let Some((date, time)) = text.split_once('T') else { return false };
    is_date(date) && is_time(time)
}

/// Whether `text` is a time as the server reads it where it keeps microseconds.
pub(super) fn is_micro_time(text: &str) -> bool {
    let fraction = text.split_once('.').map_or("", |(_, rest)| rest);
    is_rfc3339(text) && fraction.bytes().take_while(u8::is_ascii_digit).count() == 6
}

fn is_date(text: &str) -> bool {
    let mut parts = text.split('-');
    let (Some(year), Some(month), Some(day), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let (Some(year), Some(month), Some(day)) = (digits(year, 4), digits(month, 2), digits(day, 2)) else {
        return false;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 31,
    };
    (1..=12).contains(&month) && (1..=days).contains(&day)
}

fn is_time(text: &str) -> bool {
    let Some(zone) = text.find(['Z', '+', '-']) else { return false };
    let (clock, zone) = text.split_at(zone);
    let (clock, fraction) = match clock.split_once(['.', ',']) {
        Some((clock, fraction)) => (clock, Some(fraction)),
        None => (clock, None),
    };
    let fraction =
        fraction.is_none_or(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
    let mut parts = clock.split(':');
    let (Some(hour), Some(minute), Some(second), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let hour = digits(hour, 2).or_else(|| digits(hour, 1));
    fraction
        && below(hour, 24)
        && below(digits(minute, 2), 60)
        && below(digits(second, 2), 60)
        && is_zone(zone)
}

fn is_zone(text: &str) -> bool {
    if text == "Z" {
        return true;
    }
    let Some((hours, minutes)) = text.strip_prefix(['+', '-']).and_then(|offset| offset.split_once(':'))
    else {
        return false;
    };
    below(digits(hours, 2), 25) && below(digits(minutes, 2), 61)
}

fn below(number: Option<u32>, end: u32) -> bool {
    number.is_some_and(|number| number < end)
}

/// A number of exactly `count` ASCII digits.
fn digits(text: &str, count: usize) -> Option<u32> {
    (text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

/// Whether `text` is padded standard base64; line ends are skipped, as Go does.
pub(super) fn is_base64(text: &str) -> bool {
    let (mut length, mut padding) = (0_usize, 0_usize);
    for byte in text.bytes() {
        match byte {
            b'\r' | b'\n' => continue,
            b'=' => padding += 1,
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' if padding == 0 => {}
            _ => return false,
        }
        length += 1;
    }
    length % 4 == 0 && padding <= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for good in [
            "2024-02-29T23:59:59Z",
            "2024-01-01T00:00:00.123456Z",
            "2024-01-01T00:00:00+02:00",
            "2024-01-01T5:00:00Z",
            "0001-01-01T00:00:00Z",
        ] {
            assert!(is_rfc3339(good), "{good}");
        }
        for bad in [
            "",
            "2024-01-01",
            "2023-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-01-01 00:00:00Z",
            "2024-01-01T00:00:00",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00+0200",
            "2024-01-01T00:00Z",
            "+024-01-01T00:00:00Z",
            "２024-01-01T00:00:00Z",
        ] {
            assert!(!is_rfc3339(bad), "{bad}");
        }
    }

    #[test]
    fn base64() {
        for good in ["", "YQ==", "YWI=", "YWJj", "YW\nJj\r\n", "+/+/"] {
            assert!(is_base64(good), "{good}");
        }
        for bad in ["YQ", "YQ=", "YQ===", "Y=Q=", "====", "a b=", "-_-_", "é==="] {
            assert!(!is_base64(bad), "{bad}");
        }
    }
}
