//! The cap on marketing to one person: so many messages within so many hours, over all campaigns.

/// What is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrequencyCap {
    /// Marketing messages to one person …
    pub messages: usize,
    /// … within this many milliseconds.
    pub window: i64,
}

/// Marketing messages that were handed over to one person: message and time (milliseconds UTC), in order of
/// time. A message that is tried again stands here once, with its last try.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recent(Vec<(i64, i64)>);

impl Recent {
    /// In any order.
    pub fn new(mut entries: Vec<(i64, i64)>) -> Recent {
        entries.sort_by_key(|(_, at)| *at);
        Recent(entries)
    }

    /// Reads what [`Recent::to_json`] wrote; what can't be read is nothing.
    pub fn from_json(text: &str) -> Recent {
        Recent::new(serde_json::from_str(text).unwrap_or_default())
    }

    /// `[[message, time], …]`.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.0).unwrap_or_default()
    }

    /// The same with `message` handed over at `at`; no more than the last `room`.
    pub fn with(&self, message: i64, at: i64, room: usize) -> Recent {
        let mut entries: Vec<(i64, i64)> = self.others(Some(message)).collect();
        entries.push((message, at));
        let Recent(mut entries) = Recent::new(entries);
        entries.drain(..entries.len().saturating_sub(room));
        Recent(entries)
    }

    /// The same with `message` handed over at `at` instead, or not at all.
    pub fn moved(&self, message: i64, at: Option<i64>) -> Recent {
        if self.others(Some(message)).count() == self.0.len() {
            return self.clone();
        }
        match at {
            Some(at) => self.with(message, at, self.0.len()),
            None => Recent(self.others(Some(message)).collect()),
        }
    }

    fn others(&self, message: Option<i64>) -> impl Iterator<Item = (i64, i64)> + '_ {
        self.0.iter().copied().filter(move |(id, _)| Some(*id) != message)
    }
}

impl FrequencyCap {
    /// When the next marketing message may come, if not now: once the oldest of the last so many is as old as
    /// the window. `message`, tried again, does not stand in its own way.
    pub fn until(&self, recent: &Recent, message: Option<i64>, now: i64) -> Option<i64> {
        let within: Vec<i64> =
            recent.others(message).map(|(_, at)| at).filter(|at| at + self.window > now).collect();
        let oldest = within.len().checked_sub(self.messages).and_then(|index| within.get(index))?;
        Some(oldest + self.window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAP: FrequencyCap = FrequencyCap { messages: 2, window: 100 };

    #[test]
    fn the_oldest_of_the_last_so_many_has_to_leave_the_window() {
        for (recent, now, until) in [
            (vec![], 1_000, None),
            (vec![(1, 950)], 1_000, None),
            (vec![(1, 950), (2, 960)], 1_000, Some(1_050)),
            (vec![(2, 960), (1, 950)], 1_049, Some(1_050)),
            (vec![(1, 950), (2, 960)], 1_050, None),
            // The cap was higher before: the last two count, and nobody comes before the older of them leaves.
            (vec![(1, 940), (2, 950), (3, 960)], 1_000, Some(1_050)),
            (vec![(1, 100), (2, 960)], 1_000, None),
        ] {
            let recent = Recent::new(recent);
            assert_eq!(CAP.until(&recent, None, now), until, "{recent:?} at {now}");
        }
    }

    #[test]
    fn a_message_that_is_tried_again_counts_once_and_not_against_itself() {
        let recent = Recent::default().with(1, 900, 2).with(2, 910, 2).with(1, 950, 2);
        assert_eq!(recent, Recent::new(vec![(2, 910), (1, 950)]));
        assert_eq!(CAP.until(&recent, Some(1), 960), None);
        assert_eq!(CAP.until(&recent, Some(3), 960), Some(1_010));
    }

    #[test]
    fn a_try_that_handed_nothing_over_leaves_an_earlier_one_or_nothing() {
        let recent = Recent::new(vec![(2, 910), (1, 950)]);
        assert_eq!(recent.moved(1, None), Recent::new(vec![(2, 910)]));
        assert_eq!(recent.moved(1, Some(900)), Recent::new(vec![(1, 900), (2, 910)]));
        assert_eq!(recent.moved(3, Some(900)), recent);
    }

    #[test]
    fn only_as_many_are_kept_as_are_asked_for_and_they_come_back_as_written() {
        let recent = (1..=9).fold(Recent::default(), |recent, n| recent.with(n, n * 10, 3));
        assert_eq!(recent.to_json(), "[[7,70],[8,80],[9,90]]");
        assert_eq!(Recent::from_json(&recent.to_json()), recent);
        assert_eq!(Recent::from_json("nonsense"), Recent::default());
    }
}
