//! How much one caller may ask: requests a second with one API key, and wrong keys a minute from one address. And
//! how many may ask at once for what takes seconds.
//! A wrong key is no secret worth guessing at (256 bits); the limit spares the work. A password is: see `logins`.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::HeaderName;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::Problem;
use super::logins::Logins;
use crate::clock::Clock;
use crate::config::Server;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Addresses that are remembered before those are forgotten that have been quiet.
const MANY: usize = 10_000;
/// Bits of an IPv6 address that one caller's network has.
const NETWORK: u32 = 64;

pub(super) type Keyed<K> = RateLimiter<K, HashMapStateStore<K>, Clock, NoOpMiddleware<Nanos>>;

/// The limits of one server. Clones share them.
#[derive(Clone)]
pub struct Limits(Arc<Inner>);

struct Inner {
    keys: Option<Keyed<i64>>,
    wrong_keys: Option<Keyed<IpAddr>>,
    logins: Logins,
    trusted_proxies: Vec<IpAddr>,
    clock: Clock,
    looks: Arc<Semaphore>,
}

/// Looks at an audience that go or wait at once. They go one by one and take seconds each: who would come behind
/// these comes back later instead.
pub const MOST_LOOKS: usize = 8;

/// A place among those who look at an audience.
#[derive(Debug)]
pub struct Look {
    _permit: OwnedSemaphorePermit,
}

impl Limits {
    /// The limits that `[server]` asks for.
    pub fn new(server: &Server, clock: &Clock) -> Limits {
        let per_minute = server.wrong_keys_per_minute;
        Limits(Arc::new(Inner {
            keys: keyed(server.api_requests_per_second, server.api_burst, clock),
            wrong_keys: keyed(f64::from(per_minute) / 60.0, per_minute, clock),
            logins: Logins::new(clock),
            trusted_proxies: server.trusted_proxies.iter().map(IpAddr::to_canonical).collect(),
            clock: clock.clone(),
            looks: Arc::new(Semaphore::new(MOST_LOOKS)),
        }))
    }

    /// A place among those who look at an audience.
    ///
    /// # Errors
    /// 429 when [`MOST_LOOKS`] go or wait already.
    pub fn look(&self) -> Result<Look, Problem> {
        let detail = format!("{MOST_LOOKS} looks at an audience go or wait already. Try again in 5 s.");
        let permit = Arc::clone(&self.0.looks).try_acquire_owned();
        permit
            .map(|permit| Look { _permit: permit })
            .map_err(|_| Problem::too_many(detail, 5).with_code("too_many_looks"))
    }

    /// Counts a request with this key.
    ///
    /// # Errors
    /// 429 when there were too many, with the seconds until the next.
    pub fn check_key(&self, api_key_id: i64) -> Result<(), Problem> {
        check(self.0.keys.as_ref(), &api_key_id, &self.0.clock, "This API key is used too often.")
    }

    /// Counts a wrong key against the address that it came from.
    ///
    /// # Errors
    /// 429 when there were too many, with the seconds until the next.
    pub fn note_wrong_key(&self, request: &HttpRequest) -> Result<(), Problem> {
        let Some(limiter) = &self.0.wrong_keys else {
            return Ok(());
        };
        let detail = "Too many wrong API keys came from this address.";
        check(Some(limiter), &self.network(request), &self.0.clock, detail)
    }

    /// What guards the login.
    pub fn logins(&self) -> &Logins {
        &self.0.logins
    }

    /// The network of whoever calls: what counts as one caller.
    pub(super) fn network(&self, request: &HttpRequest) -> IpAddr {
        self.caller(request).map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), network)
    }

    /// Who calls: the peer, or, behind proxies that are trusted, the last address before them.
    pub(super) fn caller(&self, request: &HttpRequest) -> Option<IpAddr> {
        let peer = request.peer_addr()?.ip().to_canonical();
        let is_trusted = |address: &IpAddr| self.0.trusted_proxies.contains(address);
        if !is_trusted(&peer) {
            return Some(peer);
        }
        let headers = request.headers().get_all(FORWARDED_FOR);
        let hops: Vec<&str> = headers.filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(',')).collect();
        // From the right: what stands left of an address that is not trusted, it may have made up.
        let mut caller = peer;
        for hop in hops.into_iter().rev() {
            let Some(address) = address(hop.trim()) else {
                break;
            };
            caller = address;
            if !is_trusted(&address) {
                break;
            }
        }
        Some(caller)
    }
}

/// Counts one more of `key`.
///
/// # Errors
/// 429 when there were too many, with the seconds until the next.
pub(super) fn check<K: std::hash::Hash + Eq + Clone>(
    limiter: Option<&Keyed<K>>,
    key: &K,
    clock: &Clock,
    detail: &str,
) -> Result<(), Problem> {
    let Some(limiter) = limiter else {
        return Ok(());
    };
    if limiter.len() > MANY {
        limiter.retain_recent();
    }
    let Err(denied) = limiter.check_key(key) else {
        return Ok(());
    };
    let wait = denied.wait_time_from(governor::clock::Clock::now(clock));
    let seconds = (wait.as_secs_f64().ceil() as u64).max(1);
    Err(Problem::too_many(format!("{detail} Try again in {seconds} s."), seconds))
}

pub(super) fn keyed<K: std::hash::Hash + Eq + Clone>(
    per_second: f64,
    burst: u32,
    clock: &Clock,
) -> Option<Keyed<K>> {
    if per_second <= 0.0 {
        return None;
    }
    let period = Duration::try_from_secs_f64(1.0 / per_second).ok()?;
    let quota = Quota::with_period(period)?.allow_burst(NonZeroU32::new(burst)?);
    Some(RateLimiter::new(quota, HashMapStateStore::default(), clock.clone()))
}

/// An address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip());
    bare.or_else(with_port).map(|address| address.to_canonical())
}

/// An IPv6 caller has a whole network of addresses to choose from.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << (128 - NETWORK)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn limits() -> Limits {
        let mut server = crate::config::Config::load(None, []).unwrap().config.server;
        server.trusted_proxies = vec!["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()];
        Limits::new(&server, &Clock::system())
    }

    #[test]
    fn forwarded_addresses_are_believed_from_trusted_peers_alone_and_from_the_right() {
        for (peer, forwarded, caller) in [
            ("192.0.2.1:5", vec!["198.51.100.7"], "192.0.2.1"),
            ("10.0.0.1:5", vec![], "10.0.0.1"),
            ("10.0.0.1:5", vec!["198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1:5", vec!["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1:5", vec!["203.0.113.9", "198.51.100.7, 10.0.0.2"], "198.51.100.7"),
            ("10.0.0.1:5", vec!["198.51.100.7:4711"], "198.51.100.7"),
            ("10.0.0.1:5", vec!["[2001:db8::1]:4711"], "2001:db8::1"),
            ("[::ffff:10.0.0.1]:5", vec!["::ffff:198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1:5", vec!["198.51.100.7, nonsense"], "10.0.0.1"),
            ("10.0.0.1:5", vec!["nonsense, 198.51.100.7"], "198.51.100.7"),
        ] {
            let mut request = TestRequest::default().peer_addr(peer.parse().unwrap());
            for value in &forwarded {
                request = request.append_header((FORWARDED_FOR, *value));
            }
            let found = limits().caller(&request.to_http_request()).unwrap();
            assert_eq!(found, caller.parse::<IpAddr>().unwrap(), "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn an_ipv6_network_is_one_caller() {
        let one = network("2001:db8:1:2::1".parse().unwrap());
        assert_eq!(one, network("2001:db8:1:2:ffff::9".parse().unwrap()));
        assert_ne!(one, network("2001:db8:1:3::1".parse().unwrap()));
    }
}
