//! When to try again: exponential backoff with full jitter, after
//! <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>.

/// How patient a retry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Seconds to minutes: the provider is busy.
    Soon,
    /// A quarter of an hour to hours: the phone is off, a queue is full.
    Later,
}

/// Milliseconds to wait before attempt `attempt + 1`. `random` is uniform in 0…1. A `Retry-After` of the
/// provider, in seconds, is never undercut.
pub fn backoff(pace: Pace, attempt: u32, random: f64, retry_after: Option<u64>) -> i64 {
    let (base, cap) = match pace {
        Pace::Soon => (1_000.0, 300_000.0),
        Pace::Later => (900_000.0, 14_400_000.0),
    };
    let ceiling = f64::min(cap, base * f64::powi(2.0, attempt.saturating_sub(1).min(20) as i32));
    // Full jitter spreads a crowd; the floor keeps a single message from hammering.
    let jittered = (ceiling * random.clamp(0.0, 1.0)).max(base / 4.0);
    let asked = retry_after.unwrap_or(0).min(86_400) as i64 * 1_000;
    (jittered as i64).max(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_cap_and_honour_retry_after() {
        assert_eq!(backoff(Pace::Soon, 1, 1.0, None), 1_000);
        assert_eq!(backoff(Pace::Soon, 4, 1.0, None), 8_000);
        assert_eq!(backoff(Pace::Soon, 60, 1.0, None), 300_000);
        assert_eq!(backoff(Pace::Soon, 1, 0.0, None), 250);
        assert_eq!(backoff(Pace::Soon, 1, 0.5, Some(30)), 30_000);
        assert_eq!(backoff(Pace::Later, 1, 1.0, None), 900_000);
        assert_eq!(backoff(Pace::Later, 9, 1.0, None), 14_400_000);
    }
}
