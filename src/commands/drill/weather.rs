//! What goes wrong at Twilio, in turns: every fault that the engine has to recover from, alone and
//! together.

use anyhow::Result;

use super::cast::refusals;
use super::compare::LIST_LATE;
use super::dice::Dice;
use super::stage::Stage;
use crate::simulator::{ErrorFault, Faults};

/// One kind of weather.
#[derive(Debug)]
struct Weather {
    name: &'static str,
    faults: Faults,
}

/// Every kind, with its faults but for the refusals, which always hold.
fn kinds() -> Vec<Weather> {
    let late = LIST_LATE.unsigned_abs();
    let none = Faults::default;
    let table = [
        ("calm", none()),
        ("busy: 429 and slow", Faults { rate_429_percent: 4.0, latency_ms: 250, ..none() }),
        (
            "500 before and after acceptance",
            Faults { error_500_before_percent: 4.0, error_500_after_accept_percent: 4.0, ..none() },
        ),
        (
            "connections lost before and after acceptance",
            Faults { drop_connection_percent: 4.0, drop_after_accept_percent: 4.0, ..none() },
        ),
        (
            "no answer before and after acceptance",
            Faults { timeout_before_accept_percent: 2.0, timeout_after_accept_percent: 2.0, ..none() },
        ),
        ("callbacks shuffled, doubled, late and missing", callbacks(3.0)),
        (
            "the list late, answers lost",
            Faults { list_late_ms: late, error_500_after_accept_percent: 3.0, ..none() },
        ),
        (
            "the list out of order, answers lost",
            Faults {
                read_500_percent: 70.0,
                read_429_percent: 70.0,
                drop_after_accept_percent: 3.0,
                error_500_before_percent: 2.0,
                ..none()
            },
        ),
        ("the credentials refused once", Faults { errors: vec![refused_once()], ..none() }),
        ("everything at once", everything(late)),
    ];
    table.map(|(name, faults)| Weather { name, faults }).into()
}

fn callbacks(scale: f64) -> Faults {
    Faults {
        callbacks_shuffled: true,
        callbacks_doubled_percent: 10.0 * scale,
        callbacks_missing_percent: scale,
        callbacks_late_ms: 600,
        inbound_doubled_percent: 15.0 * scale,
        ..Faults::default()
    }
}

/// Twilio refuses the credentials: the account pauses until somebody resumes.
fn refused_once() -> ErrorFault {
    ErrorFault { code: 20003, percent: 100.0, to: None, count: Some(1) }
}

fn everything(late: u64) -> Faults {
    Faults {
        rate_429_percent: 1.0,
        error_500_before_percent: 1.0,
        error_500_after_accept_percent: 1.0,
        drop_connection_percent: 1.0,
        drop_after_accept_percent: 1.0,
        timeout_before_accept_percent: 0.5,
        timeout_after_accept_percent: 0.5,
        latency_ms: 60,
        read_500_percent: 10.0,
        read_429_percent: 10.0,
        list_late_ms: late,
        ..callbacks(1.0)
    }
}

/// Names of all faults that some weather brings, as the simulator counts them.
pub(super) fn fault_names() -> Vec<String> {
    let mut names = Vec::new();
    for kind in kinds() {
        let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(&kind.faults) else { continue };
        let set = fields
            .into_iter()
            .filter(|(_, value)| value.as_f64().is_some_and(|n| n > 0.0) || value.as_bool() == Some(true));
        names.extend(set.map(|(name, _)| name));
        names.extend(kind.faults.errors.iter().map(|error| format!("error_{}", error.code)));
    }
    // A late list is seen by whom it leaves without an answer; nothing strikes that could be counted.
    names.retain(|name| name != "list_late_ms");
    names.sort_unstable();
    names.dedup();
    names
}

/// Lets the kinds follow one another in ever new order, each for about so many seconds, until the drill is
/// over; then only the refusals stay.
pub(super) async fn change(stage: &Stage, seconds: f64) -> Result<()> {
    let mut dice = Dice::new(stage.seed, "weather");
    let refusals = refusals(&stage.people);
    let under = |faults: &Faults| {
        let mut faults = faults.clone();
        faults.errors.extend(refusals.iter().cloned());
        faults
    };
    while !stage.is_over() {
        let mut turn = kinds();
        dice.shuffle(&mut turn);
        for weather in turn {
            if stage.is_over() {
                break;
            }
            stage.control.set_faults(&under(&weather.faults)).await?;
            *stage.log().weather.entry(weather.name).or_default() += 1;
            let began = stage.now();
            stage.pause(seconds * dice.between(0.6, 1.4)).await;
            if weather.faults.list_late_ms > 0 {
                stage.log().late_lists.push((began, stage.now()));
            }
        }
    }
    stage.control.set_faults(&under(&Faults::default())).await?;
    stage.calm();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recoverable_fault_of_the_simulator_is_in_some_weather() {
        let brought = fault_names();
        let all = serde_json::to_value(Faults::default()).unwrap();
        let missing: Vec<&String> = all
            .as_object()
            .unwrap()
            .keys()
            // Not faults but whom they strike; and what nothing counts.
            .filter(|name| !["errors", "to", "count", "list_late_ms"].contains(&name.as_str()))
            .filter(|name| !brought.contains(name))
            .collect();
        assert!(missing.is_empty(), "no weather brings {missing:?}");
        assert!(brought.contains(&"error_20003".to_owned()));
    }
}
