//! From segments to one predicate: who is in, and who is not.

use crate::store::Connection;
use serde_json::{Value, json};

use super::CampaignError;
use crate::clock::Millis;
use crate::domain::segment::Definition;
use crate::store::campaigns::CampaignPlan;
use crate::store::segment_sql::{Predicate, compile};
use crate::store::{StoreError, segments, users};

/// The definitions that make up an audience: one to be in, some not to be in.
#[derive(Clone, Debug)]
pub struct Audience {
    include: Definition,
    exclude: Vec<Definition>,
}

impl Audience {
    /// The audience of a plan, by today's segments.
    ///
    /// # Errors
    /// Names a segment that is gone.
    pub fn of_plan(conn: &Connection, plan: &CampaignPlan) -> Result<(Audience, Value), CampaignError> {
        let Some(segment_id) = plan.segment_id else {
            return Err(CampaignError::invalid("segment_id", "this campaign is started by triggers"));
        };
        let include = definition(conn, segment_id, "segment_id")?;
        let frozen = json!({"include": include, "exclude": excluded(conn, plan)?});
        let audience = Audience::of_frozen(&frozen)?;
        Ok((audience, frozen))
    }

    /// What a campaign freezes that events start: whom it leaves out. Whom it reaches, each event says.
    ///
    /// # Errors
    /// Names a segment that is gone.
    pub fn of_triggers(conn: &Connection, plan: &CampaignPlan) -> Result<Value, CampaignError> {
        Ok(json!({"include": null, "exclude": excluded(conn, plan)?}))
    }

    /// The audience that a launch froze.
    ///
    /// # Errors
    /// When the stored definition does not parse: a defect.
    pub fn of_frozen(frozen: &Value) -> Result<Audience, CampaignError> {
        Audience::within(parse(&frozen["include"])?, frozen)
    }

    /// Those of `include` whom a campaign does not leave out, by what its launch froze.
    ///
    /// # Errors
    /// When the stored definition does not parse: a defect.
    pub fn within(include: Definition, frozen: &Value) -> Result<Audience, CampaignError> {
        let exclude = frozen["exclude"].as_array().into_iter().flatten().map(parse);
        Ok(Audience { include, exclude: exclude.collect::<Result<_, _>>()? })
    }

    /// True when nobody is left out.
    pub fn excludes_nobody(&self) -> bool {
        self.exclude.is_empty()
    }

    /// Who is in, and who is taken out again, each over `u` and as seen at `now`.
    pub fn predicates(&self, now: Millis) -> (Predicate, Vec<Predicate>) {
        let exclude = self.exclude.iter().map(|definition| compile(definition, now)).collect();
        (compile(&self.include, now), exclude)
    }

    /// One predicate over `u`, as seen at `now`.
    pub fn predicate(&self, now: Millis) -> Predicate {
        let mut whole = compile(&self.include, now);
        for definition in &self.exclude {
            let excluded = compile(definition, now);
            whole.sql = format!("({} AND NOT {})", whole.sql, excluded.sql);
            whole.params.extend(excluded.params);
        }
        whole
    }
}

fn definition(conn: &Connection, id: i64, field: &str) -> Result<Value, CampaignError> {
    segments::find(conn, id)?
        .map(|segment| segment.definition)
        .ok_or_else(|| CampaignError::invalid(field, format!("there is no segment {id}")))
}

fn excluded(conn: &Connection, plan: &CampaignPlan) -> Result<Vec<Value>, CampaignError> {
    plan.exclude_segment_ids.iter().map(|id| definition(conn, *id, "exclude_segment_ids")).collect()
}

/// A definition that was checked when it was kept.
pub(super) fn parse(value: &Value) -> Result<Definition, CampaignError> {
    Definition::parse(value).map_err(|errors| {
        let text: Vec<String> = errors.iter().map(ToString::to_string).collect();
        CampaignError::Store(StoreError::Internal(format!("segment: {}", text.join("; "))))
    })
}

/// Whether an audience has more than `most` people. Counts no further than it has to.
///
/// # Errors
/// [`StoreError`] from SQLite.
pub fn is_larger_than(
    conn: &Connection,
    audience: &Audience,
    most: i64,
    now: Millis,
) -> Result<bool, StoreError> {
    Ok(users::count_up_to(conn, &audience.predicate(now), most + 1)? > most)
}
