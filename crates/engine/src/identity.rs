//! What an instance is called and what it holds: its log stream and the session credentials of its role, which live as long as it
//! does and are good on its own socket only.

use model::{Credential, InstanceId, Principal, Unit, log::Stream};
use ring::rand::{SecureRandom, SystemRandom};
use std::sync::Arc;

/// `YYYY/MM/DD/[VERSION]32hex`, the day being the one on which the instance started.
pub fn stream(unit: &Unit, id: InstanceId, wall_ms: u64) -> Arc<Stream> {
    let (y, m, d) = civil(wall_ms / 86_400_000);
    Arc::new(Stream {
        tenant: unit.tenant.clone(),
        function: unit.function.clone(),
        group: unit.settings.log.group.clone(),
        name: format!("{y:04}/{m:02}/{d:02}/[{}]{}", unit.version, id.0.simple()).into(),
        version: unit.version.clone(),
        code: unit.package.code().into(),
        instance: id,
        json: unit.settings.log.json,
    })
}

/// Days since 1970-01-01 → year, month, day in the proleptic Gregorian calendar (Howard Hinnant, "chrono-Compatible Low-Level
/// Date Algorithms", civil_from_days).
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + u64::from(month <= 2), month, doy - (153 * mp + 2) / 5 + 1)
}

/// New session credentials for a unit's role; `None` for a unit without one, or when the machine gives no randomness.
pub fn credential(unit: &Unit, id: InstanceId) -> Option<Credential> {
    let role = unit.role.clone()?;
    let random = SystemRandom::new();
    let text = |len: usize, alphabet: &[u8; 64]| -> Option<String> {
        let mut bytes = vec![0; len];
        random.fill(&mut bytes).ok()?;
        Some(bytes.iter().map(|b| char::from(alphabet[usize::from(b & 63)])).collect())
    };
    Some(Credential {
        access_key_id: format!("ASIA{}", text(16, KEY_ID)?).into(),
        secret: text(40, BASE64)?.into(),
        session_token: Some(text(128, BASE64)?.into()),
        principal: Principal::Role { tenant: unit.tenant.clone(), role, instance: id },
    })
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// The thirty-two signs of base32, twice.
const KEY_ID: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

#[cfg(test)]
mod tests {
    use super::civil;

    #[test]
    fn days_become_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(20_781), (2026, 11, 24));
        assert_eq!(civil(19_782), (2024, 2, 29));
        assert_eq!(civil(11_016), (2000, 2, 29));
    }
}
