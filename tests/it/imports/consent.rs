//! Consent: a file never turns silence into a yes, and never undoes a STOP.

use super::*;

const FILE: &str = "phone,consent\n\
    +94771100001,yes\n+94771100002,no\n+94771100003,STOP\n+94771100004,maybe\n+94771100005,\n+94771100006,unknown\n";

const PHONES: [&str; 6] =
    ["+94771100001", "+94771100002", "+94771100003", "+94771100004", "+94771100005", "+94771100006"];

#[tokio::test]
async fn unknown_consent_is_never_turned_into_an_opt_in() {
    let shop = Shop::new();
    let row = shop.import(FILE, json!({})).await;
    let mut states = Vec::new();
    for phone in PHONES {
        states.push(shop.consent(phone).await);
    }
    use Consent::{OptIn, OptOut, Stop, Unknown};
    assert_eq!(states, [OptIn, OptOut, Stop, Unknown, Unknown, Unknown]);
    assert_eq!(shop.reasons(row.id).await, [(5, "consent_unclear".to_owned())]);
    assert_eq!(row.tally.rejected, 0);
    let ledger = shop.ledger("+94771100001").await;
    assert_eq!(ledger.len(), 1);
    let told = (ledger[0].source.as_str(), ledger[0].actor.as_str(), ledger[0].evidence.as_deref());
    assert_eq!(told, ("import", "import:1", Some("import 1, row 2, file people.csv")));
    assert!(shop.ledger("+94771100004").await.is_empty());
    let key = shop.store.key().clone();
    let chain = shop.store.read(move |conn| ledger::verify(conn, &key)).await.unwrap();
    assert_eq!((chain.rows, chain.problems), (3, vec![]));
}

#[tokio::test]
async fn a_state_told_for_the_whole_file_holds_for_blank_cells_alone() {
    let shop = Shop::new();
    let consent = json!({"state": "opt_in", "source": "paper form", "evidence": "form of May",
                         "obtained_at": "2026-05-01T10:00:00Z"});
    shop.import(FILE, json!({"consent": consent})).await;
    use Consent::{OptIn, Unknown};
    assert_eq!(shop.consent("+94771100005").await, OptIn);
    assert_eq!(shop.consent("+94771100004").await, Unknown);
    assert_eq!(shop.consent("+94771100006").await, Unknown);
    let ledger = shop.ledger("+94771100005").await;
    assert_eq!(ledger[0].source, "paper form");
    assert_eq!(ledger[0].evidence.as_deref(), Some("form of May"));
    assert_eq!(ledger[0].obtained_at, Some(1_777_629_600_000));
    let later = json!({"consent": {"obtained_at": "2027-01-01"}});
    let refused = shop.try_queue(b"phone\n", later).await.unwrap_err();
    assert_eq!(refused.to_string(), "consent.obtained_at: lies in the future");
}

#[tokio::test]
async fn for_people_whom_we_know_an_import_only_tightens() {
    let all = ["opt_in", "unknown", "opt_out", "stop"];
    for loosen in [false, true] {
        let consent = json!({"loosen": loosen, "evidence": "letter of 3 May", "source": "letter"});
        for now in Consent::ALL {
            let shop = Shop::new();
            for (said, phone) in all.into_iter().zip(PHONES) {
                shop.add(phone, now, json!({})).await;
                shop.import(format!("phone,consent\n{phone},{said}\n"), json!({"consent": consent})).await;
                let said: Consent = said.parse().unwrap();
                let expected = if now == Consent::Stop || (said < now && !loosen) { now } else { said };
                assert_eq!(shop.consent(phone).await, expected, "{now}, {said}, loosen {loosen}");
            }
        }
    }
}

#[tokio::test]
async fn a_stop_is_never_undone_not_even_when_it_comes_between_two_rows() {
    let shop = Shop::new();
    let id =
        shop.queue("phone,consent\n+94771100001,yes\n+94771100002,yes\n+94771100001,yes\n", json!({})).await;
    let pace = Pace { rows_per_chunk: 1, chunks: Some(1), ..Pace::default() };
    import::run_queued(&shop.store, &pace).await.unwrap();
    let user = shop.user("+94771100001").await.unwrap();
    assert_eq!(user.consent, Consent::OptIn);
    shop.store
        .write(move |tx| {
            let change = ConsentChange {
                state: Consent::OptOut,
                source: "operator",
                actor: "operator:1",
                evidence: None,
                obtained_at: None,
            };
            ledger::record(tx, user.id, user.consent, &change)
        })
        .await
        .unwrap();
    import::run_queued(&shop.store, &Pace::default()).await.unwrap();
    assert_eq!(shop.row(id).await.tally.duplicates, 1);
    assert_eq!(shop.consent("+94771100001").await, Consent::OptOut);
    let options = json!({"consent": {"loosen": true, "evidence": "e", "state": "opt_in", "source": "s"}});
    shop.add("+94771100003", Consent::Stop, json!({})).await;
    let row = shop.import("phone,consent\n+94771100003,yes\n+94771100003,\n", options).await;
    assert_eq!(shop.consent("+94771100003").await, Consent::Stop);
    assert_eq!((row.tally.unchanged, row.tally.duplicates), (1, 1));
}

#[tokio::test]
async fn of_somebody_new_the_last_row_says_the_consent() {
    let shop = Shop::new();
    let file = "phone,consent\n\
        +94771100001,no\n+94771100001,yes\n\
        +94771100002,yes\n+94771100002,perhaps\n\
        +94771100003,stop\n+94771100003,yes\n\
        +94771100004,yes\n+94771100004,\n";
    shop.import(file, json!({})).await;
    use Consent::{OptIn, Stop, Unknown};
    for (phone, state) in PHONES.into_iter().zip([OptIn, Unknown, Stop, OptIn]) {
        assert_eq!(shop.consent(phone).await, state, "{phone}");
    }
    shop.add("+94771100005", Unknown, json!({})).await;
    shop.import("phone,consent\n+94771100005,\n+94771100005,yes\n", json!({})).await;
    assert_eq!(shop.consent("+94771100005").await, Unknown);
    let counts = shop.store.read(users::counts).await.unwrap();
    let of = |name: &str| counts.iter().find(|(state, _)| state == name).map(|(_, n)| *n);
    assert_eq!((of("opt_in"), of("unknown"), of("stop")), (Some(2), Some(2), Some(1)));
}

#[tokio::test]
async fn a_number_that_was_erased_comes_in_suppressed() {
    let shop = Shop::new();
    shop.add("+94771100001", Consent::Stop, json!({})).await;
    let user = shop.user("+94771100001").await.unwrap();
    shop.store
        .write(move |tx| event_stream_engine::store::erasure::erase(tx, &user, "operator:1"))
        .await
        .unwrap();
    shop.import("phone,consent\n+94771100001,yes\n", json!({})).await;
    assert!(shop.user("+94771100001").await.unwrap().is_suppressed);
}
