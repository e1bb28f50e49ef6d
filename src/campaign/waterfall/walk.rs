//! The walk over everybody: each through the gate, by the facts that the sender would have.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Bucket, Example, Excluded, Waterfall, Way};
use crate::campaign::before::{Before, House};
use crate::campaign::outlook::{self, Stream};
use crate::campaign::{Audience, CampaignError, actions};
use crate::clock::Millis;
use crate::domain::campaign::CampaignStatus;
use crate::domain::encoding::{self, Encoding};
use crate::domain::gate::{Content, Reason, Verdict, gate};
use crate::domain::phone::Channel;
use crate::domain::plan::{Person, Rendered, Timetable};
use crate::domain::price::{Cost, Parcel, PriceTable};
use crate::store::audience::{self, Band, Member};
use crate::store::circumstances::{self, Asked};
use crate::store::segment_sql::Predicate;
use crate::store::{Connection, Store, segments};

/// Ids looked at in the first piece; later ones follow the time that it took.
const FIRST_PIECE: i64 = 4_000;
const LARGEST_PIECE: i64 = 100_000;
/// What a piece should take, and after what time it is cut off.
const PIECE: Duration = Duration::from_millis(200);
const LONGEST_PIECE: Duration = Duration::from_millis(600);

/// Walks the whole audience of a campaign. Call it in a turn.
///
/// # Errors
/// As [`crate::campaign::look_at_audience`].
pub(in crate::campaign) async fn walk(
    store: &Store,
    house: &House,
    id: i64,
    sample: usize,
) -> Result<Waterfall, CampaignError> {
    let (now, own) = (store.clock().now(), house.clone());
    let mut walk = store.read(move |conn| Walk::begin(conn, id, &own, (now, sample))).await?;
    while !walk.is_done() {
        walk = store.read(move |conn| walk.step(conn)).await?;
    }
    let own = house.clone();
    let (walk, queue) = store
        .read(move |conn| {
            let queue = outlook::queue(conn, &walk.before)?;
            walk.obstacles.extend(outlook::cap_met(conn, &own, &walk.before, walk.cost)?);
            Ok::<_, CampaignError>((walk, queue))
        })
        .await?;
    let house = house.clone();
    tokio::task::spawn_blocking(move || walk.finish(&house, queue))
        .await
        .map_err(|error| CampaignError::Store(crate::store::StoreError::Internal(error.to_string())))
}

/// People who would go now if the sender has a place for them, by the end of their windows.
#[derive(Debug, Default)]
struct Placed {
    people: i64,
    first: Vec<Example>,
    last: Vec<Example>,
}

/// A walk on its way.
struct Walk {
    before: Before,
    include: Predicate,
    exclude: Vec<Predicate>,
    excluded: Vec<Excluded>,
    sample: usize,
    timetable: Timetable,
    /// Everybody up to this id was looked at.
    through: i64,
    piece: i64,
    people: i64,
    exits: HashMap<(Way, Reason), Bucket>,
    free: Bucket,
    placed: BTreeMap<Millis, Placed>,
    parts: i64,
    prices: Arc<PriceTable>,
    cost: Cost,
    obstacles: Vec<(&'static str, String)>,
    encodings: [i64; 2],
    missing: BTreeMap<String, i64>,
    streams: HashMap<Stream, i64>,
}

impl Walk {
    fn begin(
        conn: &Connection,
        id: i64,
        house: &House,
        (now, sample): (Millis, usize),
    ) -> Result<Walk, CampaignError> {
        let before = Before::read(conn, id, house, now)?;
        if before.campaign.launched_at.is_some() || before.campaign.status == CampaignStatus::Cancelled {
            let (status, name) = (before.campaign.status.as_str(), "/report tells what became of everybody");
            let detail = format!("The campaign is {status}: its audience is frozen, and {name}.");
            return Err(CampaignError::Launched(detail));
        }
        if before.campaign.plan.trigger_type.is_some() {
            let text = "The campaign is started by triggers: each brings its own people.";
            return Err(CampaignError::Conflict(text.to_owned()));
        }
        let obstacles = outlook::obstacle(conn, house, &before)?.into_iter().collect();
        let (include, exclude) = Audience::predicates(&before.audience, before.at);
        let mut excluded = Vec::new();
        for segment_id in &before.campaign.plan.exclude_segment_ids {
            let name = segments::find(conn, *segment_id)?.map(|segment| segment.name).unwrap_or_default();
            excluded.push(Excluded { segment_id: *segment_id, name, bucket: Bucket::default() });
        }
        let presets = Arc::clone(&house.rules.presets);
        let timetable = Timetable::new(Arc::clone(&before.plan), presets, before.at);
        Ok(Walk {
            before,
            include,
            exclude,
            excluded,
            sample,
            timetable,
            through: 0,
            piece: FIRST_PIECE,
            people: 0,
            exits: HashMap::new(),
            free: Bucket::default(),
            placed: BTreeMap::new(),
            parts: 0,
            prices: Arc::clone(&house.rules.prices),
            cost: Cost::default(),
            obstacles,
            encodings: [0; 2],
            missing: BTreeMap::new(),
            streams: HashMap::new(),
        })
    }

    fn is_done(&self) -> bool {
        self.through >= self.before.last_id
    }

    /// One piece.
    fn step(mut self, conn: &Connection) -> Result<Walk, CampaignError> {
        let started = Instant::now();
        let (include, exclude) = (self.include.clone(), std::mem::take(&mut self.exclude));
        let band = Band {
            include: &include,
            exclude: &exclude,
            topic_id: self.before.campaign.plan.topic_id,
            after: self.through,
            through: self.before.last_id.min(self.through.saturating_add(self.piece)),
        };
        let mut seen = 0_u32;
        self.through = audience::visit(conn, &band, |member| {
            self.take(conn, &member)?;
            seen += 1;
            Ok::<_, CampaignError>(!seen.is_multiple_of(64) || started.elapsed() < LONGEST_PIECE)
        })?;
        self.exclude = exclude;
        let scale = PIECE.as_secs_f64() / started.elapsed().as_secs_f64().max(0.001);
        self.piece = ((self.piece as f64 * scale.clamp(0.25, 4.0)) as i64).clamp(200, LARGEST_PIECE);
        Ok(self)
    }

    fn take(&mut self, conn: &Connection, member: &Member) -> Result<(), CampaignError> {
        self.people += 1;
        let example = || example(member);
        if let Some(excluded) = member.excluded_by.and_then(|at| self.excluded.get_mut(at)) {
            excluded.bucket.add(self.sample, example);
            return Ok(());
        }
        let Before { plan, bounds, at, expires_at, .. } = &self.before;
        let asked = Asked {
            user_id: member.user_id,
            message_id: None,
            person: &member.person,
            plan,
            variables: None,
            expires_at: *expires_at,
        };
        let mut found = circumstances::load(conn, &asked, bounds, *at)?;
        // Places of the day are handed out at the end, to those whose windows close first.
        found.circumstances.daily_limit_until = None;
        let (place, hours) = self.timetable.look(&member.person);
        let (facts, rendered) = plan.judge_within(&member.person, &found.circumstances, hours);
        let stream = |from| Stream { place, from, is_free: found.is_free };
        match (gate(&facts, *at), rendered) {
            (Verdict::Send { closes_at }, Some(rendered)) => {
                self.add_text(&rendered, &member.person);
                *self.streams.entry(stream(0)).or_default() += 1;
                if found.is_free {
                    self.free.add(self.sample, example);
                } else {
                    let end = closes_at.unwrap_or(Millis::MAX);
                    self.placed.entry(end).or_default().add(self.sample, example);
                }
            }
            (Verdict::Defer { until, reason, .. }, rendered) => {
                if let Some(rendered) = &rendered {
                    self.add_text(rendered, &member.person);
                }
                let from = if reason == Reason::FrequencyCap { outlook::hour_of(until) } else { 0 };
                *self.streams.entry(stream(from)).or_default() += 1;
                self.leave(Way::Deferred, reason, example);
            }
            (Verdict::Expire(reason), _) => self.leave(Way::Expired, reason, example),
            (Verdict::Skip(reason), _) => {
                if let (Reason::MissingVariable, Content::Missing(names)) = (reason, &facts.content) {
                    for name in names {
                        *self.missing.entry(name.clone()).or_default() += 1;
                    }
                }
                self.leave(Way::Skipped, reason, example);
            }
            (Verdict::Send { .. }, None) => {
                self.leave(Way::Skipped, Reason::ContentBroken, example);
            }
        }
        Ok(())
    }

    fn exit(&mut self, way: Way, reason: Reason) -> &mut Bucket {
        self.exits.entry((way, reason)).or_default()
    }

    fn leave(&mut self, way: Way, reason: Reason, example: impl FnOnce() -> Example) {
        let sample = self.sample;
        self.exit(way, reason).add(sample, example);
    }

    fn add_text(&mut self, rendered: &Rendered, person: &Person) {
        self.parts += i64::from(rendered.parts);
        let parcel = Parcel::of(&self.before.plan, person, rendered);
        self.cost.add(self.prices.price(&parcel), 1);
        if self.before.plan.channel == Channel::Sms {
            let [gsm7, ucs2] = &mut self.encodings;
            let sum = match encoding::count(&rendered.body).encoding {
                Encoding::Gsm7 => gsm7,
                Encoding::Ucs2 => ucs2,
            };
            *sum += i64::from(rendered.parts);
        }
    }

    /// Hands out the places of the day and looks ahead.
    fn finish(mut self, house: &House, queue: outlook::Queue) -> Waterfall {
        self.hand_out_places();
        let mut exits: Vec<(Way, Reason, Bucket)> =
            self.exits.into_iter().map(|((way, reason), bucket)| (way, reason, bucket)).collect();
        let order = |reason: Reason| Reason::ALL.iter().position(|one| *one == reason);
        exits.sort_by_key(|(way, reason, _)| (*way, order(*reason)));
        let is_sms = self.before.plan.channel == Channel::Sms;
        let [gsm7, ucs2] = self.encodings;
        let by_encoding = [(Encoding::Gsm7, gsm7), (Encoding::Ucs2, ucs2)];
        let queue_ahead = queue.due.iter().map(|(_, n)| n).sum();
        let waits: i64 = self.streams.values().sum();
        let mean = if waits > 0 { self.parts as f64 / waits as f64 } else { 1.0 };
        let expired = |exits: &[(Way, Reason, Bucket)]| -> i64 {
            exits.iter().filter(|(way, ..)| *way == Way::Expired).map(|(.., bucket)| bucket.people).sum()
        };
        let forecast = outlook::forecast(house, &self.before, queue, (&self.timetable, &self.streams, mean));
        let zones = outlook::by_zone(self.before.at, &self.timetable, &self.streams);
        let mut waterfall = Waterfall {
            version: self.before.campaign.version,
            through: self.through,
            at: self.before.at,
            expires_at: self.before.expires_at,
            people: self.people,
            excluded: self.excluded,
            would_expire: expired(&exits),
            exits,
            now: self.free,
            parts: self.parts,
            parts_by_encoding: by_encoding.into_iter().filter(|(_, n)| is_sms && *n > 0).collect(),
            missing: self.missing,
            forecast,
            zones,
            queue_ahead,
            obstacles: self.obstacles,
            cost: self.cost,
            currency: self.prices.currency(),
        };
        // Whom the daily limit lets expire stands among the exits and in the forecast.
        let in_forecast = forecast.map_or(0, |seen| seen.would_expire);
        let by_limit: i64 = waterfall
            .exits
            .iter()
            .filter(|(way, reason, _)| *way == Way::Expired && *reason == Reason::DailyLimit)
            .map(|(.., bucket)| bucket.people)
            .sum();
        waterfall.would_expire += (in_forecast - by_limit).max(0);
        if let Some(most) =
            self.before.campaign.plan.max_recipients.filter(|most| waterfall.audience() > *most)
        {
            waterfall.obstacles.push(("max_recipients", actions::too_many(most)));
        }
        waterfall
    }

    /// Of those who would go now, as many as the sender has places for, who closes first first; the others wait
    /// for tomorrow, or it will be too late.
    fn hand_out_places(&mut self) {
        let mut room = self.before.bounds.daily.map_or(i64::MAX, |daily| (daily.most - daily.written).max(0));
        let renews_at = self.before.bounds.daily.map_or(Millis::MAX, |daily| daily.renews_at);
        let is_late = self.before.expires_at.is_some_and(|end| renews_at >= end);
        let way = if is_late { Way::Expired } else { Way::Deferred };
        for placed in std::mem::take(&mut self.placed).into_values() {
            let now = placed.people.min(room);
            room -= now;
            let later = placed.people - now;
            self.free.absorb(self.sample, now, placed.first);
            if later > 0 {
                let sample = self.sample;
                self.exit(way, Reason::DailyLimit).absorb(sample, later, placed.last);
            }
        }
    }
}

fn example(member: &Member) -> Example {
    let phone = member.person.phone.as_ref().map(|phone| phone.as_str().to_owned());
    Example { user_id: member.user_id, phone }
}

impl Placed {
    fn add(&mut self, sample: usize, example: impl Fn() -> Example) {
        self.people += 1;
        if self.first.len() < sample {
            self.first.push(example());
        }
        if sample > 0 {
            // Newest first: the last of a window are the ones for whom no place may be left.
            self.last.insert(0, example());
            self.last.truncate(sample);
        }
    }
}
