//! How much one chunk of a long work takes on. Ids are looked at and rows are written; both are bounded, because
//! a stretch in which nobody is meant costs little for each id, and the next one may mean everybody.

/// Of the first chunk; later ones follow the time that it took.
const FIRST: i64 = 2_000;
const SMALLEST: i64 = 200;
const LARGEST: i64 = 50_000;
/// What a chunk should take, in milliseconds: well under the writer's 20.
const CHUNK_MILLIS: f64 = 12.0;

/// The bounds of the next chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stride {
    /// Ids looked at.
    pub(super) ids: i64,
    /// Rows written.
    pub(super) rows: i64,
}

impl Default for Stride {
    fn default() -> Stride {
        Stride { ids: FIRST, rows: FIRST }
    }
}

/// What came of a chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Step {
    /// Nothing is left.
    pub(super) is_done: bool,
    /// Rows written.
    pub(super) rows: usize,
    /// How long it took, in milliseconds.
    pub(super) millis: f64,
}

impl Step {
    /// The last one.
    pub(super) const DONE: Step = Step { is_done: true, rows: 0, millis: 0.0 };
}

impl Stride {
    /// The bounds after a chunk with these. How many rows are right is learned only from one that was full of them.
    pub(super) fn after(self, step: &Step) -> Stride {
        let factor = (CHUNK_MILLIS / step.millis.max(0.5)).clamp(0.25, 4.0);
        let scaled = |n: i64| ((n as f64 * factor) as i64).clamp(SMALLEST, LARGEST);
        let is_full = step.rows as i64 >= self.rows;
        Stride { ids: scaled(self.ids), rows: if is_full { scaled(self.rows) } else { self.rows } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(rows: usize, millis: f64) -> Step {
        Step { is_done: false, rows, millis }
    }

    #[test]
    fn a_chunk_grows_no_further_than_its_time_and_rows_only_with_rows() {
        let mut stride = Stride::default();
        for _ in 0..5 {
            stride = stride.after(&step(0, 0.4));
        }
        assert_eq!(stride, Stride { ids: LARGEST, rows: FIRST }, "nobody was meant so far");
        assert_eq!(stride.after(&step(2_000, 6.0)).rows, 4_000);
        assert_eq!(stride.after(&step(2_000, 48.0)).rows, 500);
        let mut slow = stride;
        for _ in 0..9 {
            slow = slow.after(&step(50_000, 500.0));
        }
        assert_eq!(slow, Stride { ids: SMALLEST, rows: SMALLEST });
    }
}
