//! Amounts as people write and read them: durations, sizes, points in time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `500ms`, `30s`, `10m`, `2h`, `1d`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let number: f64 = number.parse().map_err(|_| format!("{text:?} is no duration; write 30s, 10m, 2h or 1d"))?;
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        "" => return Err(format!("{text:?} lacks its unit; write {text}s, {text}m, {text}h or {text}d")),
        _ => return Err(format!("{unit:?} is no unit of time; ms, s, m, h and d are")),
    };
    Duration::try_from_secs_f64(number * seconds).map_err(|_| format!("{text:?} is out of range"))
}

/// A point in the past, in milliseconds since the Unix epoch: a duration before now, or an RFC 3339 time.
pub fn since(text: &str) -> Result<u64, String> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return u64::try_from(time.as_millisecond()).map_err(|_| format!("{text:?} lies before 1970"));
    }
    let back = duration(text).map_err(|error| {
        if text.contains('-') { format!("{text:?} is neither a duration (10m) nor a time (2026-01-31T12:00:00Z)") } else { error }
    })?;
    Ok(now_ms().saturating_sub(u64::try_from(back.as_millis()).unwrap_or(u64::MAX)))
}

/// A whole number of seconds: `30`, `30s`, `5m`.
pub fn seconds(text: &str) -> Result<u32, String> {
    if let Ok(n) = text.parse() {
        return Ok(n);
    }
    let d = duration(text)?;
    if d.subsec_nanos() != 0 {
        return Err(format!("{text:?} is not a whole number of seconds"));
    }
    u32::try_from(d.as_secs()).map_err(|_| format!("{text:?} is out of range"))
}

/// A whole number of MiB: `512`, `512MB`, `512MiB`, `1GB`, `1GiB`. As on Lambda, MB and MiB are the same.
pub fn mebibytes(text: &str) -> Result<u32, String> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let number: u32 = number.parse().map_err(|_| format!("{text:?} is no size; write 512 or 512MB"))?;
    match unit.trim().to_ascii_lowercase().as_str() {
        "" | "m" | "mb" | "mib" => Ok(number),
        "g" | "gb" | "gib" => number.checked_mul(1024).ok_or_else(|| format!("{text:?} is out of range")),
        _ => Err(format!("{unit:?} is no unit of memory; MB and GB are")),
    }
}

pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

/// `1.4 MiB`.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{n} B")
    } else if value < 10.0 {
        format!("{value:.1} {}", UNITS[unit])
    } else {
        format!("{value:.0} {}", UNITS[unit])
    }
}

/// `820 µs`, `3.4 ms`, `12 s`, `3 min`, `5 h`, `2 d`.
pub fn span(d: Duration) -> String {
    let s = d.as_secs_f64();
    let tenths = |n: f64, unit: &str| format!("{} {unit}", (n * 10.0).round() / 10.0);
    match s {
        s if s < 0.001 => format!("{:.0} µs", s * 1e6),
        s if s < 0.1 => tenths(s * 1e3, "ms"),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 120.0 => tenths(s, "s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3_600.0),
        s => format!("{:.0} d", s / 86_400.0),
    }
}

/// How long before now.
pub fn ago(ms: u64) -> String {
    format!("{} ago", span(Duration::from_millis(now_ms().saturating_sub(ms))))
}

/// `2026-11-24T09:30:00.123Z`.
pub fn time(ms: u64) -> String {
    let at = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.map_or_else(|| ms.to_string(), |at| format!("{at:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_bad_ones_say_so() {
        for (text, ms) in [("500ms", 500), ("30s", 30_000), ("1.5m", 90_000), ("2h", 7_200_000), ("1d", 86_400_000)] {
            assert_eq!(duration(text).map(|d| d.as_millis()), Ok(ms), "{text}");
        }
        for (text, word) in [
            ("10", "unit"),
            ("10 m", "unit"),
            ("x", "no duration"),
            ("5weeks", "unit"),
            ("-3s", "no duration"),
            ("1e999s", "unit"),
            ("", "no duration"),
        ] {
            assert!(duration(text).is_err_and(|e| e.contains(word)), "{text}: {:?}", duration(text));
        }
    }

    #[test]
    fn since_takes_a_duration_or_a_time() {
        let ten = since("10m").unwrap();
        assert!((599_000..=601_000).contains(&(now_ms() - ten)));
        assert_eq!(since("2026-01-31T12:00:00Z"), Ok(1_769_860_800_000));
        assert!(since("2026-99-99").is_err_and(|e| e.contains("neither")));
    }

    #[test]
    fn amounts_read_back() {
        assert_eq!([seconds("30"), seconds("30s"), seconds("5m")], [Ok(30), Ok(30), Ok(300)]);
        assert!(seconds("1500ms").is_err());
        assert_eq!(
            [mebibytes("512"), mebibytes("512MB"), mebibytes("1GiB"), mebibytes("2 g")],
            [Ok(512), Ok(512), Ok(1024), Ok(2048)]
        );
        assert!(mebibytes("12parsecs").is_err());
        assert_eq!([bytes(12), bytes(1536), bytes(45 << 20)], ["12 B", "1.5 KiB", "45 MiB"]);
        assert_eq!(
            [820, 50_000, 3_400_000, 7_000_000].map(|us| span(Duration::from_micros(us))),
            ["820 µs", "50 ms", "3.4 s", "7 s"]
        );
        assert_eq!(time(1_769_860_800_123), "2026-01-31T12:00:00.123Z");
    }
}
