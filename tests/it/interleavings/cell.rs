//! One interleaving: a few people with messages on their way, a change that concerns them at a moment of
//! chance, and what has to be true of it afterwards.

use std::time::{Duration, Instant};

use event_stream_engine::campaign::{self, CampaignError, SingleMessage};
use event_stream_engine::domain::consent::Consent;
use event_stream_engine::domain::message::Kind;
use event_stream_engine::domain::phone::{Channel, Phone};
use event_stream_engine::store::campaigns::{self, CampaignPlan};
use event_stream_engine::store::ledger::ConsentChange;
use event_stream_engine::store::users::{self, NewUser};
use event_stream_engine::store::{StoreError, Tx, segments};
use serde_json::{Map, json};

use super::bench::{Answered, Bench};
use super::dice::Dice;
use crate::support::probe::probe;

/// What is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// STOP by this person, by webhook.
    Stop(usize),
    /// `stop` of this person, told by the API.
    Consent(usize),
    Pause,
    Cancel,
    /// One message to this person, taken back.
    CancelMessage(usize),
}

/// When.
#[derive(Clone, Copy, Debug)]
enum When {
    /// After so many microseconds.
    After(u64),
    /// When the first request is about to begin.
    Claimed,
    /// When the `n`th request for one message has come to the provider.
    Arrived(usize),
}

/// A message as it ended.
#[derive(Clone, Debug)]
struct Message {
    id: i64,
    user: i64,
    status: String,
    reason: String,
    attempts: Vec<(u32, String)>,
}

/// What a run of cells showed.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) changes: usize,
    /// Cells in which something was wrong, and what.
    pub(super) wrong: Vec<String>,
    /// Messages whose claim was withdrawn.
    pub(super) withdrawn: usize,
    /// Messages whose request had begun before the answer.
    pub(super) begun_before: usize,
    /// … and came to the provider after it, and by how much at most.
    pub(super) arrived_after: usize,
    pub(super) longest_way: Duration,
    /// Messages that were not claimed yet.
    pub(super) unclaimed: usize,
    /// Messages that waited for another try.
    pub(super) between_tries: usize,
}

impl Tally {
    pub(super) fn add(&mut self, other: &Tally) {
        self.changes += other.changes;
        self.wrong.extend_from_slice(&other.wrong);
        self.withdrawn += other.withdrawn;
        self.begun_before += other.begun_before;
        self.arrived_after += other.arrived_after;
        self.longest_way = self.longest_way.max(other.longest_way);
        self.unclaimed += other.unclaimed;
        self.between_tries += other.between_tries;
    }
}

/// What was answered when, as far as it concerns one message.
#[derive(Clone, Copy, Debug, Default)]
struct Answers {
    /// The first STOP or cancel: nothing may begin after it.
    ended: Option<Instant>,
    /// The same for one message alone.
    message: Option<(i64, Instant)>,
    paused: Option<Instant>,
    /// When the resume was asked for.
    resumed: Option<Instant>,
}

impl Answers {
    fn end(&mut self, at: Instant) {
        self.ended = Some(self.ended.map_or(at, |earlier| earlier.min(at)));
    }
}

pub(super) struct Cell<'a> {
    bench: &'a Bench,
    seed: u64,
    people: Vec<(i64, String)>,
    campaign: Option<i64>,
}

/// A number of its own for each person of a bench.
fn phone(n: u64) -> String {
    format!("+1212{:03}{:04}", 200 + n / 10_000, n % 10_000)
}

impl<'a> Cell<'a> {
    /// Runs the `n`th cell of a bench, and checks it.
    pub(super) async fn run(bench: &'a Bench, n: u64, seed: u64) -> Tally {
        let mut dice = Dice::new(seed);
        let is_campaign = dice.below(4) > 0;
        let mut cell = Cell { bench, seed, people: Vec::new(), campaign: None };
        cell.set_up(n, 1 + dice.below(4), is_campaign, &mut dice).await;
        let changes = cell.changes(&mut dice);
        let told = cell.change(&changes).await;
        let outcome = match cell.resume_if_paused(told).await {
            Ok(told) => cell.check(changes.len(), &told).await,
            Err(why) => Err(why),
        };
        outcome.unwrap_or_else(|why| Tally {
            changes: changes.len(),
            wrong: vec![format!("cell {n}, seed {seed}, {changes:?}: {why}")],
            ..Tally::default()
        })
    }

    /// One or more changes, each at a moment of its own.
    fn changes(&self, dice: &mut Dice) -> Vec<(Change, When)> {
        let mut changes = Vec::new();
        for at in 0..self.people.len() {
            match dice.below(8) {
                0..3 => changes.push(Change::Stop(at)),
                3 => changes.push(Change::Consent(at)),
                4..6 if self.campaign.is_none() => changes.push(Change::CancelMessage(at)),
                _ => {}
            }
        }
        match dice.below(5) {
            0..2 if self.campaign.is_some() => changes.push(Change::Pause),
            2..4 if self.campaign.is_some() => changes.push(Change::Cancel),
            _ if changes.is_empty() => changes.push(Change::Stop(0)),
            _ => {}
        }
        // Half of the time all at once.
        let (is_at_once, first) = (dice.below(2) == 0, when(dice));
        changes.into_iter().map(|change| (change, if is_at_once { first } else { when(dice) })).collect()
    }

    /// People, and a launched campaign or two single messages for each.
    async fn set_up(&mut self, n: u64, size: u64, is_campaign: bool, dice: &mut Dice) {
        let phones: Vec<String> = (0..size).map(|at| phone(n * 4 + at)).collect();
        let (template, setup) = (self.bench.template_id, self.bench.setup.clone());
        let rules = crate::support::rules();
        let is_transactional = dice.below(2) == 0;
        let cell = format!("{n}");
        let set_up = self.bench.store.write(move |tx| {
            let mut people = Vec::new();
            for phone in phones {
                people.push((add(tx, &phone, &cell)?, phone));
            }
            if !is_campaign {
                for (_, phone) in people.iter().flat_map(|person| [person, person]) {
                    campaign::send_single(tx, &single(phone), &rules, &setup, "test")?;
                }
                return Ok((people, None));
            }
            let definition = json!({"attribute": "cell", "operator": "equals", "value": cell});
            let segment = segments::insert(tx, &cell, &definition)?;
            let mut plan = CampaignPlan::new(&cell, segment, template);
            plan.quiet_hours = "off".into();
            if is_transactional {
                plan.kind = Kind::Transactional;
            }
            let id = campaigns::insert(tx, &plan)?;
            campaign::launch(tx, id, &setup)?;
            Ok::<_, CampaignError>((people, Some(id)))
        });
        (self.people, self.campaign) = set_up.await.unwrap();
    }

    /// Freezes, waits for the moments, and changes. Returns what each person's messages were told.
    async fn change(&self, changes: &[(Change, When)]) -> Vec<Answers> {
        let frozen = tokio::sync::OnceCell::new();
        let freeze = || async {
            campaign::freeze_all(&self.bench.store, &self.bench.presets, true).await.unwrap();
            self.messages().await
        };
        let all = changes.iter().map(|(change, when)| {
            let frozen = &frozen;
            async move {
                // The freezing itself may be one of those that race.
                if !matches!(
                    (change, when),
                    (Change::Stop(_) | Change::Pause | Change::Cancel, When::After(0))
                ) {
                    let messages = frozen.get_or_init(freeze).await;
                    self.wait_for(*when, messages).await;
                }
                self.carry_out(*change).await
            }
        });
        let (answers, _) = tokio::join!(futures_util::future::join_all(all), frozen.get_or_init(freeze));
        let mut told = vec![Answers::default(); self.people.len()];
        for ((change, _), at) in changes.iter().zip(answers) {
            let Some((at, message)) = at else { continue };
            match change {
                Change::Stop(person) | Change::Consent(person) => told[*person].end(at),
                Change::Pause => told.iter_mut().for_each(|told| told.paused = Some(at)),
                Change::Cancel => told.iter_mut().for_each(|told| told.end(at)),
                Change::CancelMessage(person) => told[*person].message = message.map(|id| (id, at)),
            }
        }
        told
    }

    async fn wait_for(&self, when: When, messages: &[Message]) {
        let ids: Vec<i64> = messages.iter().map(|message| message.id).collect();
        let moment = async {
            match when {
                When::After(micros) => tokio::time::sleep(Duration::from_micros(micros)).await,
                When::Claimed => until(&probe().steps, || probe().has_approached(&ids)).await,
                When::Arrived(n) => {
                    let provider = &self.bench.provider;
                    until(provider.steps(), || provider.has_seen(&ids, n)).await;
                }
            }
        };
        // A second try may never come.
        let _ = tokio::time::timeout(Duration::from_millis(200), moment).await;
    }

    /// Changes. Returns when that was answered and, if so, for which message alone; `None` when it was
    /// refused, because the campaign or the message was at its end.
    async fn carry_out(&self, change: Change) -> Option<(Instant, Option<i64>)> {
        let campaign = self.campaign.unwrap_or_default();
        let (path, body) = match change {
            Change::Stop(person) => return Some((self.stop(person).await, None)),
            Change::Consent(person) => {
                let body = json!({"state": "stop", "source": "test"});
                (format!("/users/{}/consent", self.people[person].0), Some(body))
            }
            Change::Pause => (format!("/campaigns/{campaign}/pause"), None),
            Change::Cancel => (format!("/campaigns/{campaign}/cancel"), None),
            Change::CancelMessage(person) => {
                let messages = self.messages().await;
                let last = messages.iter().rfind(|message| message.user == self.people[person].0).unwrap().id;
                let answer = self.bench.api(&format!("/messages/{last}/cancel"), None).await;
                return unless_conflict(&answer).map(|at| (at, Some(last)));
            }
        };
        unless_conflict(&self.bench.api(&path, body.as_ref()).await).map(|at| (at, None))
    }

    async fn stop(&self, at: usize) -> Instant {
        let (id, phone) = &self.people[at];
        let sid = format!("SM{:016x}{id:016x}", self.seed);
        ok(&self.bench.inbound(phone, "STOP", &sid).await)
    }

    /// A paused campaign stands still until it is resumed: looked at, then resumed.
    async fn resume_if_paused(&self, mut told: Vec<Answers>) -> Result<Vec<Answers>, String> {
        if told.iter().all(|told| told.paused.is_none()) {
            return Ok(told);
        }
        self.settled(true).await?;
        let asked = Instant::now();
        unless_conflict(
            &self.bench.api(&format!("/campaigns/{}/resume", self.campaign.unwrap()), None).await,
        );
        // It may have been paused while it was being frozen.
        campaign::freeze_all(&self.bench.store, &self.bench.presets, true).await.unwrap();
        told.iter_mut().for_each(|told| told.resumed = Some(asked));
        Ok(told)
    }

    /// Waits until nothing is under way, nor waits unless `may_wait`.
    async fn settled(&self, may_wait: bool) -> Result<Vec<Message>, String> {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let messages = self.messages().await;
            let is_open =
                |message: &Message| message.status == "sending" || (message.status == "queued" && !may_wait);
            if !messages.iter().any(is_open) {
                return Ok(messages);
            }
            must(Instant::now() < end, || "it never came to rest")
                .map_err(|why| format!("{why}: {messages:?}"))?;
            tokio::time::sleep(Duration::from_millis(8)).await;
        }
    }

    async fn messages(&self) -> Vec<Message> {
        let ids: Vec<i64> = self.people.iter().map(|(id, _)| *id).collect();
        let read = self.bench.store.read(move |conn| {
            let mut found = Vec::new();
            let mut of_user = conn.prepare_cached(
                "SELECT m.id, m.status, coalesce(m.reason, ''),
                   (SELECT json_group_array(json_array(a.number, a.outcome) ORDER BY a.number)
                    FROM attempts a WHERE a.message_id = m.id)
                 FROM messages m WHERE m.user_id = ?1 ORDER BY m.id",
            )?;
            for user in ids {
                let rows = of_user.query_map([user], |row| {
                    let attempts: String = row.get(3)?;
                    Ok(Message {
                        id: row.get(0)?,
                        user,
                        status: row.get(1)?,
                        reason: row.get(2)?,
                        attempts: serde_json::from_str(&attempts).unwrap(),
                    })
                })?;
                for row in rows {
                    found.push(row?);
                }
            }
            Ok::<_, StoreError>(found)
        });
        read.await.unwrap()
    }

    async fn check(&self, changes: usize, told: &[Answers]) -> Result<Tally, String> {
        let messages = self.settled(false).await?;
        let mut tally = Tally { changes, ..Tally::default() };
        for message in &messages {
            let at = self.people.iter().position(|(id, _)| *id == message.user).unwrap();
            let mut told = told[at];
            if let Some((_, at)) = told.message.filter(|(id, _)| *id == message.id) {
                told.end(at);
            }
            self.check_message(message, &told, &mut tally).map_err(|why| {
                let (seen, arrivals) = (probe().seen(message.id), self.bench.provider.arrivals(message.id));
                format!("{why}: {message:?} {told:?} {seen:?} {arrivals:?}")
            })?;
        }
        Ok(tally)
    }

    fn check_message(&self, message: &Message, told: &Answers, tally: &mut Tally) -> Result<(), String> {
        let begun = probe().seen(message.id).begun;
        let arrivals = self.bench.provider.arrivals(message.id);
        let made: Vec<u32> =
            message.attempts.iter().filter(|(_, outcome)| outcome != "withdrawn").map(|(n, _)| *n).collect();
        must(
            arrivals.iter().map(|arrival| arrival.attempt).eq(made.iter().copied()),
            || "the provider saw other requests than the attempts tell",
        )?;
        must(begun.len() == arrivals.len(), || "a request was made that did not begin")?;
        must(
            begun.iter().zip(&arrivals).all(|(begun, arrival)| *begun <= arrival.at),
            || "a request came before it began",
        )?;
        if let Some(ended) = told.ended {
            must(begun.iter().all(|begun| *begun < ended), || "a request began after the answer")?;
        }
        if let Some(paused) = told.paused {
            let resumed = told.resumed.unwrap();
            let is_between = |begun: &&Instant| **begun >= paused && **begun <= resumed;
            must(begun.iter().find(is_between).is_none(), || "a request began after the pause was answered")?;
        }
        let taken = arrivals.iter().filter(|arrival| arrival.is_taken).count();
        let was_refused = arrivals.iter().any(|arrival| !arrival.is_taken);
        must(taken <= 1, || "the provider took it twice")?;
        let ends_right = match (message.status.as_str(), message.reason.as_str()) {
            ("accepted" | "uncertain", _) => taken == 1,
            ("cancelled", "stop" | "campaign_cancelled" | "cancelled_by_request") | ("skipped", "stop") => {
                taken == 0 && told.ended.is_some()
            }
            // No such number: this message, and what waits for the same person.
            ("failed" | "skipped", _) => taken == 0 && (was_refused || message.reason == "unreachable"),
            _ => false,
        };
        must(ends_right, || "it ended wrong")?;
        let answered = [told.ended, told.paused].into_iter().flatten().min();
        if let Some(answered) = answered {
            tell(tally, answered, message, &begun, &arrivals);
        }
        Ok(())
    }
}

/// Counts how a message stood when its change was answered.
fn tell(
    tally: &mut Tally,
    answered: Instant,
    message: &Message,
    begun: &[Instant],
    arrivals: &[super::provider::Arrival],
) {
    let before = begun.iter().filter(|begun| **begun < answered).count();
    tally.withdrawn += usize::from(message.attempts.iter().any(|(_, outcome)| outcome == "withdrawn"));
    tally.begun_before += usize::from(before > 0);
    tally.unclaimed += usize::from(message.attempts.is_empty());
    tally.between_tries += usize::from(before > 0 && message.status == "cancelled");
    for arrival in arrivals.iter().take(before).filter(|arrival| arrival.at > answered) {
        tally.arrived_after += 1;
        tally.longest_way = tally.longest_way.max(arrival.at - answered);
    }
}

fn must(holds: bool, why: impl FnOnce() -> &'static str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why().to_owned()) }
}

fn unless_conflict(answer: &Answered) -> Option<Instant> {
    (answer.status != 409).then(|| ok(answer))
}

fn when(dice: &mut Dice) -> When {
    match dice.below(10) {
        0 => When::After(0),
        1 => When::After(dice.below(3_000)),
        2 => When::After(dice.below(15_000)),
        3..7 => When::Claimed,
        7 | 8 => When::Arrived(1),
        _ => When::Arrived(2),
    }
}

/// The moment of an answer that has to be good.
fn ok(answer: &Answered) -> Instant {
    assert!((200..300).contains(&answer.status), "{answer:?}");
    answer.at
}

/// Waits until `holds`, looking again at each step.
async fn until(steps: &tokio::sync::Notify, holds: impl Fn() -> bool) {
    loop {
        let step = steps.notified();
        tokio::pin!(step);
        step.as_mut().enable();
        if holds() {
            return;
        }
        step.await;
    }
}

fn add(tx: &Tx<'_>, phone: &str, cell: &str) -> Result<i64, StoreError> {
    let mut attributes = Map::new();
    attributes.insert("cell".to_owned(), cell.into());
    let consent = ConsentChange {
        state: Consent::OptIn,
        source: "test",
        actor: "test",
        evidence: None,
        obtained_at: None,
    };
    let user = NewUser {
        phone: Some(phone),
        channel_address: None,
        country: Some("US"),
        attributes: &attributes,
        consent: Some(consent),
        actor: "test",
        import: None,
    };
    users::insert(tx, &user)
}

fn single(phone: &str) -> SingleMessage {
    SingleMessage {
        to: Phone::parse(phone, None).unwrap().into(),
        from: None,
        channel: Channel::Sms,
        body: Some("Your code is 1234".to_owned()),
        media_urls: Vec::new(),
        template_id: None,
        variables: Map::new(),
        topic: None,
        kind: Kind::Transactional,
        reference: None,
        send_at: None,
        expires_at: None,
    }
}
