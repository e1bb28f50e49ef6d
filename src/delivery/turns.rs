//! Whose turn it is among lanes that share a limit: whoever got least, counted in parts (start-time fair
//! queueing, Goyal, Vin and Cheng 1996). Transactional lanes come before all others.
//!
//! Each lane has a tag that grows by what it gets, and the lane with the lowest tag is asked first. One that
//! could not use its turn, for a limit of its own or with nothing due, keeps its tag, so the others share what it
//! leaves; but no tag stays behind the one served last, so nobody saves turns up.

use std::collections::{HashMap, HashSet};

use super::lanes::Lane;

/// Who got how much.
#[derive(Debug, Default)]
pub(super) struct Turns {
    tags: HashMap<i64, f64>,
    /// The tag of the lane served last, of transactional and of other lanes.
    served: [f64; 2],
    /// Lanes that used up the time of their last turn: nearly all of their rows are skipped or deferred.
    sweeping: HashSet<i64>,
    count: usize,
}

impl Turns {
    fn tag(&self, lane: &Lane) -> f64 {
        let floor = self.served.get(rank(lane)).copied().unwrap_or_default();
        self.tags.get(&lane.id).copied().unwrap_or_default().max(floor)
    }

    /// Puts the lanes in the order in which they are asked. Of those that sweep, only one is left: they send
    /// little and hold everybody else up.
    pub(super) fn order(&mut self, lanes: Vec<Lane>) -> Vec<Lane> {
        self.count = self.count.wrapping_add(1);
        // Equals take turns in being first.
        let shift = self.count % lanes.len().max(1);
        let mut tagged: Vec<(usize, f64, Lane)> =
            lanes.into_iter().map(|lane| (rank(&lane), self.tag(&lane), lane)).collect();
        tagged.rotate_left(shift);
        tagged.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let mut sweeping: Vec<i64> =
            tagged.iter().map(|(_, _, lane)| lane.id).filter(|id| self.sweeping.contains(id)).collect();
        sweeping.sort_unstable();
        let turn = sweeping.get(self.count % sweeping.len().max(1)).copied();
        tagged
            .into_iter()
            .map(|(_, _, lane)| lane)
            .filter(|lane| Some(lane.id) == turn || !sweeping.contains(&lane.id))
            .collect()
    }

    /// Notes what a lane got in its turn, and whether it used up the time that it had for it.
    pub(super) fn note(&mut self, lane: &Lane, parts: u32, is_sweeping: bool) {
        if is_sweeping {
            self.sweeping.insert(lane.id);
        } else {
            self.sweeping.remove(&lane.id);
        }
        if parts == 0 {
            return;
        }
        let tag = self.tag(lane);
        self.tags.insert(lane.id, tag + f64::from(parts));
        if let Some(served) = self.served.get_mut(rank(lane)) {
            *served = tag;
        }
    }

    /// Notes that a lane could not be worked: it waits for nothing.
    pub(super) fn leave(&mut self, id: i64) {
        self.sweeping.remove(&id);
    }

    /// True while a lane waits for others to have swept.
    pub(super) fn is_sweeping(&self) -> bool {
        !self.sweeping.is_empty()
    }

    /// Forgets lanes that are gone.
    pub(super) fn keep(&mut self, lanes: &[Lane]) {
        let ids: HashSet<i64> = lanes.iter().map(|lane| lane.id).collect();
        self.tags.retain(|id, _| ids.contains(id));
        self.sweeping.retain(|id| ids.contains(id));
    }
}

fn rank(lane: &Lane) -> usize {
    usize::from(!lane.is_transactional)
}
