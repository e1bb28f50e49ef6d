//! Drafts: a file is looked at, a dry run shows what it would do, and only then it comes in.

use event_stream_engine::import::{DraftError, NewDraft, SampleKind, Shift};

use super::*;

const ANA: &str = "+94771100001";
const BO: &str = "+94771100002";
const CY: &str = "+94771100003";

impl Shop {
    pub(super) async fn draft(&self, name: &str, text: &str) -> ImportRow {
        let file = self.spool(text.as_bytes());
        let survey = import::survey_file(&file.path, None, &[]).unwrap();
        import::keep_survey(&file.path, &survey).unwrap();
        let new = NewDraft { file_name: name.to_owned(), file, survey, actor: "operator:1".to_owned() };
        let id = self.store.write(move |tx| import::draft(tx, &new)).await.unwrap();
        self.row(id).await
    }

    pub(super) async fn check_draft(&self, id: i64, options: Value) -> ImportRow {
        let options = Options::parse(&options).unwrap();
        self.store.write(move |tx| import::check(tx, id, &options)).await.unwrap();
        assert_eq!(self.row(id).await.state, ImportState::Checking);
        import::run_checks(&self.store, &Pace::default()).await.unwrap();
        self.row(id).await
    }

    pub(super) async fn run_draft(&self, draft: &ImportRow) -> Result<ImportRow, DraftError> {
        let (id, revision) = (draft.id, draft.revision);
        let options = Options::parse(&draft.options).unwrap();
        let path = draft.spool_path.clone().unwrap();
        let fingerprint =
            import::load_survey(&path, None, &[]).map_or([0; 32], |survey| survey.fingerprint());
        self.store
            .write(move |tx| import::run_draft(tx, (id, revision), &options, &fingerprint, "operator:2"))
            .await?;
        import::run_queued(&self.store, &Pace::default()).await.unwrap();
        Ok(self.row(id).await)
    }

    fn spooled(&self) -> usize {
        std::fs::read_dir(import::spool_dir(self.store.paths())).unwrap().count()
    }
}

const FILE: &str = "phone,name,city,newsletter\n\
    +94771100001,Ana,Kandy,yes\n\
    +94771100002,Bo,Galle,yes\n\
    +94771100003,Cy,Galle,\n\
    +94771100004,Di,Galle,yes\n\
    +94771100005,Ed,Galle,maybe\n\
    4.15556E+10,Fe,Galle,yes\n\
    +94771100004,Di,Jaffna,yes\n";

#[tokio::test]
async fn a_dry_run_shows_what_the_file_would_do_and_the_run_does_it() {
    let shop = Shop::new();
    shop.add(ANA, Consent::OptIn, json!({"name": "Ana", "city": "Galle"})).await;
    shop.add(BO, Consent::Stop, json!({"name": "Bo", "city": "Galle"})).await;
    shop.add(CY, Consent::OptIn, json!({"name": "Cy", "city": "Galle"})).await;
    let draft = shop.draft("people.csv", FILE).await;
    assert_eq!((draft.state, draft.checked_at), (ImportState::Draft, None));
    assert_eq!(draft.options["mapping"]["newsletter"], "consent");

    let checked = shop.check_draft(draft.id, draft.options.clone()).await;
    let tally = checked.tally.clone();
    assert_eq!(checked.state, ImportState::Draft);
    assert!(checked.checked_at.is_some() && checked.is_dry_run());
    assert_eq!((tally.created, tally.updated, tally.unchanged), (2, 1, 2));
    assert_eq!((tally.duplicates, tally.rejected, tally.rows), (1, 1, 7));
    let details = tally.details;
    assert_eq!((details.new_opt_in, details.new_unknown, details.attributes), (1, 1, 1));
    assert_eq!((details.consent_kept, details.only_kept), (1, 1));
    assert_eq!(shop.count_users().await, 3);

    let samples = import::samples(checked.spool_path.as_deref().unwrap());
    let told: Vec<_> = samples.iter().map(|s| (s.row, s.kind, s.phone.as_str())).collect();
    assert_eq!(
        told,
        [
            (2, SampleKind::Changed, ANA),
            (3, SampleKind::Kept, BO),
            (5, SampleKind::New, "+94771100004"),
            (6, SampleKind::New, "+94771100005"),
        ]
    );
    let shift =
        Shift { name: "city".to_owned(), before: Some("Galle".to_owned()), after: Some("Kandy".to_owned()) };
    assert_eq!(samples[0].shifts, [shift]);
    let kept = &samples[1];
    assert_eq!((kept.consent_before, kept.consent_after), (Some(Consent::Stop), Some(Consent::OptIn)));
    assert_eq!(kept.last_word.as_ref().map(|(source, _)| source.as_str()), Some("api"));
    assert_eq!((samples[2].consent_after, samples[2].said.as_deref()), (Some(Consent::OptIn), Some("yes")));

    let run = shop.run_draft(&checked).await.unwrap();
    assert_eq!((run.id, run.actor.as_str()), (draft.id, "operator:2"));
    assert_eq!(run.tally.details.changes, 1);
    let counted =
        imports::Tally { details: imports::Details { changes: 0, ..run.tally.details }, ..run.tally };
    assert_eq!((run.state, counted), (ImportState::Finished, tally));
    assert_eq!((shop.count_users().await, shop.spooled()), (5, 0));
    assert_eq!(shop.attributes("+94771100004").await["city"], "Jaffna");
    assert_eq!(shop.consent(BO).await, Consent::Stop);
}

#[tokio::test]
async fn a_draft_is_run_once_and_only_as_it_was_looked_at() {
    let shop = Shop::new();
    let draft = shop.draft("people.csv", FILE).await;
    assert!(matches!(shop.run_draft(&draft).await, Err(DraftError::Moved)), "no dry run yet");
    let first = shop.check_draft(draft.id, draft.options.clone()).await;
    let second = shop.check_draft(draft.id, json!({"mapping": {"phone": "phone", "city": null}})).await;
    assert!(matches!(shop.run_draft(&first).await, Err(DraftError::Moved)), "other options since");
    assert_eq!(shop.count_users().await, 0);
    assert_eq!(shop.run_draft(&second).await.unwrap().tally.created, 5);
    assert!(matches!(shop.run_draft(&second).await, Err(DraftError::Moved)), "run already");
    let id = draft.id;
    let options = Options::default();
    let late = shop.store.write(move |tx| import::check(tx, id, &options)).await;
    assert!(matches!(late, Err(DraftError::Moved)));
}

#[tokio::test]
async fn a_dry_run_of_older_options_moves_nothing() {
    let shop = Shop::new();
    let draft = shop.draft("people.csv", FILE).await;
    let options = Options::parse(&draft.options).unwrap();
    let id = draft.id;
    shop.store.write(move |tx| import::check(tx, id, &options)).await.unwrap();
    let older = shop.row(id).await;
    let options = Options::parse(&json!({"mode": "suppress"})).unwrap();
    shop.store.write(move |tx| import::check(tx, id, &options)).await.unwrap();
    assert_eq!(
        import::run_import(&shop.store, &older, &Pace::default()).await.unwrap(),
        import::Left::Elsewhere
    );
    assert_eq!((shop.row(id).await.state, shop.row(id).await.tally.rows), (ImportState::Checking, 0));
    // Who had begun before, and comes with its first rows now.
    let place = older.place();
    let advanced = move |tx: &event_stream_engine::store::Tx<'_>| {
        imports::advance(tx, &place, &imports::Tally { rows: 3, ..imports::Tally::default() }, 9)
    };
    assert!(!shop.store.write(advanced).await.unwrap());
    import::run_checks(&shop.store, &Pace::default()).await.unwrap();
    assert_eq!(shop.row(id).await.tally.rows, 7);
}

#[tokio::test]
async fn a_dry_run_that_is_cut_off_begins_anew() {
    let shop = Shop::new();
    let draft = shop.draft("people.csv", FILE).await;
    let (id, options) = (draft.id, Options::parse(&draft.options).unwrap());
    shop.store.write(move |tx| import::check(tx, id, &options)).await.unwrap();
    let pace = Pace { rows_per_chunk: 3, chunks: Some(1), ..Pace::default() };
    import::run_checks(&shop.store, &pace).await.unwrap();
    assert_eq!((shop.row(id).await.state, shop.row(id).await.tally.rows), (ImportState::Checking, 3));
    import::run_checks(&shop.store, &Pace::default()).await.unwrap();
    let row = shop.row(id).await;
    assert_eq!((row.state, row.tally.rows, row.tally.created), (ImportState::Draft, 7, 5));
    assert_eq!(import::samples(row.spool_path.as_deref().unwrap()).len(), 5);
}

#[tokio::test]
async fn a_draft_whose_columns_hold_no_number_says_so_and_stays_a_draft() {
    let shop = Shop::new();
    let draft = shop.draft("people.csv", "who,city\nAna,Galle\n").await;
    let row = shop.check_draft(draft.id, json!({})).await;
    assert_eq!((row.state, row.checked_at), (ImportState::Draft, None));
    assert!(row.error.as_deref().unwrap().starts_with("No column holds the phone number."), "{row:?}");
    assert!(row.spool_path.is_some_and(|path| path.exists()));
}

#[tokio::test]
async fn what_was_said_about_columns_is_offered_for_the_next_file_with_them() {
    let shop = Shop::new();
    let draft = shop.draft("october.csv", "phone,name,notes\n+94771100001,Ana,x\n").await;
    let told = json!({
        "mapping": {"phone": "phone", "name": "first_name", "notes": null},
        "default_region": "LK",
        "consent": {"state": "opt_in", "source": "form", "evidence": "form of May"},
    });
    let checked = shop.check_draft(draft.id, told).await;
    shop.run_draft(&checked).await.unwrap();
    let next = shop.draft("november.csv", "notes,phone,name\ny,+94771100002,Bo\n").await;
    assert_eq!(next.options["mapping"], json!({"name": "first_name", "notes": null, "phone": "phone"}));
    assert_eq!(next.options["default_region"], "LK");
    assert_eq!(next.options.get("consent"), None, "consent was of those people");
    let other = shop.draft("other.csv", "notes,phone,firstname\ny,+94771100002,Bo\n").await;
    assert_eq!(other.options["mapping"]["notes"], "notes");
}

#[tokio::test]
async fn drafts_that_nobody_runs_are_swept_with_their_files() {
    let shop = Shop::new();
    let old = shop.draft("old.csv", FILE).await;
    shop.clock.advance(HOUR * 48);
    let looked_at = shop.draft("looked-at.csv", FILE).await;
    shop.check_draft(looked_at.id, looked_at.options.clone()).await;
    assert_eq!(import::sweep_drafts(&shop.store).await.unwrap(), 0);
    shop.clock.advance(HOUR * 25);
    assert_eq!(import::sweep_drafts(&shop.store).await.unwrap(), 1);
    let find = |id| shop.store.read(move |conn| imports::find(conn, id));
    assert!(find(old.id).await.unwrap().is_none());
    assert!(find(looked_at.id).await.unwrap().is_some());
    assert_eq!(shop.spooled(), 3, "the other's file, its survey and its samples");
    shop.clock.advance(HOUR * 48);
    assert_eq!(import::sweep_drafts(&shop.store).await.unwrap(), 1);
    assert_eq!(shop.spooled(), 0);
    let issues = shop.issues(looked_at.id).await;
    assert!(issues.is_empty(), "{issues:?}");
}
