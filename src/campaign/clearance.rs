//! What is looked up before a launch is written, so that nobody waits for the writer meanwhile: how many people
//! there are for `max_recipients`, and whether a deadline would let some of them expire.

use super::waterfall::{Waterfall, Way};
use super::{Audience, CampaignError, House, actions, turns};
use crate::clock::Millis;
use crate::domain::campaign::CampaignStatus;
use crate::domain::gate::Reason;
use crate::store::campaigns::{self, CampaignRow};
use crate::store::segment_sql::Predicate;
use crate::store::{Connection, Store, StoreError, Tx, audience, segments};

/// Ids that are counted in one read, at first.
const PIECE: i64 = 100_000;
/// Fewer are not tried where a read took too long.
const SMALLEST_PIECE: i64 = 1_000;

/// What was found. The default is: nothing was looked up, the writer counts for itself.
#[derive(Clone, Debug, Default)]
pub struct Clearance {
    counted: Option<Counted>,
    expiring: Option<Expiring>,
}

/// How many people an audience had.
#[derive(Clone, Debug)]
struct Counted {
    marks: Marks,
    /// People with ids up to this one were counted.
    through: i64,
    people: i64,
}

/// Whom a deadline would let expire.
#[derive(Clone, Debug)]
struct Expiring {
    marks: Marks,
    told: WouldExpire,
}

/// Versions of all that makes up an audience: while they are the same, so is what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Marks {
    campaign: i64,
    segments: Vec<(i64, i64)>,
}

/// People who would wait until it is too late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WouldExpire {
    /// How many.
    pub people: i64,
    /// Of how many who would get it, or would have.
    pub of: i64,
    /// Those whose own hours leave no time, by what they would wait for; the others stand too far back.
    pub by_reason: Vec<(Reason, i64)>,
    /// The deadline.
    pub expires_at: Option<Millis>,
    /// When the last one would go.
    pub last: Option<Millis>,
}

impl std::fmt::Display for WouldExpire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (people, of) = (self.people, self.of);
        write!(
            f,
            "{people} of {of} people would not get it before the deadline. Give it more time, or launch with accept_would_expire."
        )
    }
}

impl Marks {
    fn read(conn: &Connection, campaign: &CampaignRow) -> Result<Marks, StoreError> {
        let plan = &campaign.plan;
        let mut versions = Vec::new();
        for id in plan.segment_id.iter().chain(&plan.exclude_segment_ids) {
            versions.push((*id, segments::find(conn, *id)?.map_or(0, |segment| segment.version)));
        }
        Ok(Marks { campaign: campaign.version, segments: versions })
    }
}

/// Looks up what the launch of a draft needs. With `accept_would_expire` nobody is looked for who would expire; a
/// campaign without deadline never pays for it.
///
/// # Errors
/// Not found, or the store can't.
pub async fn clear(
    store: &Store,
    house: &House,
    id: i64,
    accept_would_expire: bool,
) -> Result<Clearance, CampaignError> {
    let (campaign, marks) = read(store, id).await?;
    let is_draft = campaign.status == CampaignStatus::Draft && campaign.plan.trigger_type.is_none();
    if is_draft && campaign.plan.expires_after_hours.is_some() && !accept_would_expire {
        let seen = turns::before_launch(store, house, id).await?;
        return Ok(Clearance::of(&seen, marks));
    }
    size(store, &campaign, marks).await
}

/// The same for the start of a scheduled campaign: whether people may expire was decided when it was scheduled.
pub(super) async fn clear_start(store: &Store, id: i64) -> Result<Clearance, CampaignError> {
    let (campaign, marks) = read(store, id).await?;
    size(store, &campaign, marks).await
}

async fn read(store: &Store, id: i64) -> Result<(CampaignRow, Marks), CampaignError> {
    store
        .read(move |conn| {
            let campaign = campaigns::find(conn, id)?
                .ok_or_else(|| CampaignError::NotFound(format!("campaign {id}")))?;
            let marks = Marks::read(conn, &campaign)?;
            Ok((campaign, marks))
        })
        .await
}

async fn size(store: &Store, campaign: &CampaignRow, marks: Marks) -> Result<Clearance, CampaignError> {
    let is_before = matches!(campaign.status, CampaignStatus::Draft | CampaignStatus::Scheduled);
    match campaign.plan.max_recipients {
        Some(most) if is_before && campaign.plan.trigger_type.is_none() => {
            let counted = Some(count(store, campaign, marks, most).await?);
            Ok(Clearance { counted, expiring: None })
        }
        _ => Ok(Clearance::default()),
    }
}

/// Counts an audience, piece by piece, no further than it has to.
async fn count(
    store: &Store,
    campaign: &CampaignRow,
    marks: Marks,
    most: i64,
) -> Result<Counted, CampaignError> {
    let (plan, now) = (campaign.plan.clone(), store.clock().now());
    let at = plan.starts_at.map_or(now, |start| start.max(now));
    let (whole, last) = store
        .read(move |conn| {
            let (audience, _) = Audience::of_plan(conn, &plan)?;
            Ok::<_, CampaignError>((audience.predicate(at), audience::last_id(conn)?))
        })
        .await?;
    let (through, people) = count_pieces(store, &whole, last, most).await?;
    Ok(Counted { marks, through, people })
}

/// Counts the people with ids up to `last` until there are more than `most`, in pieces, so that no read takes too
/// long. Returns the id up to which it counted, and how many there are.
pub(super) async fn count_pieces(
    store: &Store,
    whole: &Predicate,
    last: i64,
    most: i64,
) -> Result<(i64, i64), CampaignError> {
    let (mut through, mut people, mut piece) = (0, 0, PIECE.min(last));
    while through < last && people <= most {
        let (predicate, after, end) = (whole.clone(), through, last.min(through + piece));
        match store.read(move |conn| audience::count(conn, &predicate, after, end)).await {
            Ok(found) => (through, people) = (end, people + found),
            // What a condition costs for one person depends on how much there is of them.
            Err(StoreError::TooSlow(_)) if piece > SMALLEST_PIECE => piece = SMALLEST_PIECE.max(piece / 8),
            Err(error) => return Err(CampaignError::Store(error)),
        }
    }
    Ok((through, people))
}

impl Clearance {
    fn of(seen: &Waterfall, marks: Marks) -> Clearance {
        // What was looked at is older than what was read here only if somebody edited between the two.
        let is_same = seen.version == marks.campaign;
        let marks = if is_same { marks } else { Marks { campaign: 0, segments: Vec::new() } };
        let by_reason = seen.exits.iter().filter(|(way, ..)| *way == Way::Expired);
        let told = WouldExpire {
            people: seen.would_expire,
            of: seen.would_send() + seen.in_way(Way::Expired),
            by_reason: by_reason.map(|(_, reason, bucket)| (*reason, bucket.people)).collect(),
            expires_at: seen.expires_at,
            last: seen.forecast.and_then(|forecast| forecast.last),
        };
        Clearance {
            counted: Some(Counted { marks: marks.clone(), through: seen.through, people: seen.audience() }),
            expiring: Some(Expiring { marks, told }),
        }
    }

    /// Refuses a launch that would let people expire.
    pub(super) fn check_deadline(&self, tx: &Tx<'_>, campaign: &CampaignRow) -> Result<(), CampaignError> {
        let Some(Expiring { marks, told }) = &self.expiring else {
            return Ok(());
        };
        if *marks != Marks::read(tx.conn(), campaign)? {
            let text =
                "The campaign or a segment was changed while its audience was looked at. Launch again.";
            return Err(CampaignError::Conflict(text.to_owned()));
        }
        if told.people > 0 {
            return Err(CampaignError::WouldExpire(Box::new(told.clone())));
        }
        Ok(())
    }

    /// Refuses an audience above `max_recipients`. What was counted before counts, with the people who came
    /// since; else all are counted here.
    pub(super) fn check_size(
        &self,
        tx: &Tx<'_>,
        campaign: &CampaignRow,
        people: &Audience,
    ) -> Result<(), CampaignError> {
        let Some(most) = campaign.plan.max_recipients else {
            return Ok(());
        };
        let at = campaign.plan.starts_at.map_or(tx.now(), |start| start.max(tx.now()));
        let known = match &self.counted {
            Some(counted) if counted.marks == Marks::read(tx.conn(), campaign)? => Some(counted),
            _ => None,
        };
        let is_larger = match known {
            Some(Counted { people: n, .. }) if *n > most => true,
            Some(Counted { through, people: n, .. }) => {
                n + audience::count(tx.conn(), &people.predicate(at), *through, i64::MAX)? > most
            }
            None => super::is_larger_than(tx.conn(), people, most, at)?,
        };
        if is_larger {
            return Err(CampaignError::Conflict(actions::too_many(most)));
        }
        Ok(())
    }
}
