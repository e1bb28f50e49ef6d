//! Flow: from a queued row to Twilio, and what came of it.
//!
//! Permit, then claim, then gate, then send at once: `limiter` gives permits, `claim` takes rows through the
//! gate in one write, `outbox` knows whose request has begun, `concurrency` how many may be under way and
//! whether Twilio is well, `turns` whose turn it is, `dispatch` joins them and `hand_over` makes the request, `rescue` looks after what a crash
//! left behind, `reconcile` after answers that were lost, `poll` after receipts that never came.

mod claim;
mod concurrency;
mod dispatch;
mod hand_over;
mod lanes;
mod limiter;
mod outbox;
mod patience;
mod poll;
mod purse;
mod reconcile;
mod rescue;
mod turns;

pub use dispatch::{Dispatcher, Tick};
pub use lanes::{SenderLimits, Settings};
pub use limiter::Limiter;
pub use outbox::Outbox;
pub use poll::{Polled, Poller};
pub use reconcile::{Looked, Reconciler, UncertainRules};
pub use rescue::{rescue_orphans, rescue_pending};
