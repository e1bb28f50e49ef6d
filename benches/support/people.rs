//! People and a campaign for them. Numbers are North American and valid, in twelve area codes of all
//! American zones.

use std::sync::Arc;

use event_stream_engine::campaign::{self, Setup};
use event_stream_engine::config::Config;
use event_stream_engine::domain::phone::Channel;
use event_stream_engine::domain::quiet_hours::Presets;
use event_stream_engine::store::campaigns::{self, CampaignPlan};
use event_stream_engine::store::templates::{self, TemplateText};
use event_stream_engine::store::{Store, StoreError, StorePaths, segments};
use serde_json::json;

use super::bare;

/// Area codes, three digits each.
pub const AREAS: &str = "212415312617206303404512619702813919";

/// The `n`th person's number.
pub fn phone(n: u64) -> String {
    let at = (n % 12) as usize * 3;
    format!("+1{}{:07}", &AREAS[at..at + 3], 2_000_000 + n / 12)
}

/// Adds `n` opted-in people in one statement; their ledger is left empty.
pub fn add(dir: &tempfile::TempDir, n: u64) {
    let conn = bare::connect(&StorePaths::inside(dir.path()).path);
    conn.execute(
        "INSERT INTO users (phone, country, consent, attributes, created_at, updated_at)
         WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?1)
         SELECT printf('+1%s%07d', substr(?2, i % 12 * 3 + 1, 3), 2000000 + i / 12), 'US', 'opt_in',
                jsonb_object('name', 'Person ' || i, 'city', 'City ' || (i % 1000), 'age', 18 + i % 60,
                             'plan', CASE i % 3 WHEN 0 THEN 'basic' WHEN 1 THEN 'plus' ELSE 'pro' END,
                             'is_member', i % 2 = 0),
                0, 0
         FROM n",
        (n as i64, AREAS),
    )
    .unwrap();
    conn.execute("UPDATE user_counts SET n = n + ?1 WHERE consent = 'opt_in'", [n as i64]).unwrap();
    conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
}

/// The rules of the built-in configuration.
pub fn rules() -> event_stream_engine::domain::rules::Rules {
    event_stream_engine::app::rules(&Config::load(None, []).unwrap().config)
}

/// The hours of the built-in configuration.
pub fn presets() -> Arc<Presets> {
    Arc::new(Config::load(None, []).unwrap().config.quiet_hours)
}

/// Nothing is really sent.
pub fn setup() -> Setup {
    Setup { problem: None, is_simulated: true }
}

/// A draft for everybody: SMS, marketing, house hours, the default topic, a text with two placeholders.
pub async fn draft(store: &Store) -> i64 {
    let text =
        TemplateText::plain(Channel::Sms, "Hi {name}, the {plan} offer ends tonight. Reply STOP to leave.");
    let draft = store.write::<_, _, StoreError>(move |tx| {
        let template_id = templates::insert(tx, "offer", &text)?;
        let segment_id = segments::insert(tx, "everybody", &json!({"all": []}))?;
        let plan = CampaignPlan {
            topic_id: Some(1),
            expires_after_hours: Some(24.0),
            ..CampaignPlan::new("Offer", segment_id, template_id)
        };
        campaigns::insert(tx, &plan)
    });
    draft.await.unwrap()
}

/// Launches it; freezing is the caller's.
pub async fn launch(store: &Store, id: i64) {
    store.write(move |tx| campaign::launch(tx, id, &setup())).await.unwrap();
}
