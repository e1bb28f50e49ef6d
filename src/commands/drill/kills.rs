//! The kills: SIGKILL at random moments, some of them during a start, and people who write while nobody
//! listens.

use std::time::Duration;

use anyhow::Result;

use super::compare::LIST_LATE;
use super::crowd::Crowd;
use super::dice::Dice;
use super::stage::Stage;

/// Every so many kills people write STOP and START to the dead server.
const WORDS_EVERY: u32 = 2;
/// Every so many kills the next one comes during the start.
const EARLY_EVERY: u32 = 6;

/// How long the server lives between two kills.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rhythm {
    /// How often it is killed.
    pub(super) kills: u32,
    /// Seconds from a start to the next kill, on average.
    pub(super) life: f64,
    /// How many people write STOP to a dead server at a time.
    pub(super) words: usize,
}

/// Kills and starts until all kills are done; the last start is ready when this returns. It comes when nothing
/// goes wrong any more and no list is late: what a late list hid from it, the server would look for again only
/// minutes later.
pub(super) async fn run(stage: &Stage, rhythm: Rhythm) -> Result<()> {
    let mut dice = Dice::new(stage.seed, "kills");
    let mut crowd = Crowd::new(stage, "words to the dead", (1, 2));
    for number in 1..=rhythm.kills {
        let is_early = number % EARLY_EVERY == 0;
        if is_early {
            // The start before this one is not waited for.
            stage.pause(dice.between(0.02, 0.2)).await;
        } else {
            stage.ready().await?;
            stage.pause(rhythm.life * dice.between(0.3, 1.7)).await;
        }
        stage.kill()?;
        stage.set_elapsed(f64::from(number) / f64::from(rhythm.kills));
        if number % WORDS_EVERY == 1 || rhythm.kills < 4 {
            for _ in 0..rhythm.words {
                crowd.stop(stage).await?;
            }
            crowd.start(stage).await?;
        }
        stage.pause(dice.between(0.0, 0.4)).await;
        if number == rhythm.kills {
            stage.end();
            stage.until_calm().await;
            tokio::time::sleep(Duration::from_millis(LIST_LATE.unsigned_abs())).await;
        }
        stage.spawn()?;
    }
    stage.ready().await
}
