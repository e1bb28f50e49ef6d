//! Chance from a seed.

use super::probe::scramble;

#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        Dice(scramble(seed))
    }

    /// Uniform in 0…2^64.
    pub(super) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        scramble(self.0)
    }

    /// Uniform in 0…`end`, without it.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.draw() % end
    }
}
