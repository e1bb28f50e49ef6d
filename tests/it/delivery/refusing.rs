//! A Twilio that refuses to tell about one message or one person: everybody else is asked about all the same.

use std::sync::Arc;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use event_stream_engine::delivery::{Poller, Reconciler, UncertainRules};
use event_stream_engine::metrics::Metrics;
use event_stream_engine::simulator::Faults;
use serde_json::json;

use super::{client_at, launched, silent};
use crate::support::{Engine, phone};

const HOUR: i64 = 3_600_000;

/// Passes reads on to the simulator but those whose path or query holds `needle`, which it answers with 400.
fn refusing(engine: &Engine, needle: &str) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let (behind, needle) = (Arc::new(engine.simulator.base_url()), Arc::new(needle.to_owned()));
    let answer = move |request: HttpRequest| {
        let (url, is_refused) =
            (format!("{behind}{}", request.uri()), request.uri().to_string().contains(&*needle));
        let credentials = request.headers().get("authorization").unwrap().to_str().unwrap().to_owned();
        async move {
            if is_refused {
                return HttpResponse::BadRequest()
                    .json(json!({"code": 20001, "message": "No", "status": 400}));
            }
            let passed =
                reqwest::Client::new().get(url).header("authorization", credentials).send().await.unwrap();
            let status = actix_web::http::StatusCode::from_u16(passed.status().as_u16()).unwrap();
            HttpResponse::build(status).content_type("application/json").body(passed.bytes().await.unwrap())
        }
    };
    let server = HttpServer::new(move || App::new().default_service(web::to(answer.clone())))
        .workers(1)
        .disable_signals();
    tokio::spawn(server.listen(listener).unwrap().run());
    base
}

#[tokio::test]
async fn one_message_that_twilio_refuses_to_tell_about_does_not_stop_the_polls() {
    let mut engine = Engine::start().await;
    let id = launched(&engine, 12).await;
    engine.simulator.set_faults(silent(None));
    engine.settle().await;
    let refused: String = engine.value("SELECT sid FROM messages ORDER BY accepted_at, id LIMIT 1");
    let client = client_at(&refusing(&engine, &refused));
    let poller = Poller::new(engine.store.clone(), client, engine.settings(), Metrics::default());
    engine.clock.advance(13 * HOUR);
    let polled = poller.tick().await.unwrap();
    assert_eq!((polled.found, polled.not_found, polled.failed), (11, 1, 0));
    assert_eq!(engine.reasons(id).get("delivered:"), Some(&11));
    engine.check_and_stop().await;
}

#[tokio::test]
async fn one_person_whom_twilio_refuses_to_tell_about_goes_behind_the_others() {
    let mut engine = Engine::start().await;
    launched(&engine, 12).await;
    engine.simulator.set_faults(Faults {
        error_500_after_accept_percent: 100.0,
        callbacks_missing_percent: 100.0,
        ..Faults::default()
    });
    engine.drain().await;
    engine.simulator.wait_until_quiet().await;
    engine.simulator.set_faults(Faults::default());
    engine.set(|settings| settings.uncertain = UncertainRules { after: 120_000, resends: true });
    let client = client_at(&refusing(&engine, &phone(0).replace('+', "%2B")));
    let reconciler = Reconciler::new(engine.store.clone(), client, engine.settings(), Metrics::default());
    let (mut found, mut failed) = (0, 0);
    for _ in 0..200 {
        engine.clock.advance(1_000);
        let looked = reconciler.tick().await.unwrap();
        found += looked.found;
        failed += looked.failed;
        assert_eq!(looked.given_up, 0, "nothing is decided without having seen the list");
    }
    assert_eq!(found, 11);
    assert!((2..=5).contains(&failed), "it is asked again, and not without end: {failed}");
    assert_eq!(engine.message_to(0).0, "uncertain");
    engine.check_and_stop().await;
}
