//! Chance that repeats: the same seed and the same facts always draw the same number, in whatever
//! order requests arrive.

/// A number from 0 to below 100, made of `seed`, what is being decided, and about whom.
pub(super) fn percent(seed: u64, decision: &str, facts: &[&[u8]]) -> f64 {
    let bits = mixed(seed, decision, facts);
    // 53 bits fill the mantissa evenly.
    (bits >> 11) as f64 / (1u64 << 53) as f64 * 100.0
}

/// Whether what has `share` percent happens.
pub(super) fn happens(share: f64, seed: u64, decision: &str, facts: &[&[u8]]) -> bool {
    share > 0.0 && percent(seed, decision, facts) < share
}

/// One of `choices`.
pub(super) fn one_of<T: Copy>(choices: &[T], seed: u64, decision: &str, facts: &[&[u8]]) -> Option<T> {
    let count = u64::try_from(choices.len()).ok()?;
    let at = mixed(seed, decision, facts).checked_rem(count)?;
    choices.get(usize::try_from(at).ok()?).copied()
}

/// 128 bits that look random, for SIDs.
pub(super) fn identity(seed: u64, number: u64) -> u128 {
    let facts = number.to_be_bytes();
    let high = mixed(seed, "sid high", &[&facts]);
    let low = mixed(seed, "sid low", &[&facts]);
    (u128::from(high) << 64) | u128::from(low)
}

/// FNV-1a over everything, finished as SplitMix64 does so that near facts fall far apart.
fn mixed(seed: u64, decision: &str, facts: &[&[u8]]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let all = std::iter::once(decision.as_bytes()).chain(facts.iter().copied());
    for fact in all {
        // 0xff ends each fact: no UTF-8 text holds it.
        for byte in fact.iter().chain(&[0xff]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_come_out_near_what_was_asked_for() {
        for share in [0.0, 1.0, 10.0, 50.0, 100.0] {
            let hits = (0..20_000_u32)
                .filter(|n| happens(share, 7, "fails", &[b"+14155550101", &n.to_be_bytes()]))
                .count();
            let measured = hits as f64 / 200.0;
            assert!((measured - share).abs() < 1.0, "{share} came out as {measured}");
        }
    }

    #[test]
    fn same_seed_same_fate_and_another_seed_another() {
        let draw = |seed| percent(seed, "fails", &[b"+14155550101", b"1"]);
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert_ne!(identity(1, 1), identity(1, 2));
    }
}
