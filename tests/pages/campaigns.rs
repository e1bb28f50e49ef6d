//! `/admin/campaigns`: from a draft to a result by its pages, against the simulator.

use event_stream_engine::domain::consent::Consent;
use event_stream_engine::store::StoreError;
use reqwest::Response;
use reqwest::header::LOCATION;
use serde_json::json;

use crate::session::Session;
use crate::support::{Engine, Wanted, presets, quick_simulator};
use crate::visitor::fields_in;

/// Somebody who is logged in.
struct Viewer {
    session: Session,
}

/// An answer.
struct Seen {
    status: u16,
    text: String,
    location: String,
}

impl Seen {
    fn main(&self) -> &str {
        self.text.find("<main").map_or(&self.text, |at| &self.text[at..])
    }

    #[track_caller]
    fn is(self, status: u16) -> Seen {
        assert_eq!(self.status, status, "{} {}", self.location, self.main());
        self
    }

    #[track_caller]
    fn says(self, part: &str) -> Seen {
        assert!(self.main().contains(part), "no {part:?} in {}", self.main());
        self
    }

    #[track_caller]
    fn lacks(self, part: &str) -> Seen {
        assert!(!self.text.contains(part), "{part:?} is in {}", self.main());
        self
    }

    /// The fields of the form that posts to `action`, hidden ones and all, as a browser would send them.
    #[track_caller]
    fn form(&self, action: &str) -> Vec<(String, String)> {
        let head = format!("action=\"{action}\"");
        let text = self.text.replace("&#x2f;", "/");
        let form = text.split("<form").find(|form| form.contains(&head));
        let form = form.unwrap_or_else(|| panic!("no form to {action} in {}", self.main()));
        fields_in(form.split("</form>").next().unwrap())
    }
}

impl Viewer {
    async fn new(engine: &Engine, role: &'static str) -> Viewer {
        Viewer { session: Session::begin(&engine.store, &engine.base_url, (role, role)).await }
    }

    async fn seen(answer: Response) -> Seen {
        let status = answer.status().as_u16();
        let location = answer.headers().get(LOCATION).map(|value| value.to_str().unwrap().to_owned());
        Seen { status, location: location.unwrap_or_default(), text: answer.text().await.unwrap() }
    }

    async fn get(&self, path: &str) -> Seen {
        Viewer::seen(self.session.get(path).await).await
    }

    async fn post(&self, path: &str, fields: &[(String, String)]) -> Seen {
        Viewer::seen(self.session.post(path, fields).await).await
    }

    /// Fills in the form that `page` has for `action`, with some fields otherwise, and sends it.
    async fn submit(&self, page: &Seen, action: &str, changed: &[(&str, &str)]) -> Seen {
        let mut fields = page.form(action);
        for (name, value) in changed {
            fields.retain(|(known, _)| known != name);
            fields.push(((*name).to_owned(), (*value).to_owned()));
        }
        self.post(action, &fields).await
    }
}

fn id_of(location: &str) -> i64 {
    location.split('/').nth(3).unwrap().parse().unwrap()
}

async fn template(engine: &Engine) -> i64 {
    // A draft brings its template; the wizard takes the newest.
    let draft = engine.draft(|_| {}).await;
    engine.campaign(draft).plan.template_id
}

#[actix_web::test]
async fn from_a_new_draft_to_a_result_by_its_pages() {
    let mut engine = Engine::start().await;
    engine.add_many(5).await;
    engine.add("+14155550177", Consent::Unknown, json!({"name": "Zadie"})).await;
    template(&engine).await;
    let viewer = Viewer::new(&engine, "operator").await;

    let page = viewer.get("/admin/campaigns/new").await.is(200).says("Everybody (6 people)");
    let made = [("name", "Spring <b>"), ("segment_id", "everybody")];
    let made = viewer.submit(&page, "/admin/campaigns/new", &made).await.is(303);
    let id = id_of(&made.location);
    let home = format!("/admin/campaigns/{id}");
    assert_eq!(made.location, format!("{home}/message"));

    let page = viewer.get(&made.location).await.is(200).says("Spring &lt;b&gt;").says("would read it");
    let next = viewer.submit(&page, &format!("{home}/message"), &[]).await.is(303);
    assert_eq!(next.location, format!("{home}/schedule"));
    let page = viewer.get(&next.location).await.is(200);
    let rate = [("rate_limit_per_second", "7.5"), ("quiet", "off")];
    let next = viewer.submit(&page, &format!("{home}/schedule"), &rate).await.is(303);
    assert_eq!(next.location, format!("{home}/review"));
    assert_eq!(engine.campaign(id).plan.rate_limit_per_second, Some(7.5));

    // The page answers before the audience is walked, and says how to get at it without scripts.
    let page = viewer.get(&next.location).await.is(200).says("Work it out").lacks("Launch now");
    assert!(page.text.contains(&format!("hx-get=\"{home}/waterfall\"")));
    viewer.get(&format!("{home}/waterfall")).await.is(200).says("Consent unknown").says("Launch now");
    let page = viewer.get(&format!("{home}/review?look=1")).await.is(200).says("Launch to 5 people");
    let launched = viewer.submit(&page, &format!("{home}/launch"), &[]).await.is(303);
    assert_eq!(launched.location, home);

    event_stream_engine::campaign::freeze_all(&engine.store, &presets(), true).await.unwrap();
    let page = viewer.get(&home).await.is(200).says("Running").says("Pause");
    let paused = viewer.submit(&page, &format!("{home}/pause"), &[]).await.is(303);
    assert_eq!(paused.location, home);
    let page = viewer.get(&home).await.says("operator@example.com").says("people wait; nobody gets it twice");
    viewer.get("/admin/campaigns").await.is(200).says("“Spring &lt;b&gt;” is paused.");
    viewer.submit(&page, &format!("{home}/resume"), &[]).await.is(303);
    engine.settle().await;
    event_stream_engine::campaign::tick(&engine.store, &engine.setup).await.unwrap();

    let page = viewer.get(&home).await.is(200).says("Finished").says("100 %").says("Consent unknown");
    page.says("Messages per second").says("100.0 %");
    let list = viewer.get(&format!("{home}/messages?status=skipped")).await.is(200).says("Zadie");
    list.says("/explain?campaign_id=").lacks(">P1<");
    let sheet = viewer.get(&format!("{home}/messages.csv?status=skipped")).await.is(200);
    assert_eq!(sheet.text.lines().count(), 2, "{}", sheet.text);
    viewer.get(&format!("/admin/campaigns/compare?ids={id}")).await.is(200).says("of those with an answer");
    engine.check_and_stop().await;
}

#[actix_web::test]
async fn a_double_click_launches_once() {
    let engine = Engine::start().await;
    engine.add_many(3).await;
    let id = engine.draft(|_| {}).await;
    let viewer = Viewer::new(&engine, "operator").await;
    let page = viewer.get(&format!("/admin/campaigns/{id}/review?look=1")).await.is(200);
    let action = format!("/admin/campaigns/{id}/launch");
    let (one, two) =
        futures_util::future::join(viewer.submit(&page, &action, &[]), viewer.submit(&page, &action, &[]))
            .await;
    let three = viewer.submit(&page, &action, &[]).await;
    for answer in [one, two, three] {
        assert_eq!(answer.is(303).location, format!("/admin/campaigns/{id}"));
    }
    assert_eq!(engine.events("campaign.launched"), 1);
    engine.check_and_stop().await;
}

#[actix_web::test]
async fn a_launch_to_many_asks_for_their_number_and_keeps_what_was_typed() {
    let engine = Engine::start().await;
    engine
        .store
        .write::<_, _, StoreError>(|tx| {
            tx.conn().execute_batch(
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200)
                 INSERT INTO users (phone, country, consent, attributes, created_at, updated_at)
                   SELECT printf('+1212555%04d', i), 'US', 'opt_in', jsonb('{}'), 0, 0 FROM n;
                 UPDATE user_counts SET n = n + 1200 WHERE consent = 'opt_in';",
            )?;
            Ok(())
        })
        .await
        .unwrap();
    let id = engine.draft(|_| {}).await;
    let viewer = Viewer::new(&engine, "operator").await;
    let page = viewer.get(&format!("/admin/campaigns/{id}/review?look=1")).await.is(200);
    let action = format!("/admin/campaigns/{id}/launch");
    let refused = viewer.submit(&page, &action, &[("confirm", "120")]).await.is(422);
    let refused = refused.says("You typed 120. Type 1200 to confirm.").says("value=\"120\"");
    assert_eq!(engine.campaign(id).status.as_str(), "draft");
    viewer.submit(&refused, &action, &[("confirm", "1,200")]).await.is(303);
    assert_eq!(engine.campaign(id).status.as_str(), "launching");
}

#[actix_web::test]
async fn people_who_would_expire_have_to_be_accepted() {
    let engine = Engine::start().await;
    engine.add_many(4).await;
    // In Honolulu it is seven in the morning, in New York it is noon.
    engine.add("+18085550101", Consent::OptIn, json!({})).await;
    let id = engine
        .draft(|plan| {
            plan.quiet_hours = json!({"start": "10:00", "end": "20:00"});
            plan.expires_after_hours = Some(0.5);
        })
        .await;
    let viewer = Viewer::new(&engine, "operator").await;
    let page = viewer.get(&format!("/admin/campaigns/{id}/review?look=1")).await.is(200);
    let page = page.says("Launch although");
    let action = format!("/admin/campaigns/{id}/launch");
    let refused = viewer
        .submit(&page, &action, &[])
        .await
        .is(409)
        .says("4 of 5 people would not get it before the deadline");
    viewer.submit(&refused, &action, &[("accept_would_expire", "1")]).await.is(303);
    assert_eq!(engine.campaign(id).status.as_str(), "launching");
}

#[actix_web::test]
async fn what_somebody_else_changed_is_not_undone_and_nothing_typed_is_lost() {
    let engine = Engine::start().await;
    engine.add_many(1).await;
    let id = engine.draft(|_| {}).await;
    let viewer = Viewer::new(&engine, "operator").await;
    let action = format!("/admin/campaigns/{id}/audience");
    let (mine, theirs) = (viewer.get(&action).await.is(200), viewer.get(&action).await.is(200));
    viewer.submit(&theirs, &action, &[("name", "Theirs")]).await.is(303);
    let refused = viewer.submit(&mine, &action, &[("name", "Mine")]).await.is(412).says("value=\"Mine\"");
    assert_eq!(engine.campaign(id).plan.name, "Theirs");
    viewer.submit(&refused, &action, &[]).await.is(303);
    assert_eq!(engine.campaign(id).plan.name, "Mine");

    let refused = viewer.submit(&viewer.get(&action).await, &action, &[("name", "")]).await.is(422);
    refused.says("Missing.").says("aria-invalid");
    let action = format!("/admin/campaigns/{id}/schedule");
    let late = [("when", "at"), ("schedule.at", "tomorrow"), ("schedule.timezone", "Nowhere/Here")];
    let refused = viewer.submit(&viewer.get(&action).await, &action, &late).await.is(422);
    refused.says("value=\"tomorrow\"").says("e-schedule.at").says("e-schedule.timezone");
    let review = viewer.get(&format!("/admin/campaigns/{id}/review?look=1")).await;
    let action = format!("/admin/campaigns/{id}/launch");
    viewer.submit(&review, &action, &[("version", "1")]).await.is(412).says("Somebody changed this campaign");
    assert_eq!(engine.campaign(id).status.as_str(), "draft");
}

#[actix_web::test]
async fn cancel_says_for_how_many_and_retry_takes_the_chosen_codes() {
    let wanted = Wanted {
        simulator: event_stream_engine::simulator::Options { fail_percent: 100.0, ..quick_simulator() },
        ..Wanted::default()
    };
    let mut engine = Engine::start_with(wanted).await;
    engine.add_many(6).await;
    let id = engine.draft(|_| {}).await;
    let (home, viewer) = (format!("/admin/campaigns/{id}"), Viewer::new(&engine, "operator").await);
    engine.launch(id).await;
    engine.settle().await;
    let failed: Vec<i64> = engine
        .store
        .read_here(|conn| {
            let mut statement = conn.prepare(
                "SELECT DISTINCT error_code FROM messages WHERE campaign_id = ?1 AND status IN ('failed', 'undelivered')",
            )?;
            let codes = statement.query_map([id], |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
            Ok::<_, StoreError>(codes)
        })
        .unwrap();
    if let Some(code) = failed.first() {
        let page =
            viewer.get(&format!("{home}/retry?codes={code}")).await.is(200).says("Retry the chosen lines");
        viewer
            .post(&format!("{home}/retry"), &strip(page.form(&format!("{home}/retry")), "codes"))
            .await
            .is(422);
        let before = engine.counts(id);
        viewer.submit(&page, &format!("{home}/retry"), &[]).await.is(303);
        assert!(
            engine.counts(id).get("queued").copied().unwrap_or(0)
                > before.get("queued").copied().unwrap_or(0)
        );
    }
    let other = engine.draft(|_| {}).await;
    engine.launch(other).await;
    event_stream_engine::campaign::freeze_all(&engine.store, &presets(), true).await.unwrap();
    let home = format!("/admin/campaigns/{other}");
    let page = viewer.get(&format!("{home}/cancel")).await.is(200).says("Cancel for 6 people");
    viewer.submit(&page, &format!("{home}/cancel"), &[]).await.is(303);
    viewer.get(&home).await.is(200).says("Cancelled").says("6 not sent");
    assert_eq!(engine.counts(other).get("cancelled"), Some(&6));
}

fn strip(fields: Vec<(String, String)>, name: &str) -> Vec<(String, String)> {
    fields.into_iter().filter(|(known, _)| known != name).collect()
}

#[actix_web::test]
async fn a_viewer_looks_with_masked_numbers_and_may_do_nothing() {
    let engine = Engine::start().await;
    engine.add("+14155550101", Consent::Unknown, json!({})).await;
    let id = engine.draft(|_| {}).await;
    engine.launch(id).await;
    event_stream_engine::campaign::freeze_all(&engine.store, &presets(), true).await.unwrap();
    let viewer = Viewer::new(&engine, "viewer").await;
    let home = format!("/admin/campaigns/{id}");
    viewer.get("/admin/campaigns").await.is(200).lacks("/admin/campaigns/new\"");
    viewer.get(&home).await.is(200).lacks(">Pause<").lacks("/cancel");
    let list = viewer.get(&format!("{home}/messages")).await.is(200).says("··· ··01").lacks("5550101");
    list.lacks("messages.csv");
    for path in
        ["review", "audience", "message", "schedule", "waterfall", "cancel", "retry", "rate", "messages.csv"]
    {
        viewer.get(&format!("{home}/{path}")).await.is(403);
    }
    for path in
        ["launch", "pause", "resume", "cancel", "retry", "rate", "clone", "delete", "test", "audience"]
    {
        viewer.post(&format!("{home}/{path}"), &[]).await.is(403);
    }
    assert_eq!(engine.campaign(id).status.as_str(), "running");
}

#[actix_web::test]
async fn the_rate_changes_while_it_runs_and_a_clone_and_a_deleted_draft() {
    let engine = Engine::start().await;
    engine.add_many(2).await;
    let id = engine.draft(|_| {}).await;
    engine.launch(id).await;
    let (home, viewer) = (format!("/admin/campaigns/{id}"), Viewer::new(&engine, "operator").await);
    let page = viewer.get(&format!("{home}/rate")).await.is(200);
    let page = viewer.submit(&page, &format!("{home}/rate"), &[("rate_limit_per_second", "0")]).await.is(422);
    viewer.submit(&page, &format!("{home}/rate"), &[("rate_limit_per_second", "2.5")]).await.is(303);
    assert_eq!(engine.campaign(id).plan.rate_limit_per_second, Some(2.5));
    // The wizard is closed once it was launched.
    assert_eq!(viewer.get(&format!("{home}/audience")).await.is(303).location, home);

    let page = viewer.get(&home).await.is(200);
    let copy = viewer.submit(&page, &format!("{home}/clone"), &[]).await.is(303);
    let copy = id_of(&copy.location);
    assert_eq!(engine.campaign(copy).plan.name, "Test (copy)");
    let page = viewer.get(&format!("/admin/campaigns/{copy}/delete")).await.is(200);
    viewer.submit(&page, &format!("/admin/campaigns/{copy}/delete"), &[]).await.is(303);
    viewer.get(&format!("/admin/campaigns/{copy}")).await.is(404).says("There is no campaign");
    viewer.get(&format!("{home}/delete")).await.is(409);
}
