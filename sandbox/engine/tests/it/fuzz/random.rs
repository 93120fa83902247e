//! Numbers that look random and are the same for the same seed.

/// A generator of numbers (SplitMix64).
#[derive(Debug, Clone, Default)]
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `end`, which is not 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).expect("small");
        usize::try_from(self.next() % end).expect("below a usize")
    }

    /// Returns true once in `times`.
    pub(super) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// Returns one of `choices`, which are not empty.
    pub(super) fn of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// Returns a number of which the small ones and the borders are likely.
    pub(super) fn number(&mut self) -> u64 {
        match self.below(6) {
            0 => self.next(),
            1 => self.next() & 0xffff_ffff,
            2 => *self.of(&[
                0,
                1,
                u64::MAX,
                1 << 53,
                (1 << 53) - 1,
                1 << 63,
                u32::MAX as u64,
                1 << 31,
            ]),
            _ => self.next() % 16,
        }
    }
}
