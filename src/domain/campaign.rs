//! The life of a campaign: its states, and what may be done in each.

/// Where a campaign stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CampaignStatus {
    /// Being written.
    Draft,
    /// Waits for its time.
    Scheduled,
    /// Freezes its audience, and sends already.
    Launching,
    /// Sends.
    Running,
    /// Stands still until somebody resumes it.
    Paused,
    /// Nobody is left who waits.
    Finished,
    /// Ended before everybody had their turn.
    Cancelled,
}

impl CampaignStatus {
    /// Every state.
    pub const ALL: [CampaignStatus; 7] = [
        CampaignStatus::Draft,
        CampaignStatus::Scheduled,
        CampaignStatus::Launching,
        CampaignStatus::Running,
        CampaignStatus::Paused,
        CampaignStatus::Finished,
        CampaignStatus::Cancelled,
    ];

    /// The word of the tables and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            CampaignStatus::Draft => "draft",
            CampaignStatus::Scheduled => "scheduled",
            CampaignStatus::Launching => "launching",
            CampaignStatus::Running => "running",
            CampaignStatus::Paused => "paused",
            CampaignStatus::Finished => "finished",
            CampaignStatus::Cancelled => "cancelled",
        }
    }

    /// The state with this word.
    pub fn parse(word: &str) -> Option<CampaignStatus> {
        CampaignStatus::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// True while its messages may be claimed.
    pub fn is_sending(self) -> bool {
        matches!(self, CampaignStatus::Launching | CampaignStatus::Running)
    }
}

/// What somebody wants to do with a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start, or wait for the schedule.
    Launch,
    /// Stand still.
    Pause,
    /// Go on.
    Resume,
    /// End it.
    Cancel,
    /// Queue what failed once more.
    RetryFailed,
    /// Change anything.
    Edit,
    /// Change the pace alone.
    ChangeRate,
    /// Remove it.
    Delete,
}

impl Action {
    /// The states in which this may be done. Where a state says that it is done already (launch on
    /// running, pause on paused), it is listed too and nothing happens.
    pub fn allowed_in(self) -> &'static [CampaignStatus] {
        use CampaignStatus as S;
        match self {
            Action::Launch => &[S::Draft, S::Scheduled, S::Launching, S::Running],
            Action::Pause => &[S::Scheduled, S::Launching, S::Running, S::Paused],
            Action::Resume => &[S::Paused, S::Launching, S::Running],
            Action::Cancel => &[S::Scheduled, S::Launching, S::Running, S::Paused, S::Cancelled],
            Action::RetryFailed => &[S::Running, S::Finished],
            Action::Edit => &[S::Draft, S::Scheduled],
            Action::ChangeRate => &[S::Draft, S::Scheduled, S::Launching, S::Running, S::Paused],
            Action::Delete => &[S::Draft],
        }
    }

    /// What it is called in a sentence.
    fn noun(self) -> &'static str {
        match self {
            Action::Launch => "Launching",
            Action::Pause => "Pausing",
            Action::Resume => "Resuming",
            Action::Cancel => "Cancelling",
            Action::RetryFailed => "Retrying what failed",
            Action::Edit => "Editing",
            Action::ChangeRate => "Changing the rate",
            Action::Delete => "Deleting",
        }
    }

    /// Checks the state.
    ///
    /// # Errors
    /// Says in which states it is allowed.
    pub fn check(self, status: CampaignStatus) -> Result<(), WrongState> {
        if self.allowed_in().contains(&status) {
            return Ok(());
        }
        Err(WrongState { action: self, status })
    }
}

/// The campaign is in a state that does not allow the action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub struct WrongState {
    /// What was wanted.
    pub action: Action,
    /// Where the campaign stands.
    pub status: CampaignStatus,
}

impl std::fmt::Display for WrongState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let states: Vec<&str> = self.action.allowed_in().iter().map(|s| s.as_str()).collect();
        let (now, noun) = (self.status.as_str(), self.action.noun());
        write!(f, "The campaign is {now}. {noun} needs it to be {}.", states.join(" or "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_state_names_the_states_that_allow_it() {
        let error = Action::Resume.check(CampaignStatus::Finished).unwrap_err();
        assert_eq!(
            error.to_string(),
            "The campaign is finished. Resuming needs it to be paused or launching or running."
        );
    }

    #[test]
    fn nothing_but_a_clone_leads_out_of_cancelled() {
        for action in [Action::Launch, Action::Pause, Action::Resume, Action::RetryFailed, Action::Edit] {
            assert!(action.check(CampaignStatus::Cancelled).is_err(), "{action:?}");
        }
    }
}
