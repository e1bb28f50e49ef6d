//! Chance that repeats: one seed, one drill. What other processes make of the time is theirs.

/// A stream of numbers (SplitMix64), good enough to choose people and moments.
#[derive(Clone, Debug)]
pub(super) struct Dice {
    state: u64,
}

impl Dice {
    /// A stream of its own for each purpose, so that one more throw here changes nothing there.
    pub(super) fn new(seed: u64, purpose: &str) -> Dice {
        let state = purpose.bytes().fold(seed ^ 0x9e37_79b9_7f4a_7c15, |state, byte| {
            (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Dice { state }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// 0 to below 1.
    pub(super) fn share(&mut self) -> f64 {
        // 53 bits fill the mantissa evenly.
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True in so many of a hundred throws.
    pub(super) fn percent(&mut self, percent: f64) -> bool {
        self.share() * 100.0 < percent
    }

    /// From `low` to below `high`.
    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + self.share() * (high - low)
    }

    /// One of so many, from 0; 0 if there are none.
    pub(super) fn below(&mut self, count: usize) -> usize {
        (self.share() * count as f64) as usize
    }

    /// Another order.
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last + 1);
            items.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_each_purpose_has_a_stream_of_its_own() {
        let throws = |seed, purpose: &str| {
            let mut dice = Dice::new(seed, purpose);
            (0..50).map(|_| dice.below(1_000)).collect::<Vec<_>>()
        };
        assert_eq!(throws(7, "kills"), throws(7, "kills"));
        assert_ne!(throws(7, "kills"), throws(8, "kills"));
        assert_ne!(throws(7, "kills"), throws(7, "people"));
    }

    #[test]
    fn throws_fill_their_range_and_shuffling_loses_nobody() {
        let mut dice = Dice::new(1, "test");
        let throws: Vec<usize> = (0..2_000).map(|_| dice.below(6)).collect();
        for side in 0..6 {
            let n = throws.iter().filter(|throw| **throw == side).count();
            assert!((230..440).contains(&n), "{side} came {n} times");
        }
        let mut people: Vec<usize> = (0..100).collect();
        dice.shuffle(&mut people);
        assert!(!people.is_sorted());
        people.sort_unstable();
        assert!(people.into_iter().eq(0..100));
    }
}
