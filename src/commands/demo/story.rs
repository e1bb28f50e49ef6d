//! Does the demo add up? Both sides are compared: what the engine wrote down, and what the simulator took.

use anyhow::Result;

use crate::simulator::Simulator;
use crate::store::imports;
use crate::store::{Store, StoreError, campaigns, ledger, verify};

/// Everything that does not add up, in words.
pub(super) fn check(
    store: &Store,
    simulator: &Simulator,
    import_id: i64,
    campaign_id: i64,
) -> Result<Vec<String>> {
    let key = store.key().clone();
    let (mut problems, import, counts) = store.read_here(|conn| {
        let mut problems = verify::count_problems(conn)?;
        problems.extend(ledger::verify(conn, &key)?.problems);
        Ok::<_, StoreError>((
            problems,
            imports::find(conn, import_id)?,
            campaigns::counts(conn, campaign_id)?,
        ))
    })?;
    if let Some(tally) = import.map(|import| import.tally) {
        let sum = tally.created + tally.updated + tally.unchanged + tally.duplicates + tally.rejected;
        if sum != tally.rows {
            problems.push(format!("the import has {} rows and accounts for {sum}", tally.rows));
        }
    }
    let handed_over: i64 = counts
        .iter()
        .filter(|count| !matches!(count.status.as_str(), "skipped" | "queued" | "cancelled"))
        .filter(|count| !(count.status == "expired" && count.error_code == 0))
        .map(|count| count.n)
        .sum();
    let taken = simulator.counts();
    if let Some((number, n)) = taken.iter().find(|(_, n)| **n > 1) {
        problems.push(format!(
            "the number ending in {} got it {n} times",
            number.get(number.len() - 2..).unwrap_or("")
        ));
    }
    if i64::try_from(taken.len()).unwrap_or(i64::MAX) != handed_over {
        problems.push(format!(
            "{} people were handed over, the simulator knows {}",
            handed_over,
            taken.len()
        ));
    }
    Ok(problems)
}
