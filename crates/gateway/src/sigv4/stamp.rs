//! The basic ISO 8601 form of a second, `20260102T030405Z`, which SigV4 uses.

/// Milliseconds since the Unix epoch of a stamp; `None` when it isn't one.
pub fn parse(stamp: &str) -> Option<u64> {
    let b = stamp.as_bytes();
    if b.len() != 16 || b[8] != b'T' || b[15] != b'Z' {
        return None;
    }
    let number = |range: std::ops::Range<usize>| {
        b[range].iter().try_fold(0u64, |n, d| d.is_ascii_digit().then(|| n * 10 + u64::from(d - b'0')))
    };
    let (year, month, day) = (number(0..4)?, number(4..6)?, number(6..8)?);
    let (hour, minute, second) = (number(9..11)?, number(11..13)?, number(13..15)?);
    let fits = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !fits || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = days_of(year, month, day);
    if civil(days) != (year, month, day) {
        return None; // the 31st of a month of thirty
    }
    Some((days * 86_400 + hour * 3600 + minute * 60 + second) * 1000)
}

/// The stamp of a moment.
pub fn format(ms: u64) -> String {
    let seconds = ms / 1000;
    let (year, month, day) = civil(seconds / 86_400);
    let s = seconds % 86_400;
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", s / 3600, s / 60 % 60, s % 60)
}

/// Days since 1970-01-01 of a Gregorian date: years run from March, so that a leap day comes last.
fn days_of(year: u64, month: u64, day: u64) -> u64 {
    let y = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    365 * y + y / 4 - y / 100 + y / 400 + (153 * month + 2) / 5 + day - 1 - 719_468
}

fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_go_there_and_back() {
        assert_eq!(parse("19700101T000000Z"), Some(0));
        assert_eq!(parse("20150830T123600Z"), Some(1_440_938_160_000));
        assert_eq!(format(1_440_938_160_000), "20150830T123600Z");
        for day in 0..40_000u64 {
            let stamp = format(day * 86_400_000);
            assert_eq!(parse(&stamp), Some(day * 86_400_000), "{stamp}");
        }
        for wrong in [
            "",
            "20150230T000000Z",
            "20151301T000000Z",
            "20150830T240000Z",
            "2015083-T123600Z",
            "20150830T123600z",
            "20150830 123600Z",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
