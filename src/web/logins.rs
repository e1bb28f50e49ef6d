//! What guards a password against guessing: how often one network may try, how often one account may be tried from it,
//! and how often from everywhere. The last is loose enough that a stranger from one place locks nobody out, and tight
//! enough that twelve characters are never guessed. And how many passwords are compared at once: each takes a core.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::Problem;
use super::limits::{Keyed, check, keyed};
use crate::clock::Clock;

/// Tries of one network, a minute and at once: an office behind one address.
const OF_NETWORK: (f64, u32) = (10.0, 20);
/// Tries of one account from one network.
const OF_ACCOUNT: (f64, u32) = (2.0, 5);
/// Tries of one account from everywhere.
const OF_ACCOUNT_ANYWHERE: (f64, u32) = (10.0, 60);
/// Second factors of one account: three codes of a million fit at any moment.
const OF_CODES: (f64, u32) = (1.0, 5);
/// Failed logins that are written down: a flood of them must not become one of rows.
const NOTED: (f64, u32) = (60.0, 300);

/// Passwords compared at once.
const AT_ONCE: usize = 2;
/// Who waits for one of these places. More are told to come back.
const MOST_WAITING: usize = 32;

/// The guard. It lives in the limits of the server, which clones share.
pub struct Logins {
    networks: Option<Keyed<IpAddr>>,
    accounts: Option<Keyed<(String, IpAddr)>>,
    anywhere: Option<Keyed<String>>,
    codes: Option<Keyed<i64>>,
    proofs: Option<Keyed<i64>>,
    noted: Option<Keyed<()>>,
    places: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    clock: Clock,
}

impl std::fmt::Debug for Logins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Logins(…)")
    }
}

/// A place among those whose password is compared.
#[derive(Debug)]
pub struct Comparing {
    _place: OwnedSemaphorePermit,
}

impl Logins {
    pub(super) fn new(clock: &Clock) -> Logins {
        fn limiter<K: std::hash::Hash + Eq + Clone>(
            (per_minute, burst): (f64, u32),
            clock: &Clock,
        ) -> Option<Keyed<K>> {
            keyed(per_minute / 60.0, burst, clock)
        }
        Logins {
            networks: limiter(OF_NETWORK, clock),
            accounts: limiter(OF_ACCOUNT, clock),
            anywhere: limiter(OF_ACCOUNT_ANYWHERE, clock),
            codes: limiter(OF_CODES, clock),
            proofs: limiter(OF_ACCOUNT, clock),
            noted: limiter(NOTED, clock),
            places: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Arc::new(Semaphore::new(MOST_WAITING)),
            clock: clock.clone(),
        }
    }

    /// Counts a try to log in as `account`, which may be nobody's address, from `network`.
    ///
    /// # Errors
    /// 429 when there were too many, with the seconds until the next; the same for an account that there is not.
    pub fn check_password(&self, account: &str, network: IpAddr) -> Result<(), Problem> {
        let account: String = account.trim().to_lowercase().chars().take(254).collect();
        let detail = "Too many tries to log in.";
        check(self.networks.as_ref(), &network, &self.clock, detail)?;
        check(self.accounts.as_ref(), &(account.clone(), network), &self.clock, detail)?;
        check(self.anywhere.as_ref(), &account, &self.clock, detail)
    }

    /// Counts a try of a second factor.
    ///
    /// # Errors
    /// 429 when there were too many.
    pub fn check_code(&self, operator_id: i64) -> Result<(), Problem> {
        check(self.codes.as_ref(), &operator_id, &self.clock, "Too many codes were tried.")
    }

    /// Counts a try of the own password by somebody who is logged in.
    ///
    /// # Errors
    /// 429 when there were too many.
    pub fn check_proof(&self, operator_id: i64) -> Result<(), Problem> {
        check(self.proofs.as_ref(), &operator_id, &self.clock, "Your password was tried too often.")
    }

    /// Counts a try of what has no account: a setup link.
    ///
    /// # Errors
    /// 429 when there were too many.
    pub fn check_network(&self, network: IpAddr) -> Result<(), Problem> {
        check(self.networks.as_ref(), &network, &self.clock, "Too many tries from this address.")
    }

    /// Whether one more failed login is written down.
    pub fn may_note(&self) -> bool {
        check(self.noted.as_ref(), &(), &self.clock, "").is_ok()
    }

    /// A place among those whose password is compared.
    ///
    /// # Errors
    /// 429 when too many wait already.
    pub async fn comparing(&self) -> Result<Comparing, Problem> {
        let busy = || Problem::too_many("Too many log in at once. Try again in 2 s.", 2);
        let _waits = Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| busy())?;
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| busy())?;
        Ok(Comparing { _place: place })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock() -> Clock {
        Clock::manual("2026-11-23T17:00:00Z".parse().unwrap())
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_account_is_tried_five_times_from_one_place_and_then_twice_a_minute() {
        let clock = clock();
        let logins = Logins::new(&clock);
        let here = address("192.0.2.1");
        for _ in 0..5 {
            logins.check_password("Ana@example.com", here).unwrap();
        }
        let refused = logins.check_password(" ana@EXAMPLE.com", here).unwrap_err();
        assert_eq!(refused.status().as_u16(), 429);
        assert!(refused.to_string().contains("Try again in 30 s."), "{refused}");
        logins.check_password("ana@example.com", address("192.0.2.2")).expect("she is somewhere else");
        logins.check_password("bob@example.com", here).expect("another account");
        clock.advance(30_000);
        logins.check_password("ana@example.com", here).unwrap();
        assert!(logins.check_password("ana@example.com", here).is_err());
    }

    #[test]
    fn one_place_can_not_try_everybody() {
        let clock = clock();
        let logins = Logins::new(&clock);
        let tried = (0..30).filter(|n| logins.check_password(&n.to_string(), address("192.0.2.1")).is_ok());
        assert_eq!(tried.count(), 20);
        let seventy = (0..70).map(|n| address(&format!("198.51.100.{n}")));
        let taken = seventy.filter(|from| logins.check_password("ana@example.com", *from).is_ok());
        assert_eq!(taken.count(), 60, "not even from everywhere");
    }

    #[tokio::test]
    async fn two_are_compared_at_once_and_thirty_two_wait() {
        let logins = Arc::new(Logins::new(&clock()));
        let first = logins.comparing().await.unwrap();
        let _second = logins.comparing().await.unwrap();
        let waiting: Vec<_> = (0..MOST_WAITING)
            .map(|_| {
                let logins = Arc::clone(&logins);
                tokio::spawn(async move { logins.comparing().await.map(drop) })
            })
            .collect();
        tokio::task::yield_now().await;
        assert!(logins.comparing().await.is_err());
        drop(first);
        let outcomes = futures_util::future::join_all(waiting).await;
        assert!(outcomes.into_iter().all(|outcome| matches!(outcome, Ok(Ok(())))));
    }
}
