//! What is told before a launch: the same as what the launch does, and no later than it says.

mod ahead;
mod guards;
mod random;
mod same_as_launch;
mod triggered;

use event_stream_engine::campaign::{self, Explanation, Question, Waterfall};

use crate::support::Engine;

impl Engine {
    /// What a launch of this campaign would do, with as many examples as anybody wants.
    async fn look(&self, id: i64) -> Waterfall {
        campaign::look_at_audience(&self.store, &self.house(), id, 10_000).await.unwrap()
    }

    /// What the gate says to one person about a campaign.
    fn explain(&self, user_id: i64, campaign_id: i64) -> Explanation {
        let (house, now) = (self.house(), self.clock.now());
        let question = Question::Campaign(campaign_id);
        self.store.read_here(|conn| campaign::explain(conn, &house, user_id, question, now)).unwrap()
    }
}
