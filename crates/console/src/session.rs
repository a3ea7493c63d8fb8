//! Who may look: links that work once, and the sessions that they open. Both live in memory and end with the process.

use model::Mono;
use ring::rand::{SecureRandom, SystemRandom};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

const INVITATION: Duration = Duration::from_secs(300);
const SESSION: Duration = Duration::from_secs(12 * 3600);
/// Of each kind; the oldest goes first.
const MAX: usize = 64;

/// Names with the time at which each ends.
type Names = HashMap<String, Mono>;

#[derive(Default)]
pub struct Sessions(Mutex<(Names, Names)>);

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, (Names, Names)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new token for one login.
    pub fn invite(&self, now: Mono) -> Option<String> {
        let token = random()?;
        remember(&mut self.lock().0, token.clone(), now, INVITATION);
        Some(token)
    }

    /// Use a token up, for the name of a session.
    pub fn redeem(&self, token: &str, now: Mono) -> Option<String> {
        let mut names = self.lock();
        let until = names.0.remove(token)?;
        if until < now {
            return None;
        }
        let session = random()?;
        remember(&mut names.1, session.clone(), now, SESSION);
        Some(session)
    }

    pub fn knows(&self, session: &str, now: Mono) -> bool {
        self.lock().1.get(session).is_some_and(|until| *until >= now)
    }
}

fn remember(names: &mut Names, name: String, now: Mono, last: Duration) {
    names.retain(|_, until| *until >= now);
    if names.len() >= MAX
        && let Some(oldest) = names.iter().min_by_key(|n| *n.1).map(|n| n.0.clone())
    {
        names.remove(&oldest);
    }
    names.insert(name, now + last);
}

/// 256 random bits in hexadecimal: far too many to guess, so comparing them needs no special care.
fn random() -> Option<String> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_works_once_and_not_for_ever_and_a_session_ends() {
        let (sessions, t0) = (Sessions::default(), Mono(1));
        let token = sessions.invite(t0).unwrap();
        let session = sessions.redeem(&token, t0).unwrap();
        assert!(sessions.knows(&session, t0) && !sessions.knows(&token, t0));
        assert_eq!(sessions.redeem(&token, t0), None);
        let late = sessions.invite(t0).unwrap();
        assert_eq!(sessions.redeem(&late, t0 + INVITATION + Duration::from_secs(1)), None);
        assert!(!sessions.knows(&session, t0 + SESSION + Duration::from_secs(1)));
        assert_eq!(sessions.redeem("", t0), None);
    }

    #[test]
    fn links_that_nobody_uses_do_not_pile_up() {
        let sessions = Sessions::default();
        for i in 0..1000 {
            sessions.invite(Mono(i)).unwrap();
        }
        assert!(sessions.lock().0.len() <= MAX);
    }
}
