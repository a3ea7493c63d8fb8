//! How one value of a policy is compared with one value of a request (IAM User Guide, "Condition operators"). A value that isn't
//! of the operator's kind compares with nothing: the outcome is unknown.

use crate::{
    context::Context,
    pattern::{Pattern, Sign, Truth, glob},
};
use std::{cmp::Ordering, net::IpAddr};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    Equals,
    EqualsFold,
    Like,
    Arn,
    Bool,
    Numeric(Order),
    Date(Order),
    Ip,
    Null,
}

/// How the request's value lies to the policy's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Test {
    /// By an operator's name without its prefix and `IfExists`; whether it is the opposite.
    pub fn of(name: &str) -> Option<(Test, bool)> {
        Some(match name {
            // Base64 of bytes has one form.
            "StringEquals" | "BinaryEquals" => (Test::Equals, false),
            "StringNotEquals" => (Test::Equals, true),
            "StringEqualsIgnoreCase" => (Test::EqualsFold, false),
            "StringNotEqualsIgnoreCase" => (Test::EqualsFold, true),
            "StringLike" => (Test::Like, false),
            "StringNotLike" => (Test::Like, true),
            "ArnEquals" | "ArnLike" => (Test::Arn, false),
            "ArnNotEquals" | "ArnNotLike" => (Test::Arn, true),
            "Bool" => (Test::Bool, false),
            "IpAddress" => (Test::Ip, false),
            "NotIpAddress" => (Test::Ip, true),
            "Null" => (Test::Null, false),
            other => match other.strip_prefix("Numeric") {
                Some(order) => Order::of(order).map(|(order, not)| (Test::Numeric(order), not))?,
                None => Order::of(other.strip_prefix("Date")?).map(|(order, not)| (Test::Date(order), not))?,
            },
        })
    }

    pub fn on(self, pattern: &Pattern, value: &str, context: &Context<'_>) -> Truth {
        if self == Test::Like {
            return pattern.matches(value, context);
        }
        if self == Test::Arn {
            return pattern.signs(context).map(|signs| arn_like(&signs, value)).into();
        }
        let Some(wanted) = pattern.literal(context) else { return Truth::Unknown };
        match self {
            Test::Equals => (*wanted == *value).into(),
            Test::EqualsFold => (wanted.to_lowercase() == value.to_lowercase()).into(),
            Test::Bool => truth(&wanted).zip(truth(value)).map(|(a, b)| a == b).into(),
            Test::Numeric(order) => {
                let pair = number(value).zip(number(&wanted));
                pair.and_then(|(a, b)| a.partial_cmp(&b)).map(|found| order.is(found)).into()
            }
            Test::Date(order) => moment(value).zip(moment(&wanted)).map(|(a, b)| order.is(a.cmp(&b))).into(),
            Test::Ip => value.parse().ok().and_then(|ip| within(ip, &wanted)).into(),
            Test::Like | Test::Arn | Test::Null => Truth::Unknown,
        }
    }
}

impl Order {
    fn of(name: &str) -> Option<(Order, bool)> {
        Some(match name {
            "Equals" => (Order::Equal, false),
            "NotEquals" => (Order::Equal, true),
            "LessThan" => (Order::Less, false),
            "LessThanEquals" => (Order::LessOrEqual, false),
            "GreaterThan" => (Order::Greater, false),
            "GreaterThanEquals" => (Order::GreaterOrEqual, false),
            _ => return None,
        })
    }
    fn is(self, found: Ordering) -> bool {
        match self {
            Order::Equal => found == Ordering::Equal,
            Order::Less => found == Ordering::Less,
            Order::LessOrEqual => found != Ordering::Greater,
            Order::Greater => found == Ordering::Greater,
            Order::GreaterOrEqual => found != Ordering::Less,
        }
    }
}

fn truth(text: &str) -> Option<bool> {
    match text {
        t if t.eq_ignore_ascii_case("true") => Some(true),
        t if t.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|n: &f64| n.is_finite())
}

/// Nanoseconds since the epoch, of any of the forms of the W3C's note on ISO 8601, or of seconds since the epoch.
fn moment(text: &str) -> Option<i128> {
    const NANOS: i128 = 1_000_000_000;
    if text.len() != 4 && !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse::<i64>().ok().map(|s| i128::from(s) * NANOS);
    }
    let whole = match text.len() {
        4 => format!("{text}-01-01T00:00:00Z"),
        7 => format!("{text}-01T00:00:00Z"),
        10 => format!("{text}T00:00:00Z"),
        _ => text.to_owned(),
    };
    whole.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_nanosecond)
}

/// Is the address in a range such as `203.0.113.0/24` or `2001:db8::/32`, or the one address? `None`: it is no range.
fn within(ip: IpAddr, range: &str) -> Option<bool> {
    let (base, bits) = match range.split_once('/') {
        Some((base, bits)) => (base.parse::<IpAddr>().ok()?, Some(bits.parse::<u32>().ok()?)),
        None => (range.parse().ok()?, None),
    };
    let all: u32 = if base.is_ipv4() { 32 } else { 128 };
    let host = all.checked_sub(bits.unwrap_or(all))?;
    Some(match (base, ip.to_canonical()) {
        (IpAddr::V4(base), IpAddr::V4(ip)) => (u32::from(base) ^ u32::from(ip)).checked_shr(host).unwrap_or(0) == 0,
        (IpAddr::V6(base), IpAddr::V6(ip)) => (u128::from(base) ^ u128::from(ip)).checked_shr(host).unwrap_or(0) == 0,
        _ => false,
    })
}

/// Each of an ARN's six parts fits by itself: a star doesn't reach over a colon.
fn arn_like(pattern: &[Sign], value: &str) -> bool {
    let colon = |sign: &Sign| *sign == Sign::Byte(b':');
    let (mut p, mut v) = (pattern.splitn(6, colon), value.splitn(6, ':'));
    loop {
        match (p.next(), v.next()) {
            (None, None) => return true,
            (Some(p), Some(v)) if glob(p, v.as_bytes(), false) => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_every_form() {
        let day = moment("2026-01-02").unwrap();
        for same in ["2026-01-02T00:00:00Z", "2026-01-02T01:00:00+01:00", "2026-01-02T00:00Z", "1767312000"] {
            assert_eq!(moment(same), Some(day), "{same}");
        }
        assert!(moment("2026").unwrap() < day && moment("2026-02").unwrap() > day);
        for not in ["", "soon", "2026-13", "99999999999999999999", "2026-01-02T00:00:00"] {
            assert_eq!(moment(not), None, "{not}");
        }
    }

    #[test]
    fn addresses_lie_in_ranges() {
        let is = |ip: &str, range: &str| within(ip.parse().unwrap(), range);
        assert_eq!(is("203.0.113.9", "203.0.113.0/24"), Some(true));
        assert_eq!(is("203.0.114.9", "203.0.113.0/24"), Some(false));
        assert_eq!(is("203.0.113.9", "203.0.113.9"), Some(true));
        assert_eq!(is("203.0.113.9", "0.0.0.0/0"), Some(true));
        assert_eq!(is("::ffff:203.0.113.9", "203.0.113.0/24"), Some(true));
        assert_eq!(is("2001:db8::1", "2001:db8::/32"), Some(true));
        assert_eq!(is("2001:db9::1", "2001:db8::/32"), Some(false));
        assert_eq!(is("203.0.113.9", "::/0"), Some(false));
        for not in ["203.0.113.0/33", "203.0.113/24", "::/129", "x", "1.2.3.4/"] {
            assert_eq!(is("203.0.113.9", not), None, "{not}");
        }
    }
}
